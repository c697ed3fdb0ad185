import type { WaitRecord } from '../../store.ts'
import { OUTCOME_COLUMNS, type OutcomeRow, RUN_COLUMNS, type RunRow, WAIT_COLUMNS } from './rows.ts'
import { statement } from './statement.ts'

/** Held and ended runs have no due time. */
export const FIND_DUE = statement<[now: number, limit: number], Pick<RunRow, 'n'>>(
  'select n from runs where due_at <= ? order by due_at, n limit ?',
)

export const FIND_DUE_RUN = statement<[id: string, evenIfNotDue: 0 | 1, now: number], Pick<RunRow, 'n'>>(
  'select n from runs where id = ? and holder is null and ended_at is null and (? or due_at <= ?)',
)

export const NEXT_DUE = statement<[], { readonly dueAt: number | null }>(
  'select min(due_at) as dueAt from runs where due_at is not null',
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
