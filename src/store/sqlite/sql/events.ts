import type { EventRecord } from '../../store.ts'
import { EVENT_COLUMNS } from './rows.ts'
import { statement } from './statement.ts'

/** Gives no row where the id was seen before. */
export const INSERT_EVENT = statement<
  [id: string, name: string, data: string, acceptedAt: number],
  { readonly n: number }
>('insert into events (id, name, data, accepted_at) values (?, ?, ?, ?) on conflict (id) do nothing returning n')

export const FIND_WAITS = statement<[event: string], { readonly run: number; readonly match: string | null }>(
  'select run, match from waits where event = ?',
)

/** The flag survives a park that is on its way; the due time is for one that has already happened (I6). */
export const SIGNAL = statement<
  [now: number, sameNow: number, updatedAt: number, run: number],
  { readonly id: string }
>(`
  update runs set
    signalled = 1,
    due_at = iif(holder is null, min(coalesce(due_at, ?), ?), due_at),
    updated_at = ?
  where n = ?
  returning id`)

export const FIND_EVENTS = statement<[name: string, since: number, until: number], EventRecord>(`
  select ${EVENT_COLUMNS} from events
  where name = ? and accepted_at between ? and ?
  order by accepted_at, n`)
