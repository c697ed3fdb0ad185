import type { WaitRecord } from '../../store.ts'
import { OUTCOME_COLUMNS, type OutcomeRow, RUN_COLUMNS, type RunRow, WAIT_COLUMNS } from './rows.ts'
import { statement } from './statement.ts'

/** What a claim may take; `servers` is a JSON array of names, or null for any. */
export type Claimer = [
  now: number,
  servers: string | null,
  processId: string,
  /** Due for so long, a run that another process keeps is anybody's. */
  anybodysSince: number,
  /** Runs with fewer takeovers only. */
  takeovers: number,
]
const IS_SERVED = '(?2 is null or server in (select value from json_each(?2)))'
const IS_FREE = '(kept_by is null or kept_by = ?3 or due_at <= ?4)'

/** Held and ended runs have no due time. */
export const FIND_DUE = statement<[...Claimer, limit: number], Pick<RunRow, 'n' | 'takeovers'>>(`
  select n, takeovers from runs
  where due_at <= ?1 and ${IS_SERVED} and ${IS_FREE} and takeovers < ?5
  order by due_at, n limit ?6`)

export const FIND_DUE_RUN = statement<[...Claimer, id: string], Pick<RunRow, 'n' | 'takeovers'>>(`
  select n, takeovers from runs
  where id = ?6 and due_at <= ?1 and ${IS_SERVED} and ${IS_FREE} and takeovers < ?5`)

export const FIND_PARKED_RUN = statement<[id: string, servers: string | null], Pick<RunRow, 'n' | 'takeovers'>>(
  `select n, takeovers from runs where id = ?1 and ${IS_SERVED} and holder is null and ended_at is null`,
)

/** What is due next, or is due and left to another process for a moment; the latter is known by its due time. */
export const NEXT_DUE = statement<Claimer, { readonly dueAt: number; readonly isLeft: 0 | 1 }>(`
  select * from (
    select due_at as dueAt, 0 as isLeft from runs
    where due_at is not null and ${IS_SERVED} and (${IS_FREE} or due_at > ?1) and takeovers < ?5
    order by due_at limit 1)
  union all
  select * from (
    select due_at as dueAt, 1 as isLeft from runs
    where due_at > ?4 and due_at <= ?1 and ${IS_SERVED} and not ${IS_FREE} and takeovers < ?5
    order by due_at limit 1)`)

export const CLAIM = statement<[holder: string, suspectFrom: number, updatedAt: number, run: number], RunRow>(`
  update runs set
    status = 'running', holder = ?, kept_by = null, epoch = epoch + 1, due_at = null, signalled = 0,
    on_probation = takeovers >= ?, updated_at = ?
  where n = ?
  returning ${RUN_COLUMNS}`)

export const READ_INPUT = statement<[run: number], { readonly body: string }>('select body from inputs where run = ?')

export const READ_JOURNAL = statement<[run: number, from: number, to: number], OutcomeRow>(
  `select ${OUTCOME_COLUMNS} from outcomes where run = ? and pos >= ? and pos < ? order by pos`,
)

/** What its journal takes in memory; without reading it. */
export const MEASURE_JOURNAL = statement<[run: number], { readonly bytes: number | null }>(
  'select sum(octet_length(body)) as bytes from outcomes where run = ?',
)

export const READ_WAITS = statement<[run: number], WaitRecord>(
  `select ${WAIT_COLUMNS} from waits where run = ? order by seq`,
)
