import type { PeekReceipt, RunStatus } from '../../store.ts'
import { RUN_COLUMNS, type RunRow } from './rows.ts'
import { statement } from './statement.ts'

export const READ_RUN = statement<[id: string], RunRow>(`select ${RUN_COLUMNS} from runs where id = ?`)

export const READ_RESULT = statement<[run: number], { readonly body: string }>('select body from results where run = ?')

/** `ids`: a JSON array. */
export const PEEK = statement<[ids: string], PeekReceipt['runs'][number]>(
  'select id, status, due_at as dueAt from runs where id in (select value from json_each(?))',
)

type ListParams = [
  beforeCreatedAt: number,
  beforeId: string,
  status: RunStatus | null,
  sameStatus: RunStatus | null,
  operationName: string | null,
  sameOperationName: string | null,
  first: number,
]

const FILTERED = `
  (created_at, id) < (?, ?)
  and (? is null or status = ?)
  and (? is null or operation_name = ?)
  order by created_at desc, id desc
  limit ?`

export const LIST = statement<ListParams, RunRow>(`select ${RUN_COLUMNS} from runs where ${FILTERED}`)

export const LIST_OF_OWNER = statement<[owner: string, ...ListParams], RunRow>(
  `select ${RUN_COLUMNS} from runs where owner = ? and ${FILTERED}`,
)
