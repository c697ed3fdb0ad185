import { matches } from '../core/match.ts'
import { indexKeys, leavesOfPattern } from './leaf.ts'
import type { EventQuery, EventRecord } from './store.ts'

/** What an event is besides its data, which may be large. */
export type EventHead = Omit<EventRecord, 'data'>

/** Queries for events of one name. */
export interface Demand {
  readonly name: string
  /** The earliest instant that any of them asks for. */
  readonly since: number
  /** The latest; null: no bound. */
  readonly until: number | null
  readonly isMet: boolean
  /**
   * Of the queries that have no event yet: the index keys by which their events are found (leaf.ts). Null where one of
   * them takes any event of the name.
   */
  readonly keys: readonly string[] | null
  /** Index keys of queries that could go by one or another of them. */
  readonly choice: readonly string[]
  /** By how many events have each of them, as far as that was counted: such a query goes by its rarest from now on. */
  choose(counts: ReadonlyMap<string, number>): void
  /** To be offered the events of the name in the order of their acceptance. The data is read where it decides. */
  offer(event: EventHead, readData: () => string): void
}

/** A query that has no event yet. */
interface Open extends Omit<EventQuery, 'match'> {
  readonly pattern: unknown
  keys: readonly string[]
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
    get keys() {
      const keys = new Set<string>()
      for (const {
        keys: [key],
      } of open.values()) {
        if (key === undefined) return null
        keys.add(key)
      }
      return [...keys]
    },
    get choice() {
      return [...new Set([...open.values()].flatMap(({ keys }) => (keys.length > 1 ? keys : [])))]
    },
    choose(counts) {
      const rank = (key: string): number => counts.get(key) ?? 0
      for (const query of open.values()) query.keys = query.keys.toSorted((one, other) => rank(one) - rank(other))
    },
    offer(event, readData) {
      let read: Read | undefined
      for (const [place, { since, until, exclude, pattern }] of open) {
        if (event.acceptedAt < since || (until !== null && event.acceptedAt > until) || exclude.has(event.id)) continue
        read ??= readOnce(readData)
        if (read.data === null) return
        if (pattern !== undefined && !matches(pattern, read.parsed)) continue
        found[place] = { ...event, data: read.data }
        open.delete(place)
        return
      }
    },
  }
}

type Read = { readonly data: string; readonly parsed: unknown } | { readonly data: null }

/** No data where nobody can read it: an event that was damaged is passed over, and must not stop the others (I4). */
function readOnce(readData: () => string): Read {
  const data = readData()
  try {
    return { data, parsed: JSON.parse(data) as unknown }
  } catch {
    return { data: null }
  }
}

function toOpen({ match, ...query }: EventQuery): Open {
  if (match === null) return { ...query, pattern: undefined, keys: [] }
  const pattern: unknown = JSON.parse(match)
  return { ...query, pattern, keys: indexKeys(query.name, leavesOfPattern(pattern)) }
}
