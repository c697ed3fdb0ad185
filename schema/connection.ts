import type { CursorSeal } from '../src/engine/cursor-seal.ts'
import type { ListFilter, RunSnapshot, Runs } from '../src/types.ts'

export interface RunConnection {
  readonly nodes: readonly RunSnapshot[]
  readonly edges: readonly { readonly cursor: string; readonly node: RunSnapshot }[]
  readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string | null }
}

export interface ListRunsOptions {
  readonly runs: Pick<Runs, 'list'>
  readonly filter: ListFilter
  /** How many of the visible runs at most. */
  readonly size: number
  readonly cursorOf: (run: RunSnapshot) => string
  /** What clients get of a place: they must not learn from it what stands there, nor make up places (I9). */
  readonly cursors: CursorSeal
  readonly isVisible: (run: RunSnapshot) => Promise<boolean>
}

/** What `ListFilter.first` allows. */
const MAX_PAGE = 100
/**
 * How many runs are looked at in search of visible ones before the caller gets what there is. `authorize` is asked for
 * each, so it bounds the work of one request for somebody who may list but sees next to nothing. Only beyond it does a
 * page tell that there is something that is not shown.
 */
const MAX_LOOKED_AT = 1_000

/**
 * A page of the runs that the caller may see. Those it may not see leave no gap: the page is filled from further on, and
 * whether there is another is told by a run that may be seen as well (I9). Its cursors are sealed, since the last is that
 * of a run that may not be seen where none was found in MAX_LOOKED_AT.
 */
export async function listRuns({
  runs,
  filter,
  size,
  cursorOf,
  cursors,
  isVisible,
}: ListRunsOptions): Promise<RunConnection> {
  const found: RunSnapshot[] = []
  let after: string | null = filter.after ?? null
  let lookedAt = 0
  // One more than asked for. Most callers see what they list, and so the first look is all.
  let first = Math.min(size + 1, MAX_PAGE)
  do {
    // Each page's place is known only from the one before.
    const page = await runs.list({ ...filter, first, ...(after !== null && { after }) }, { summary: true })
    const verdicts = await Promise.all(page.runs.map(isVisible))
    found.push(...page.runs.filter((_run, index) => verdicts[index]))
    after = page.endCursor
    lookedAt += page.runs.length
    first = MAX_PAGE
  } while (found.length <= size && after !== null && lookedAt < MAX_LOOKED_AT)

  const edges = found.slice(0, size).map((node) => ({ cursor: cursors.seal(cursorOf(node)), node }))
  return {
    nodes: edges.map(({ node }) => node),
    edges,
    pageInfo: {
      hasNextPage: found.length > size || after !== null,
      endCursor: edges.at(-1)?.cursor ?? (after === null ? null : cursors.seal(after)),
    },
  }
}
