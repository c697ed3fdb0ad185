import type { ListQuery, PeekReceipt, ReadParts, RunRecord, RunView } from '../store.ts'
import type { Caller } from './session.ts'
import { READ_INPUT, READ_JOURNAL, READ_WAITS } from './sql/claim.ts'
import * as sql from './sql/read.ts'
import { jsonList } from './sql/statement.ts'
import { toOutcomeRecord, toRunRecord, toWaitRecord } from './sql/rows.ts'

export function read({ database, now }: Caller, runId: string, parts: ReadParts = {}): Promise<RunView | null> {
  return database.read(() => {
    const row = database.get(sql.READ_RUN, runId)
    if (!row) return null
    return {
      at: now(),
      run: toRunRecord(row),
      waits: parts.waits === false ? [] : database.all(READ_WAITS, row.n).map(toWaitRecord),
      journal: parts.journal ? database.all(READ_JOURNAL, row.n).map(toOutcomeRecord) : null,
      result: parts.result ? (database.get(sql.READ_RESULT, row.n)?.body ?? null) : null,
      input: parts.input ? (database.get(READ_INPUT, row.n)?.body ?? null) : null,
    }
  })
}

export function peek({ database, now }: Caller, runIds: readonly string[]): Promise<PeekReceipt> {
  return database.read(() => ({
    at: now(),
    runs: database.all(sql.PEEK, jsonList(runIds)).map((row) => ({ ...row })),
  }))
}

/** After every run that there can be. */
const THE_END = { createdAt: Number.MAX_SAFE_INTEGER, id: '' }

export async function list({ database }: Caller, query: ListQuery): Promise<RunRecord[]> {
  const { first, after = THE_END, status = null, operationName = null, owner } = query
  if (first <= 0) return []
  const rows = await database.read(() =>
    owner === undefined
      ? database.all(sql.LIST, after.createdAt, after.id, status, status, operationName, operationName, first)
      : database.all(
          sql.LIST_OF_OWNER,
          owner,
          after.createdAt,
          after.id,
          status,
          status,
          operationName,
          operationName,
          first,
        ),
  )
  return rows.map(toRunRecord)
}
