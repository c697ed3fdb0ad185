import { assertOnePartARun } from '../batch.ts'
import { leafOf } from '../leaf.ts'
import type {
  CommitReceipt,
  Conflict,
  NewRun,
  NewWait,
  NextState,
  RunCommit,
  RunEnding,
  RunRecord,
  RunStatus,
} from '../store.ts'
import type { Caller } from './session.ts'
import * as sql from './sql/commit.ts'
import { toRunRecord } from './sql/rows.ts'

/** A part whose run another transaction has just made is looked at in a new statement; once is enough by itself. */
const LOOKS = 3
/** Commits take milliseconds. */
const LOOK_AROUND_MS = 3_000

export async function commit(caller: Caller, batch: readonly RunCommit[]): Promise<CommitReceipt> {
  const accepted = new Map<string, { readonly signalled: boolean }>()
  const conflicts = new Map<string, Conflict>()
  if (batch.length === 0) return { at: await caller.time(), accepted, conflicts }
  assertOnePartARun(batch)
  caller.clock.see(batch)
  let at = 0
  let parts = batch
  for (let look = 0; look < LOOKS && parts.length > 0; look++) {
    const rows = await lookingAround(caller, () => writeParts(caller, parts))
    at = rows[0]?.at ?? at
    for (const { id, accepted: isAccepted, signalled, conflictId, fingerprint } of rows) {
      if (isAccepted) accepted.set(id, { signalled })
      else if (conflictId !== null && fingerprint !== null) conflicts.set(id, { runId: conflictId, fingerprint })
    }
    const unseen = new Set(rows.filter(({ seen }) => !seen).map(({ id }) => id))
    parts = parts.filter(({ runId, create }) => create !== null && unseen.has(runId))
  }
  hintAt(caller, batch, accepted)
  return { at, accepted, conflicts }
}

/** An old primary answers beats and reads, and never a commit that its standby, which has left it, would have to confirm. */
async function lookingAround<T>({ destination }: Caller, write: () => Promise<T>): Promise<T> {
  const timer = setInterval(() => void destination.look().catch(() => {}), LOOK_AROUND_MS)
  try {
    return await write()
  } finally {
    clearInterval(timer)
  }
}

function writeParts(caller: Caller, parts: readonly RunCommit[]): Promise<sql.CommitRow[]> {
  const { processId, leaseMs, presence, clock } = caller
  const outcomes = parts.flatMap(({ runId, outcomes: own }) => own.map((outcome) => ({ runId, ...outcome })))
  const opens = parts.flatMap((part) => opensOf(part).map((open) => ({ runId: part.runId, ...open })))
  const ofNew = <T>(value: (create: NewRun, part: RunCommit) => T): (T | null)[] =>
    parts.map((part) => (part.create === null ? null : value(part.create, part)))

  return caller.send('commit', () =>
    clock.timed(() =>
      caller.writer.query(
        sql.COMMIT,
        processId,
        leaseMs,
        presence.lockKey,
        presence.lockedIn,
        parts.map(({ runId }) => runId),
        parts.map(({ epoch }) => epoch),
        parts.map(({ seq }) => seq),
        parts.map(({ next }) => statusAfter(next)),
        parts.map(({ next }) => (next.kind === 'park' && next.wakeInMs !== null ? Math.ceil(next.wakeInMs) : null)),
        parts.map(({ next }) => (next.kind === 'end' ? next.ending.result : null)),
        parts.map((part) => part.outcomes.length),
        parts.map(bytesOf),
        parts.map(({ resumeFailures }) => resumeFailures ?? null),
        parts.map(({ note }) => note !== undefined),
        parts.map(({ note }) => note ?? null),
        parts.map(({ create }) => create !== null),
        ofNew(({ server }) => server),
        ofNew(({ operationName }) => operationName),
        ofNew(({ owner }) => owner),
        ofNew(({ version }) => version),
        ofNew(({ beganAgoMs }) => Math.round(beganAgoMs)),
        ofNew(({ beganAgoMs }, part) => clock.beganAt(part, beganAgoMs)),
        ofNew(({ timeoutMs }) => (timeoutMs === null ? null : Math.round(timeoutMs))),
        ofNew(({ input }) => input),
        outcomes.map(({ runId }) => runId),
        outcomes.map(({ pos }) => pos),
        outcomes.map(({ key }) => key),
        outcomes.map(({ kind }) => kind),
        outcomes.map(({ ok }) => ok),
        outcomes.map(({ body }) => body),
        outcomes.map(({ calls }) => calls),
        outcomes.map(({ attempts }) => attempts),
        outcomes.map(({ eventId }) => eventId),
        outcomes.map(({ tookMs }) => Math.round(tookMs)),
        opens.map(({ runId }) => runId),
        opens.map(({ key }) => key),
        opens.map(({ kind }) => kind),
        opens.map(({ seq }) => seq),
        opens.map(({ event }) => event),
        opens.map(({ match }) => match),
        opens.map(({ match }) => (match === null ? null : leafOf(JSON.parse(match)))),
        opens.map(({ attempts }) => attempts),
        opens.map(({ forMs }) => (forMs === null ? null : Math.ceil(forMs))),
        ofNew(({ idempotency }) => idempotency?.key ?? null),
        ofNew(({ idempotency }) => idempotency?.fingerprint ?? null),
        parts.map(({ next }) => next.kind === 'park' && next.keeps === true),
        parts.map(({ suspicion }) => suspicion ?? null),
        outcomes.map(({ ordering }) => ordering ?? null),
        opens.map(({ agoMs = 0 }) => Math.round(agoMs)),
        outcomes.map(({ eventName }) => eventName),
      ),
    ),
  )
}

function statusAfter(next: NextState): RunStatus {
  if (next.kind === 'end') return next.ending.status
  return next.kind === 'park' ? 'suspended' : 'running'
}

/** What a claim will have to load for it, about. */
function bytesOf({ create, outcomes }: RunCommit): number {
  return outcomes.reduce((sum, { body }) => sum + body.length, create?.input.length ?? 0)
}

/**
 * What is open when the part is through: the statement sees each row as it was before, and so may touch a wait once
 * only. A wait that is opened twice is the later one.
 */
function opensOf({ opens, outcomes, next }: RunCommit): NewWait[] {
  if (next.kind === 'end') return []
  const open = new Map(opens.map((wait) => [wait.key, wait]))
  for (const { key } of outcomes) open.delete(key)
  return [...open.values()]
}

function hintAt({ hints }: Caller, batch: readonly RunCommit[], accepted: ReadonlyMap<string, unknown>): void {
  for (const { runId, next } of batch) {
    if (!accepted.has(runId)) continue
    if (next.kind === 'end') hints.emit({ kind: 'ended', runId })
    else if (next.kind === 'park' && next.wakeInMs !== null) hints.emit({ kind: 'due' })
    else hints.emit({ kind: 'changed' })
  }
}

/**
 * From outside, and so rarely that it may take a transaction: what the holder was about to commit, the lock waits for,
 * and only a statement that begins after that sees all of the run's waits.
 */
export async function end(caller: Caller, runId: string, { status, result }: RunEnding): Promise<RunRecord | null> {
  const ended = await caller.send('end', () =>
    caller.general.transaction(async (connection) => {
      const [run] = await connection.query(sql.LOCK_RUN, runId)
      if (!run || run.ended) return null
      return (await connection.query(sql.END, runId, status, result))[0] ?? null
    }),
  )
  if (ended) {
    caller.hints.emit({ kind: 'ended', runId })
    return toRunRecord(ended)
  }
  const [row] = await caller.general.query(sql.READ_RUN, runId)
  return row ? toRunRecord(row) : null
}
