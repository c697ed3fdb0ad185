import type { EventRecord } from '../../store.ts'
import { statement } from './statement.ts'

/** Gives no row where the id was seen before under this name. */
export const INSERT_EVENT = statement<
  [id: string, name: string, data: string, acceptedAt: number, indexed: 0 | 1],
  { readonly n: number }
>(`
  insert into events (id, name, data, accepted_at, indexed) values (?, ?, ?, ?, ?)
  on conflict (name, id) do nothing
  returning n`)

export const INSERT_LEAF = statement<[event: number, leaf: bigint, acceptedAt: number]>(
  'insert into event_leaves (event, leaf, accepted_at) values (?, ?, ?)',
)

export interface WaitRow {
  readonly run: number
  readonly key: string
  readonly match: string | null
}

/** A page of the waits of an event's name that go by this leaf; null: by none. */
export const FIND_WAITS = statement<
  [event: string, leaf: bigint | null, afterRun: number, afterKey: string, limit: number],
  WaitRow
>(`
  select run, key, match from waits
  where event = ? and leaf is ? and (run, key) > (?, ?)
  order by run, key limit ?`)

/** A page of those that go by a leaf, whichever. Leaves as text: a number of the driver has fewer bits. */
export const FIND_WAITS_OF_ANY_LEAF = statement<
  [event: string, afterLeaf: string, afterRun: number, afterKey: string, limit: number],
  WaitRow & { readonly leaf: string }
>(`
  select run, key, match, cast(leaf as text) as leaf from waits
  where event = ? and (leaf, run, key) > (cast(? as integer), ?, ?)
  order by leaf, run, key limit ?`)

/** The flag survives a park that is on its way; the due time is for one that has already happened (I6). */
export const SIGNAL = statement<[now: number, run: number], { readonly id: string }>(`
  update runs set
    signalled = 1,
    due_at = iif(holder is null, min(coalesce(due_at, ?1), ?1), due_at),
    updated_at = ?1
  where n = ?2
  returning id`)

export const PUT_UNDISPATCHED = statement<[event: number, since: number]>(
  'insert or ignore into undispatched (event, since) values (?, ?)',
)

export const DISPATCHED = statement<[event: number]>('delete from undispatched where event = ?')

export const SET_ASIDE = statement<[event: number]>('update undispatched set set_aside = 1 where event = ?')

type EventRow = Omit<EventRecord, 'acceptedAt'> & { readonly n: number }

export const FIND_UNDISPATCHED = statement<[name: string, id: string], EventRow>(`
  select n, id, name, data from events join undispatched on event = n where name = ? and id = ?`)

/** Those that nobody is at any more. */
export const FIND_OVERDUE = statement<[before: number, limit: number], EventRow>(`
  select n, id, name, data from undispatched join events on n = event
  where since < ? and set_aside = 0
  order by event limit ?`)

/** Where an event stands in the order of acceptance. */
export interface EventPlace {
  readonly n: number
  readonly acceptedAt: number
}

type After = [afterAt: number, afterN: number, until: number, limit: number]

/** A page of the events that have this leaf. */
export const FIND_EVENTS_BY_LEAF = statement<[leaf: bigint, ...After], EventPlace>(`
  select event as n, accepted_at as acceptedAt from event_leaves
  where leaf = ? and (accepted_at, event) > (?, ?) and accepted_at <= ?
  order by accepted_at, event limit ?`)

/** A page of the events of a name that have no leaves to be found by. */
export const FIND_EVENTS_UNINDEXED = statement<[name: string, ...After], EventPlace>(`
  select n, accepted_at as acceptedAt from events
  where name = ? and indexed = 0 and (accepted_at, n) > (?, ?) and accepted_at <= ?
  order by accepted_at, n limit ?`)

/** A page of the events of a name. */
export const FIND_EVENTS = statement<[name: string, ...After], EventPlace>(`
  select n, accepted_at as acceptedAt from events
  where name = ? and (accepted_at, n) > (?, ?) and accepted_at <= ?
  order by accepted_at, n limit ?`)

/** How many events have the leaf; it is not counted further than to a number. */
export const COUNT_LEAF = statement<[leaf: bigint, since: number, limit: number], { readonly count: number }>(`
  select count(*) as count from (select 1 from event_leaves where leaf = ? and accepted_at >= ? limit ?)`)

export const READ_EVENT_HEAD = statement<[n: number], Omit<EventRecord, 'data'>>(
  'select id, name, accepted_at as acceptedAt from events where n = ?',
)

export const READ_EVENT_DATA = statement<[n: number], { readonly data: string }>('select data from events where n = ?')
