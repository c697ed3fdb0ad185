/**
 * Whether `pattern` is a deep subset of `value`: every property of the pattern is there and matches, arrays match
 * element by element and have the same length, everything else is equal by `Object.is`. As deep as it may be.
 */
export function matches(pattern: unknown, value: unknown): boolean {
  const pairs: (readonly [unknown, unknown])[] = [[pattern, value]]
  for (let pair = pairs.pop(); pair; pair = pairs.pop()) {
    const below = compare(...pair)
    if (below === null) return false
    for (const next of below) pairs.push(next)
  }
  return true
}

/** Null where they differ; else what is to be compared below them. */
function compare(pattern: unknown, value: unknown): readonly (readonly [unknown, unknown])[] | null {
  if (Object.is(pattern, value)) return []
  if (typeof pattern !== 'object' || pattern === null || typeof value !== 'object' || value === null) return null
  if (Array.isArray(pattern) || Array.isArray(value)) {
    if (!Array.isArray(pattern) || !Array.isArray(value) || pattern.length !== value.length) return null
    return pattern.map((item: unknown, index) => [item, value[index] as unknown] as const)
  }
  if (pattern instanceof Date || value instanceof Date) {
    return pattern instanceof Date && value instanceof Date && pattern.getTime() === value.getTime() ? [] : null
  }
  const entries = Object.entries(pattern)
  if (!entries.every(([key]) => Object.hasOwn(value, key))) return null
  return entries.map(([key, expected]) => [expected, (value as Record<string, unknown>)[key]] as const)
}
