import { isObject, isPlain } from './objects.ts'

/**
 * JSON of which there is one for each value (RFC 8785): members are sorted by their names' UTF-16 code units, at every
 * depth, and there is no white space. Numbers and texts are written as JSON.stringify does, which that RFC prescribes.
 * Texts are not normalised: two that differ are two.
 *
 * @param other writes what JSON does not have (dates, bigints, NaN and the like)
 */
export function canonicalJson(value: unknown, other: (value: unknown) => string): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'number' && Number.isFinite(value)) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${Array.from(value, (item) => canonicalJson(item ?? null, other)).join(',')}]`
  if (!isObject(value) || !isPlain(value)) return other(value)
  const members = Object.keys(value)
    .filter((name) => value[name] !== undefined)
    .toSorted() // by code units
    .map((name) => `${JSON.stringify(name)}:${canonicalJson(value[name], other)}`)
  return `{${members.join(',')}}`
}
