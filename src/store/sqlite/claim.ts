import type { Claimed, ClaimReceipt, ClaimRequest, LoadedRun, RunRecord } from '../store.ts'
import { StoreError } from '../store.ts'
import type { Hint } from './database.ts'
import { readJournal } from './journal.ts'
import { ensureRegistered } from './liveness.ts'
import type { Caller } from './session.ts'
import * as sql from './sql/claim.ts'
import { type RunRow, toRunRecord, toWaitRecord } from './sql/rows.ts'
import { jsonList } from './sql/statement.ts'

/** Of journals that one claim brings into memory; at least one run is claimed, whatever its size. */
const MAX_BYTES = 32 * 1024 * 1024
const MAX_OUTCOMES = 5_000

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
  const { at, taken, nextDueAt: next } = await caller.write('claim', (hint) => takeSome(caller, hint, request))
  const claimed: Claimed[] = []
  for (const { n, run } of taken) {
    const previousEpoch = run.epoch - 1
    const isHot = request.hot?.get(run.id) === previousEpoch
    claimed.push({ run, previousEpoch, loaded: isHot ? null : await load(caller, n, run) })
  }
  return { at, claimed, nextDueAt: next }
}

interface Taken {
  readonly n: number
  readonly run: RunRecord
}

/** In a write transaction. */
function takeSome(
  caller: Caller,
  hint: Hint,
  request: ClaimRequest,
): Pick<ClaimReceipt, 'at' | 'nextDueAt'> & { readonly taken: readonly Taken[] } {
  const at = caller.now()
  const chosen = choose(caller, at, request)
  if (chosen.length > 0) ensureRegistered(caller)
  const taken: Taken[] = []
  let bytes = 0
  let outcomes = 0
  let suspects = request.suspects ?? Infinity
  for (const { n } of chosen) {
    if (bytes > MAX_BYTES || outcomes > MAX_OUTCOMES) break // the rest is left for another claim
    const run = take(caller, hint, at, n)
    const isHot = request.hot?.get(run.id) === run.epoch - 1
    if (!isHot) {
      outcomes += run.len
      // To measure a longer one would take as long; it is the last anyway.
      bytes += outcomes > MAX_OUTCOMES ? 0 : (caller.database.get(sql.MEASURE_JOURNAL, n)?.bytes ?? 0)
    }
    if (isSuspect(caller, run)) suspects--
    taken.push({ n, run })
  }
  return { at, taken, nextDueAt: nextDueAt(caller, at, { ...request, suspects }) }
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

function take({ database, processId, suspects }: Caller, hint: Hint, at: number, n: number): RunRecord {
  const row = database.get(sql.CLAIM, processId, suspects.from, at, n) as RunRow // chosen in this transaction
  hint({ kind: 'changed' })
  return toRunRecord(row)
}

/** After the claim: nobody else writes it now, and so it need not be in one piece. */
async function load(caller: Caller, n: number, { id, len }: RunRecord): Promise<LoadedRun> {
  const { database } = caller
  const journal = await readJournal(caller, n, len)
  // A step whose outcome were missing would run again (I2). Given back by the next beats, since nobody here has it.
  if (journal === null) {
    throw new StoreError('transient', `Expected ${len} outcomes of ${id}, but read another number. It is tried again.`)
  }
  return database.read(() => ({
    input: database.get(sql.READ_INPUT, n)?.body ?? '',
    journal,
    waits: database.all(sql.READ_WAITS, n).map(toWaitRecord),
  }))
}

function nextDueAt(caller: Caller, at: number, request: ClaimRequest): number | null {
  const instants = caller.database
    .all(sql.NEXT_DUE, ...claimerOf(caller, at, request))
    .map(({ dueAt, isLeft }) => (isLeft ? dueAt + (request.preferMs ?? 0) : dueAt))
  return instants.length === 0 ? null : Math.min(...instants)
}
