import { matches } from '../../core/match.ts'
import type { Slice } from '../pacing.ts'
import type { Database } from './database.ts'
import * as sql from './sql/events.ts'

/** Waits that are looked at before the clock is. */
const PAGE = 100

const BEFORE_ALL = { leaf: String(-(2n ** 63n)), run: -1, key: '' }

/** Events of one name that are dispatched together: each of the waits is looked at once. */
export interface Accepted {
  readonly name: string
  readonly numbers: readonly number[]
  /** Of each, parsed. */
  readonly data: readonly unknown[]
  /** Of all of them; null among them is for waits that have none. */
  readonly leaves: readonly (string | null)[]
  /** They have more leaves than waits can be found by. */
  readonly isAnyLeaf: boolean
}

/** How far a dispatch has come. */
export interface Progress {
  /** Of the leaves to look for, in their order; after them, any other where there are too many. */
  readonly leaf: number
  readonly after: { readonly leaf: string; readonly run: number; readonly key: string }
}

export const BEGINNING: Progress = { leaf: 0, after: BEFORE_ALL }

/**
 * Signals runs with an open wait that one of the events fits. There may be any number of them, and so it is done in slices, each
 * within a transaction of the caller's, and of at least a page of waits; those that are opened meanwhile look for the
 * events themselves (I6). Answers how far it has come, or null where that was all.
 */
export function dispatch(
  database: Database,
  event: Accepted,
  from: Progress,
  at: number,
  slice: Slice,
  onSignalled: (runId: string) => void,
): Progress | null {
  const seen = new Set<number>()
  for (let progress: Progress | null = from; progress !== null;) {
    const { page, next } = readPage(database, event, progress)
    for (const { run, match } of page) {
      if (seen.has(run) || !fits(match, event.data)) continue
      seen.add(run)
      const signalled = database.get(sql.SIGNAL, at, run)
      if (signalled) onSignalled(signalled.id)
    }
    if (slice.isOver) return next
    progress = next
  }
  return null
}

function readPage(
  database: Database,
  { name, leaves, isAnyLeaf: mayHaveAny }: Accepted,
  { leaf: index, after }: Progress,
): { readonly page: readonly sql.WaitRow[]; readonly next: Progress | null } {
  const leaf = leaves[index]
  const isAnyLeaf = leaf === undefined
  const page = isAnyLeaf
    ? database.all(sql.FIND_WAITS_OF_ANY_LEAF, name, after.leaf, after.run, after.key, PAGE)
    : database.all(sql.FIND_WAITS, name, leaf === null ? null : BigInt(leaf), after.run, after.key, PAGE)
  const last = page.length === PAGE ? page.at(-1) : undefined
  if (last) return { page, next: { leaf: index, after: { ...BEFORE_ALL, ...last } } }
  const hasMore = index + 1 < leaves.length || (mayHaveAny && !isAnyLeaf)
  return { page, next: hasMore ? { leaf: index + 1, after: BEFORE_ALL } : null }
}

function fits(match: string | null, data: readonly unknown[]): boolean {
  if (match === null) return true
  const pattern: unknown = JSON.parse(match)
  return data.some((each) => matches(pattern, each))
}
