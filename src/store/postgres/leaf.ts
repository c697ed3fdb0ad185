import { createHash } from 'node:crypto'

/*
 * A million runs may wait for events of one name, each with a pattern of its own ("order 7"). Matching is for core,
 * but most of them need not be looked at: a wait carries a hash of one leaf of its pattern, and an event concerns it
 * only if that leaf is among the event's own.
 */

/** Beyond, every wait of the event's name is looked at. */
const MAX_LEAVES = 1_000

/** Of the first leaf of a pattern; null where it has none, and any event may match. */
export function leafOf(pattern: unknown): string | null {
  for (const leaf of leaves(pattern, '')) return leaf
  return null
}

/** Of all of an event's leaves; null where there are too many. */
export function leavesOf(data: unknown): string[] | null {
  const all: string[] = []
  for (const leaf of leaves(data, '')) {
    if (all.length === MAX_LEAVES) return null
    all.push(leaf)
  }
  return all
}

function* leaves(value: unknown, path: string): Generator<string> {
  if (typeof value !== 'object' || value === null) {
    yield hash(`${path}=${JSON.stringify(value)}`)
    return
  }
  for (const [key, child] of Object.entries(value)) yield* leaves(child, `${path}/${JSON.stringify(key)}`)
}

/** 64 bits, as PostgreSQL writes a bigint. */
function hash(text: string): string {
  return createHash('sha256').update(text).digest().readBigInt64BE().toString()
}
