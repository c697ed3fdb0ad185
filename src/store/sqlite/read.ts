import type { ListQuery, PeekReceipt, ReadParts, RunRecord, RunView } from '../store.ts'
import { beginSlice, turn } from '../pacing.ts'
import type { Database } from './database.ts'
import { readJournal } from './journal.ts'
import type { Caller } from './session.ts'
import { READ_INPUT, READ_WAITS } from './sql/claim.ts'
import * as sql from './sql/read.ts'
import { jsonList } from './sql/statement.ts'
import { toRunRecord, toWaitRecord } from './sql/rows.ts'

export async function read(caller: Caller, runId: string, parts: ReadParts = {}): Promise<RunView | null> {
  const { database, now } = caller
  const found = await database.read(() => {
    const row = database.get(sql.READ_RUN, runId)
    if (!row) return null
    const view = {
      at: now(),
      run: toRunRecord(row),
      waits: parts.waits === false ? [] : database.all(READ_WAITS, row.n).map(toWaitRecord),
      journal: null,
      result: parts.result ? (database.get(sql.READ_RESULT, row.n)?.body ?? null) : null,
      input: parts.input ? (database.get(READ_INPUT, row.n)?.body ?? null) : null,
    }
    return { n: row.n, view }
  })
  if (!found || !parts.journal) return found?.view ?? null
  // A journal is only ever appended to: as far as the run's row says, it is of the same moment.
  const { len } = found.view.run
  const { from, limit } = parts.journal === true ? { from: 0, limit: len } : parts.journal
  const journal = await readJournal(caller, found.n, Math.min(len, from + limit), from)
  return journal && { ...found.view, journal }
}

export function peek({ database, now }: Caller, runIds: readonly string[]): Promise<PeekReceipt> {
  return database.read(() => ({
    at: now(),
    runs: database.all(sql.PEEK, jsonList(runIds)).map((row) => ({ ...row })),
  }))
}

/** After every run that there can be. */
const THE_END = { createdAt: Number.MAX_SAFE_INTEGER, id: '' }
/** Runs that are looked at before the clock is: about a millisecond. */
const SCANNED = 1_000

export async function list({ database }: Caller, query: ListQuery): Promise<RunRecord[]> {
  const found: RunRecord[] = []
  let after: typeof THE_END | undefined = query.after ?? THE_END
  while (after !== undefined && found.length < query.first) {
    if (found.length > 0 || after !== (query.after ?? THE_END)) await turn()
    const begin: typeof THE_END = after
    after = await database.read(() => scan(database, query, begin, found))
  }
  return found
}

/** Looks on for one slice. Answers where to go on; undefined: there are no more, or as many as asked for. */
function scan(
  database: Database,
  query: ListQuery,
  from: typeof THE_END,
  found: RunRecord[],
): typeof THE_END | undefined {
  const { first, status = null, operationName = null, owner } = query
  const slice = beginSlice()
  for (let { createdAt, id } = from; ;) {
    const params = [createdAt, id, status, operationName, SCANNED, first - found.length] as const
    const rows =
      owner === undefined ? database.all(sql.LIST, ...params) : database.all(sql.LIST_OF_OWNER, ...params, owner)
    found.push(...rows.map(toRunRecord))
    if (found.length === first) return undefined
    const end =
      owner === undefined
        ? database.get(sql.END_OF_LIST, createdAt, id, SCANNED - 1)
        : database.get(sql.END_OF_LIST_OF_OWNER, createdAt, id, SCANNED - 1, owner)
    if (!end || slice.isOver) return end
    ;({ createdAt, id } = end)
  }
}
