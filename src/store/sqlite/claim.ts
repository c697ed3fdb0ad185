import type { Claimed, ClaimReceipt, ClaimRequest, LoadedRun } from '../store.ts'
import type { Database, Hint } from './database.ts'
import { ensureRegistered } from './liveness.ts'
import type { Caller } from './session.ts'
import * as sql from './sql/claim.ts'
import { type RunRow, toFlag, toOutcomeRecord, toRunRecord, toWaitRecord } from './sql/rows.ts'

/** Of journals that one claim brings into memory; at least one run is claimed, whatever its size. */
const MAX_BYTES = 32 * 1024 * 1024

export async function claim(caller: Caller, request: ClaimRequest): Promise<ClaimReceipt> {
  const { database } = caller
  // Workers ask all the time; nothing to claim must not cost anybody the write lock.
  const idle = await database.read(() => {
    const at = caller.now()
    return choose(database, at, request).length > 0
      ? null
      : { at, claimed: [], nextDueAt: nextDueAt(database, request) }
  })
  if (idle) return idle
  return caller.write('claim', (hint) => {
    const at = caller.now()
    const chosen = choose(database, at, request)
    if (chosen.length > 0) ensureRegistered(caller)
    const claimed: Claimed[] = []
    let bytes = 0
    for (const { n } of chosen) {
      if (bytes > MAX_BYTES) break // the rest is left for another claim
      const run = take(caller, hint, at, n, request)
      for (const { body } of run.loaded?.journal ?? []) bytes += body.length
      claimed.push(run)
    }
    return { at, claimed, nextDueAt: nextDueAt(database, request) }
  })
}

function choose(database: Database, at: number, request: ClaimRequest): Pick<RunRow, 'n'>[] {
  const { limit, runId, evenIfNotDue } = request
  if (limit <= 0) return []
  return runId === undefined
    ? database.all(sql.FIND_DUE, at, serversOf(request), limit)
    : database.all(sql.FIND_DUE_RUN, runId, serversOf(request), toFlag(evenIfNotDue ?? false), at)
}

function serversOf({ servers }: ClaimRequest): string | null {
  return servers === undefined ? null : JSON.stringify(servers)
}

function take({ database, processId }: Caller, hint: Hint, at: number, n: number, { hot }: ClaimRequest): Claimed {
  const row = database.get(sql.CLAIM, processId, at, n) as RunRow // chosen in this transaction
  const run = toRunRecord(row)
  const previousEpoch = run.epoch - 1
  hint({ kind: 'changed' })
  return { run, previousEpoch, loaded: hot?.get(run.id) === previousEpoch ? null : load(database, n) }
}

function load(database: Database, n: number): LoadedRun {
  return {
    input: database.get(sql.READ_INPUT, n)?.body ?? '',
    journal: database.all(sql.READ_JOURNAL, n).map(toOutcomeRecord),
    waits: database.all(sql.READ_WAITS, n).map(toWaitRecord),
  }
}

function nextDueAt(database: Database, request: ClaimRequest): number | null {
  return database.get(sql.NEXT_DUE, 0, serversOf(request))?.dueAt ?? null
}
