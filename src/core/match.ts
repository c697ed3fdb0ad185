/**
 * Whether `pattern` is a deep subset of `value`: every property of the pattern is there and matches, arrays match
 * element by element and have the same length, everything else is equal by `Object.is`.
 */
export function matches(pattern: unknown, value: unknown): boolean {
  if (Object.is(pattern, value)) return true
  if (typeof pattern !== 'object' || pattern === null || typeof value !== 'object' || value === null) return false
  if (Array.isArray(pattern) || Array.isArray(value)) {
    return (
      Array.isArray(pattern) &&
      Array.isArray(value) &&
      pattern.length === value.length &&
      pattern.every((item, index) => matches(item, value[index]))
    )
  }
  if (pattern instanceof Date || value instanceof Date) {
    return pattern instanceof Date && value instanceof Date && pattern.getTime() === value.getTime()
  }
  return Object.entries(pattern).every(
    ([key, expected]) => Object.hasOwn(value, key) && matches(expected, (value as Record<string, unknown>)[key]),
  )
}
