import type { PeekReceipt, RunStatus } from '../../store.ts'
import { journalPart, type OutcomeTuple, RUN_COLUMNS, type RunRow, WAITS, type WaitTuple } from './rows.ts'
import { NOW, statement } from './statement.ts'

/** One statement, and so of one moment. */
export const READ = statement<
  [id: string, journal: boolean, result: boolean, input: boolean, waits: boolean, from: number, limit: number | null],
  RunRow & {
    readonly at: number
    readonly waits: readonly WaitTuple[] | null
    readonly journal: readonly OutcomeTuple[] | null
    readonly result: string | null
    readonly input: string | null
  }
>(
  'read',
  `
  select ${NOW} as at, ${RUN_COLUMNS}, case when $5 then ${WAITS} end as waits,
    case when $2 then ${journalPart('$6::integer', '$7::integer')} end as journal,
    case when $3 then (select x.body from durable.results x where x.run = r.n) end as result,
    case when $4 then (select x.body from durable.inputs x where x.run = r.n) end as input
  from durable.runs r
  where r.id = $1`,
)

export const PEEK = statement<[ids: readonly string[]], PeekReceipt['runs'][number] & { readonly at: number }>(
  'peek',
  `select ${NOW} as at, r.id, r.status, r.due_at as "dueAt" from durable.runs r where r.id = any($1::text[])`,
)

type ListParams = [
  beforeCreatedAt: number,
  beforeId: string,
  status: RunStatus | null,
  operationName: string | null,
  first: number,
]

const FILTERED = `
  (r.created_at, r.id) < ($1::bigint, $2)
  and ($3::text is null or r.status = $3)
  and ($4::text is null or r.operation_name = $4)
  order by r.created_at desc, r.id desc
  limit $5`

export const LIST = statement<ListParams, RunRow>('list', `select ${RUN_COLUMNS} from durable.runs r where ${FILTERED}`)

export const LIST_OF_OWNER = statement<[...ListParams, owner: string], RunRow>(
  'list_of_owner',
  `select ${RUN_COLUMNS} from durable.runs r where r.owner = $6 and ${FILTERED}`,
)
