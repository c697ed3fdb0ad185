import type { RunRow } from './rows.ts'
import { statement } from './statement.ts'

export const FIND_ENDED_RUN = statement<[id: string], Pick<RunRow, 'n' | 'len'>>(
  'select n, len from runs where id = ? and ended_at is not null and doomed = 0',
)

export const FIND_ENDED_BEFORE = statement<[before: number, limit: number], Pick<RunRow, 'n' | 'len'>>(
  'select n, len from runs where ended_at < ? and doomed = 0 order by ended_at limit ?',
)

export const DOOM = statement<[run: number]>('update runs set doomed = 1 where n = ?')

export const FIND_DOOMED = statement<[], Pick<RunRow, 'n'>>('select n from runs where doomed = 1 order by n limit 1')

export const DELETE_SOME_OUTCOMES = statement<[run: number, limit: number]>(`
  delete from outcomes where run = ?1 and pos in (select pos from outcomes where run = ?1 order by pos limit ?2)`)

export const DELETE_LEAVES = statement<[event: number]>('delete from event_leaves where event = ?')

export const DELETE_OUTCOMES = statement<[run: number]>('delete from outcomes where run = ?')
export const DELETE_INPUT = statement<[run: number]>('delete from inputs where run = ?')
export const DELETE_RESULT = statement<[run: number]>('delete from results where run = ?')
export const DELETE_KEY = statement<[run: number]>('delete from idempotency where run = ?')

export const DELETE_RUN = statement<[run: number]>('delete from runs where n = ?')

export const FIND_EVENTS_BEFORE = statement<[before: number, limit: number], { readonly n: number }>(
  'select n from events where accepted_at < ? order by accepted_at limit ?',
)

export const DELETE_EVENT = statement<[n: number]>('delete from events where n = ?')

export const MAKE_SECRET = statement<[name: string, value: string]>(
  'insert into secrets (name, value) values (?, ?) on conflict (name) do nothing',
)

export const READ_SECRET = statement<[name: string], { readonly value: string }>(
  'select value from secrets where name = ?',
)
