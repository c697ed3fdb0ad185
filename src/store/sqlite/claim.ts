import type { Claimed, ClaimReceipt, ClaimRequest, LoadedRun } from '../store.ts'
import type { Database, Hint } from './database.ts'
import { ensureRegistered } from './liveness.ts'
import type { Caller } from './session.ts'
import * as sql from './sql/claim.ts'
import { type RunRow, toOutcomeRecord, toRunRecord, toWaitRecord } from './sql/rows.ts'
import { jsonList } from './sql/statement.ts'

/** Of journals that one claim brings into memory; at least one run is claimed, whatever its size. */
const MAX_BYTES = 32 * 1024 * 1024

export async function claim(caller: Caller, request: ClaimRequest): Promise<ClaimReceipt> {
  const { database } = caller
  // Workers ask all the time; nothing to claim must not cost anybody the write lock.
  const idle = await database.read(() => {
    const at = caller.now()
    return choose(caller, at, request).length > 0
      ? null
      : { at, claimed: [], nextDueAt: nextDueAt(caller, at, request) }
  })
  if (idle) return idle
  return caller.write('claim', (hint) => {
    const at = caller.now()
    const chosen = choose(caller, at, request)
    if (chosen.length > 0) ensureRegistered(caller)
    const claimed: Claimed[] = []
    let bytes = 0
    let suspects = request.suspects ?? Infinity
    for (const { n } of chosen) {
      if (bytes > MAX_BYTES) break // the rest is left for another claim
      const run = take(caller, hint, at, n, request)
      for (const { body } of run.loaded?.journal ?? []) bytes += body.length
      if (isSuspect(caller, run.run)) suspects--
      claimed.push(run)
    }
    return { at, claimed, nextDueAt: nextDueAt(caller, at, { ...request, suspects }) }
  })
}

const ANY_NUMBER = 2 ** 31

type Choice = Pick<RunRow, 'n' | 'takeovers'>

function choose(caller: Caller, at: number, request: ClaimRequest): Choice[] {
  const { database } = caller
  const { limit, runId, evenIfNotDue, suspects = Infinity } = request
  if (limit <= 0) return []
  if (runId !== undefined && evenIfNotDue) return database.all(sql.FIND_PARKED_RUN, runId, serversOf(request))
  const claimer = claimerOf(caller, at, request)
  const due =
    runId === undefined
      ? database.all(sql.FIND_DUE, ...claimer, limit)
      : database.all(sql.FIND_DUE_RUN, ...claimer, runId)
  const tooMany = new Set(due.filter((run) => isSuspect(caller, run)).slice(suspects))
  return due.filter((run) => !tooMany.has(run)) // what they crowded out is taken by the next claim
}

function isSuspect({ suspects }: Caller, { takeovers }: Pick<RunRow, 'takeovers'>): boolean {
  return takeovers >= suspects.from
}

function claimerOf({ processId, suspects }: Caller, at: number, request: ClaimRequest): sql.Claimer {
  const lessTakeovers = request.suspects === 0 ? suspects.from : ANY_NUMBER
  return [at, serversOf(request), processId, at - (request.preferMs ?? 0), lessTakeovers]
}

function serversOf({ servers }: ClaimRequest): string | null {
  return servers === undefined ? null : jsonList(servers)
}

function take(caller: Caller, hint: Hint, at: number, n: number, { hot }: ClaimRequest): Claimed {
  const { database, processId, suspects } = caller
  const row = database.get(sql.CLAIM, processId, suspects.from, at, n) as RunRow // chosen in this transaction
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

function nextDueAt(caller: Caller, at: number, request: ClaimRequest): number | null {
  const instants = caller.database
    .all(sql.NEXT_DUE, ...claimerOf(caller, at, request))
    .map(({ dueAt, isLeft }) => (isLeft ? dueAt + (request.preferMs ?? 0) : dueAt))
  return instants.length === 0 ? null : Math.min(...instants)
}
