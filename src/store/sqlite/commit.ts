import { assertOnePartARun } from '../batch.ts'
import { leafOf } from '../leaf.ts'
import type { CommitReceipt, Conflict, NewRun, NewWait, Outcome, RunCommit, RunEnding, RunRecord } from '../store.ts'
import { isEnded } from '../store.ts'
import type { Database, Hint } from './database.ts'
import { ensureRegistered } from './liveness.ts'
import type { Caller } from './session.ts'
import * as sql from './sql/commit.ts'
import { READ_RUN } from './sql/read.ts'
import { type RunRow, toFlag, toRunRecord } from './sql/rows.ts'

export async function commit(caller: Caller, batch: readonly RunCommit[]): Promise<CommitReceipt> {
  if (batch.length === 0) return { at: caller.now(), accepted: new Map(), conflicts: new Map() }
  assertOnePartARun(batch)
  return caller.write('commit', (hint) => {
    const at = caller.now()
    const accepted = new Map<string, { readonly signalled: boolean }>()
    const conflicts = new Map<string, Conflict>()
    for (const part of batch) {
      const signalled = commitPart(caller, hint, at, part)
      if (signalled !== null) accepted.set(part.runId, { signalled })
      const conflict = signalled === null ? conflictOf(caller, part) : undefined
      if (conflict) conflicts.set(part.runId, conflict)
    }
    return { at, accepted, conflicts }
  })
}

/** Whether the run is signalled; null where the part is refused. */
function commitPart(caller: Caller, hint: Hint, at: number, part: RunCommit): boolean | null {
  const fence = caller.database.get(sql.READ_FENCE, part.runId)
  if (fence && isDuplicate(caller, fence, part)) return fence.signalled === 1
  if (part.create ? (fence ?? conflictOf(caller, part)) : !fence || !isHolder(caller, fence, part)) return null

  const run = fence?.n ?? create(caller, at, part.runId, part.epoch, part.create as NewRun) // null was refused
  writePart(caller, run, at, part)
  advance(caller, hint, run, at, part)
  return fence?.signalled === 1 && part.next.kind !== 'end'
}

/** Whose the idempotency key of a creation is, if it is somebody else's. */
function conflictOf({ database }: Caller, { runId, create }: RunCommit): Conflict | undefined {
  const owner = create?.idempotency ? database.get(sql.READ_KEY, create.idempotency.key) : undefined
  return owner && owner.runId !== runId ? { ...owner } : undefined
}

/** The very same part again: its answer was lost. Another process's first commit of the same run id is none. */
function isDuplicate({ processId }: Caller, fence: sql.Fence, part: RunCommit): boolean {
  const { commitBy, commitEpoch, commitSeq } = fence
  return commitBy === processId && commitEpoch === part.epoch && commitSeq !== null && part.seq <= commitSeq
}

/** I3. An ended run has no holder. */
function isHolder({ processId }: Caller, fence: sql.Fence, part: RunCommit): boolean {
  return fence.holder === processId && fence.epoch === part.epoch
}

function create(caller: Caller, at: number, id: string, epoch: number, run: NewRun): number {
  const { database, processId } = caller
  const { server, operationName, owner, version, timeoutMs, input } = run
  const beganAt = at - run.beganAgoMs
  const timeoutAt = timeoutMs === null ? null : beganAt + timeoutMs
  ensureRegistered(caller)
  const n = database.insert(
    sql.INSERT_RUN,
    id,
    epoch,
    processId,
    server,
    operationName,
    owner,
    version,
    beganAt,
    at,
    at,
    timeoutAt,
  )
  database.run(sql.INSERT_INPUT, n, input)
  if (run.idempotency) database.run(sql.INSERT_KEY, run.idempotency.key, n, run.idempotency.fingerprint)
  return n
}

function writePart({ database, processId }: Caller, run: number, at: number, part: RunCommit): void {
  const { outcomes, epoch, seq, suspicion, resumeFailures = null, note, next } = part
  const isCleared = outcomes.length > 0 || suspicion === 'cleared'
  for (const wait of part.opens) openWait(database, run, at, wait)
  for (const outcome of outcomes) appendOutcome(database, run, at, outcome)
  database.run(
    sql.RECORD_COMMIT,
    outcomes.length,
    toFlag(isCleared),
    toFlag(isCleared),
    toFlag(isCleared || suspicion === 'acquitted' || next.kind !== 'hold'),
    resumeFailures,
    toFlag(note !== undefined),
    note ?? null,
    at,
    processId,
    epoch,
    seq,
    run,
  )
}

function openWait(database: Database, run: number, at: number, wait: NewWait): void {
  const { key, kind, seq, event, match, forMs, agoMs = 0, attempts } = wait
  // A pattern that can't be read would break every later `send`.
  const leaf = match === null ? null : leafOf(JSON.parse(match))
  const until = forMs === null ? null : at + forMs
  database.run(
    sql.PUT_WAIT,
    run,
    key,
    kind,
    seq,
    event,
    match,
    leaf === null ? null : BigInt(leaf),
    attempts,
    at - agoMs,
    until,
  )
}

function appendOutcome(database: Database, run: number, at: number, outcome: Outcome): void {
  const { pos, key, kind, ok, body, calls, attempts, eventId, eventName, tookMs, ordering = null } = outcome
  database.run(
    sql.INSERT_OUTCOME,
    run,
    pos,
    key,
    kind,
    toFlag(ok),
    body,
    calls,
    attempts,
    eventId,
    eventName,
    tookMs,
    ordering,
    at,
  )
  database.run(sql.CLOSE_WAIT, run, key)
}

function advance({ database, processId }: Caller, hint: Hint, run: number, at: number, part: RunCommit): void {
  const { runId, next } = part
  switch (next.kind) {
    case 'hold':
      return hint({ kind: 'changed' })
    case 'park': {
      const wakeAt = next.wakeInMs === null ? null : at + next.wakeInMs
      const parked = database.get(sql.PARK, next.keeps ? processId : null, at, wakeAt, wakeAt, run)
      return hint({ kind: parked?.dueAt === null ? 'changed' : 'due' })
    }
    case 'end':
      finish(database, hint, run, runId, at, next.ending, 0)
  }
}

function finish(
  database: Database,
  hint: Hint,
  run: number,
  runId: string,
  at: number,
  { status, result }: RunEnding,
  raiseEpochBy: 0 | 1,
): RunRecord {
  database.run(sql.CLOSE_WAITS, run)
  database.run(sql.INSERT_RESULT, run, result)
  hint({ kind: 'ended', runId })
  const ended = database.get(sql.END, status, raiseEpochBy, at, at, run)
  return toRunRecord(ended as RunRow) // the caller has just seen it in this transaction
}

export function end(caller: Caller, runId: string, ending: RunEnding): Promise<RunRecord | null> {
  const { database } = caller
  return caller.write('end', (hint) => {
    const run = database.get(READ_RUN, runId)
    if (!run) return null
    if (isEnded(run.status)) return toRunRecord(run)
    return finish(database, hint, run.n, runId, caller.now(), ending, 1)
  })
}
