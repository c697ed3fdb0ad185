import type { ListQuery, PeekReceipt, ReadParts, RunRecord, RunView } from '../store.ts'
import type { Caller } from './session.ts'
import * as sql from './sql/read.ts'
import { toOutcomeRecord, toRunRecord, toWaitRecord } from './sql/rows.ts'

export async function read({ general }: Caller, runId: string, parts: ReadParts = {}): Promise<RunView | null> {
  const { waits = true, journal = false, result = false, input = false } = parts
  const { from, limit } = typeof journal === 'boolean' ? { from: 0, limit: null } : journal
  const [row] = await general.query(sql.READ, runId, journal !== false, result, input, waits, from, limit)
  if (!row) return null
  return {
    at: row.at,
    run: toRunRecord(row),
    waits: row.waits?.map(toWaitRecord) ?? [],
    journal: row.journal?.map(toOutcomeRecord) ?? null,
    result: row.result,
    input: row.input,
  }
}

export async function peek({ general }: Caller, runIds: readonly string[]): Promise<PeekReceipt> {
  const rows = await general.query(sql.PEEK, runIds)
  return { at: rows[0]?.at ?? 0, runs: rows.map(({ id, status, dueAt }) => ({ id, status, dueAt })) }
}

/** After every run that there can be. */
const THE_END = { createdAt: Number.MAX_SAFE_INTEGER, id: '' }

export async function list({ general }: Caller, query: ListQuery): Promise<RunRecord[]> {
  const { first, after = THE_END, status = null, operationName = null, owner } = query
  if (first <= 0) return []
  const params = [after.createdAt, after.id, status, operationName, first] as const
  const rows = await (owner === undefined
    ? general.query(sql.LIST, ...params)
    : general.query(sql.LIST_OF_OWNER, ...params, owner))
  return rows.map(toRunRecord)
}
