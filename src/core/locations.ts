import type { GraphQLError } from 'graphql'

export interface Location {
  readonly line: number
  readonly column: number
}

/** Beyond this, what locations say is not worth the text that says it. */
const MAX_LENGTH = 100_000

/**
 * Where an error was, as a GraphQLError takes it: a text that has these places, and nothing of the document that had
 * them. Null where they are no places.
 */
export function placesAt(
  locations: readonly Location[],
): { source: NonNullable<GraphQLError['source']>; positions: number[] } | null {
  const columns = new Map<number, number>()
  for (const { line, column } of locations) {
    if (!isCount(line) || !isCount(column)) return null
    columns.set(line, Math.max(column, columns.get(line) ?? 0))
  }
  const lines = Math.max(0, ...columns.keys())
  const length = lines + [...columns.values()].reduce((sum, column) => sum + column, 0)
  if (locations.length === 0 || length > MAX_LENGTH) return null
  const starts: number[] = []
  let body = ''
  for (let line = 1; line <= lines; line++) {
    starts.push(body.length)
    body += `${' '.repeat(columns.get(line) ?? 0)}\n`
  }
  return {
    // All that graphql reads of a Source.
    source: { body, name: 'GraphQL request', locationOffset: { line: 1, column: 1 } } as never,
    positions: locations.map(({ line, column }) => (starts[line - 1] ?? 0) + column - 1),
  }
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 1
}
