import type { WaitRecord } from '../../store.ts'
import { OUTCOME_COLUMNS, type OutcomeRow, RUN_COLUMNS, type RunRow, WAIT_COLUMNS } from './rows.ts'
import { statement } from './statement.ts'

/** `servers` is a JSON array of names, or null for any. */
const IS_SERVED = '(?2 is null or server in (select value from json_each(?2)))'

/** Held and ended runs have no due time. */
export const FIND_DUE = statement<[now: number, servers: string | null, limit: number], Pick<RunRow, 'n'>>(
  `select n from runs where due_at <= ?1 and ${IS_SERVED} order by due_at, n limit ?3`,
)

export const FIND_DUE_RUN = statement<
  [id: string, servers: string | null, evenIfNotDue: 0 | 1, now: number],
  Pick<RunRow, 'n'>
>(`
  select n from runs
  where id = ?1 and ${IS_SERVED} and holder is null and ended_at is null and (?3 or due_at <= ?4)`)

export const NEXT_DUE = statement<[from: number, servers: string | null], { readonly dueAt: number }>(
  `select due_at as dueAt from runs where due_at >= ?1 and ${IS_SERVED} order by due_at limit 1`,
)

export const CLAIM = statement<[holder: string, updatedAt: number, run: number], RunRow>(`
  update runs set
    status = 'running', holder = ?, epoch = epoch + 1, due_at = null, signalled = 0, updated_at = ?
  where n = ?
  returning ${RUN_COLUMNS}`)

export const READ_INPUT = statement<[run: number], { readonly body: string }>('select body from inputs where run = ?')

export const READ_JOURNAL = statement<[run: number], OutcomeRow>(
  `select ${OUTCOME_COLUMNS} from outcomes where run = ? order by pos`,
)

export const READ_WAITS = statement<[run: number], WaitRecord>(
  `select ${WAIT_COLUMNS} from waits where run = ? order by seq`,
)
