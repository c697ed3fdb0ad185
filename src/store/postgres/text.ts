/**
 * PostgreSQL's text holds neither NUL nor half a surrogate pair. They are written as an escape character (the control
 * character SUB, which JSON has to escape anyhow, so that hardly any text contains it) and four hexadecimal digits.
 * Equal text stays equal, and so keys and ids can be looked up by it.
 */
const ESCAPE = '\u001a'
const DIGITS = 4
// oxlint-disable-next-line no-control-regex -- control characters are what it is about
const UNWRITABLE = /[\u0000\u001a]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g
// oxlint-disable-next-line no-control-regex -- as above
const ESCAPED = /\u001a([0-9a-f]{4})/g

export function toText(value: string): string {
  if (!value.includes('\u0000') && !value.includes(ESCAPE) && value.isWellFormed()) return value
  return value.replaceAll(UNWRITABLE, (unit) => ESCAPE + unit.charCodeAt(0).toString(16).padStart(DIGITS, '0'))
}

export function fromText(value: string): string {
  if (!value.includes(ESCAPE)) return value
  return value.replaceAll(ESCAPED, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)))
}
