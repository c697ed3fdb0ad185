import { matches } from '../core/match.ts'
import type { EventQuery, EventRecord } from './store.ts'

/** Queries for events of one name. */
export interface Demand {
  readonly name: string
  /** The earliest instant that any of them asks for. */
  readonly since: number
  /** The latest; null: no bound. */
  readonly until: number | null
  readonly isMet: boolean
  /** To be offered the events of the name in the order of their acceptance. */
  offer(event: EventRecord): void
}

/**
 * For drivers: what `findEvents` answers, and the demands by which it comes about. An event goes to the first query that
 * it fits and that has none yet; each event is parsed once, and each pattern, however many they are.
 */
export function allocate(queries: readonly EventQuery[]): {
  readonly found: (EventRecord | null)[]
  readonly demands: readonly Demand[]
} {
  const found = queries.map((): EventRecord | null => null)
  const places = Map.groupBy(queries.keys(), (place) => queries[place]?.name ?? '')
  const demands = [...places].map(([name, own]) => demandFor(name, own, queries, found))
  return { found, demands }
}

function demandFor(
  name: string,
  places: readonly number[],
  queries: readonly EventQuery[],
  found: (EventRecord | null)[],
): Demand {
  const open = new Map(places.flatMap((place) => (queries[place] ? [[place, toOpen(queries[place])] as const] : [])))
  const own = [...open.values()]
  return {
    name,
    since: Math.min(...own.map(({ since }) => since)),
    until: own.some(({ until }) => until === null) ? null : Math.max(...own.map(({ until }) => until ?? 0)),
    get isMet() {
      return open.size === 0
    },
    offer(event) {
      let data: unknown
      let isParsed = false
      for (const [place, { since, until, exclude, pattern }] of open) {
        if (event.acceptedAt < since || (until !== null && event.acceptedAt > until) || exclude.has(event.id)) continue
        if (pattern !== undefined) {
          if (!isParsed) data = JSON.parse(event.data)
          isParsed = true
          if (!matches(pattern, data)) continue
        }
        found[place] = event
        open.delete(place)
        return
      }
    },
  }
}

function toOpen({ match, ...query }: EventQuery): Omit<EventQuery, 'match'> & { readonly pattern: unknown } {
  return { ...query, pattern: match === null ? undefined : JSON.parse(match) }
}
