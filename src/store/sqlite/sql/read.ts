import type { PeekReceipt, RunStatus } from '../../store.ts'
import { RUN_COLUMNS, type RunRow } from './rows.ts'
import { statement } from './statement.ts'

export const READ_RUN = statement<[id: string], RunRow>(`select ${RUN_COLUMNS} from runs where id = ? and doomed = 0`)

export const READ_RESULT = statement<[run: number], { readonly body: string }>('select body from results where run = ?')

/** `ids`: a JSON array. */
export const PEEK = statement<[ids: string], PeekReceipt['runs'][number]>(
  'select id, status, due_at as dueAt from runs where id in (select value from json_each(?)) and doomed = 0',
)

type Position = [createdAt: number, id: string]

type ListParams = [
  beforeCreatedAt: number,
  beforeId: string,
  status: RunStatus | null,
  operationName: string | null,
  /** How many runs are looked at. */
  scanned: number,
  first: number,
]

const BEFORE = 'doomed = 0 and (created_at, id) < (?1, ?2)'
const NEWEST = 'order by created_at desc, id desc'
const FITS = '(?3 is null or status = ?3) and (?4 is null or operation_name = ?4)'

/** Of the next runs before a position, those that fit: a filter may fit none of very many. */
export const LIST = statement<ListParams, RunRow>(`
  select ${RUN_COLUMNS} from (select * from runs where ${BEFORE} ${NEWEST} limit ?5)
  where ${FITS} ${NEWEST} limit ?6`)

export const LIST_OF_OWNER = statement<[...ListParams, owner: string], RunRow>(`
  select ${RUN_COLUMNS} from (select * from runs where owner = ?7 and ${BEFORE} ${NEWEST} limit ?5)
  where ${FITS} ${NEWEST} limit ?6`)

/** The last of the runs that `LIST` looked at; no row where there were fewer. */
export const END_OF_LIST = statement<
  [...Position, before: number],
  { readonly createdAt: number; readonly id: string }
>(`select created_at as createdAt, id from runs where ${BEFORE} ${NEWEST} limit 1 offset ?3`)

export const END_OF_LIST_OF_OWNER = statement<
  [...Position, before: number, owner: string],
  { readonly createdAt: number; readonly id: string }
>(`select created_at as createdAt, id from runs where owner = ?4 and ${BEFORE} ${NEWEST} limit 1 offset ?3`)
