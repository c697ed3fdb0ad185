import type { Claimed, ClaimReceipt, ClaimRequest, LoadedRun } from '../store.ts'
import { JOURNAL_PAGE, StoreError } from '../store.ts'
import type { Caller } from './session.ts'
import * as sql from './sql/claim.ts'
import type { RunRow } from './sql/rows.ts'
import { toOutcomeRecord, toRunRecord, toWaitRecord } from './sql/rows.ts'

/** Of journals that one claim brings into memory; at least one run is claimed, whatever its size. */
const MAX_BYTES = 32 * 1024 * 1024

/** What the type of the parameter holds. */
const MANY = 2 ** 31 - 1

export async function claim(caller: Caller, request: ClaimRequest): Promise<ClaimReceipt> {
  if (request.limit <= 0) {
    const [next] = await caller.claims.query(sql.NEXT_DUE, request.servers ?? null)
    return { at: next?.at ?? 0, claimed: [], nextDueAt: next?.nextDueAt ?? null }
  }
  const { window } = caller
  const { backMs } = window
  const from = performance.now()
  const rows = await caller.send('claim', () => caller.clock.timed(() => take(caller, request, backMs)))
  const runs = rows.filter(isClaimed)
  const tookMs = performance.now() - from
  if (runs.length > 0) caller.hints.emit({ kind: 'changed' })
  const cold = runs.filter(({ id, epoch }) => request.hot?.get(id) !== epoch - 1)
  const loaded = cold.length === 0 ? new Map<string, LoadedRun>() : await load(caller, cold)
  const claimed = runs.map((row): Claimed => {
    return { run: toRunRecord(row), previousEpoch: row.epoch - 1, loaded: loaded.get(row.id) ?? null }
  })
  const receipt = { at: rows[0]?.at ?? 0, claimed, nextDueAt: rows[0]?.nextDueAt ?? null }
  if (request.runId === undefined) window.note(backMs, tookMs, receipt, rows[0]?.wasDueAt ?? null)
  return receipt
}

function take(caller: Caller, request: ClaimRequest, backMs: number | null): Promise<sql.ClaimRow[]> {
  const { limit, runId, evenIfNotDue = false, servers = null, preferMs = 0, suspects = MANY } = request
  const { processId, leaseMs, presence, claims } = caller
  const process = [processId, leaseMs, presence.lockKey, presence.lockedIn] as const
  const claimer = [...process, backMs, servers, preferMs, suspects, caller.suspects.from] as const
  return runId === undefined
    ? claims.query(sql.CLAIM_DUE, ...claimer, limit, MAX_BYTES)
    : claims.query(sql.CLAIM_RUN, ...claimer, runId, evenIfNotDue)
}

function isClaimed(row: sql.ClaimRow): row is RunRow & sql.NextDue {
  return row.id !== null
}

async function load(caller: Caller, runs: readonly RunRow[]): Promise<Map<string, LoadedRun>> {
  const loaded = new Map<string, LoadedRun>()
  for (const part of inParts(runs)) {
    const ids = part.map(({ id }) => id)
    for (const { id, input, journal, waits } of await caller.claims.query(sql.LOAD, ids, JOURNAL_PAGE)) {
      loaded.set(id, { input, journal: journal.map(toOutcomeRecord), waits: waits.map(toWaitRecord) })
    }
  }
  for (const { id, len } of runs) {
    // A step whose outcome were missing would run again (I2). Given back by the next beats, since nobody here has it.
    if (loaded.get(id)?.journal.length !== Math.min(len, JOURNAL_PAGE)) {
      throw new StoreError(
        'transient',
        `Expected ${len} outcomes of ${id}, but read another number. It is tried again.`,
      )
    }
  }
  return loaded
}

/** So that what comes with one answer is parsed in a few milliseconds. */
function inParts(runs: readonly RunRow[]): RunRow[][] {
  const parts: RunRow[][] = []
  let outcomes = Infinity
  for (const run of runs) {
    if (outcomes > JOURNAL_PAGE) {
      parts.push([])
      outcomes = 0
    }
    parts.at(-1)?.push(run)
    outcomes += Math.min(run.len, JOURNAL_PAGE)
  }
  return parts
}
