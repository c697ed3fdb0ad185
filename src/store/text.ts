/*
 * For drivers: text as every database can hold it. SQLite's own functions, and earlier versions of Node, end a text at
 * NUL; PostgreSQL refuses it; and half a surrogate pair becomes another character on its way to UTF-8, the same one for
 * all of them. So two ids would be one, and an owner would be taken for another (I9).
 *
 * Such a unit is written as an escape character (the control character SUB, which JSON has to escape anyhow, so that
 * hardly any text contains it) and four hexadecimal digits. Text without such units stays as it is, and so does an
 * escape character, unless it would read as the beginning of an escaped unit. Different texts are written differently,
 * and so keys and ids can be looked up by what they are written as.
 */

const ESCAPE = '\u001a'
const DIGITS = 4
const UNWRITABLE =
  // oxlint-disable-next-line no-control-regex -- control characters are what it is about
  /\u0000|\u001a(?=[0-9a-f]{4})|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g
// oxlint-disable-next-line no-control-regex -- as above
const ESCAPED = /\u001a([0-9a-f]{4})/g

/** As it is written. */
export function toText(value: string): string {
  if (!value.includes('\u0000') && !value.includes(ESCAPE) && value.isWellFormed()) return value
  return value.replaceAll(UNWRITABLE, (unit) => ESCAPE + unit.charCodeAt(0).toString(16).padStart(DIGITS, '0'))
}

/** What was written. */
export function fromText(value: string): string {
  if (!value.includes(ESCAPE)) return value
  return value.replaceAll(ESCAPED, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)))
}
