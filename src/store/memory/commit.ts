import { assertOnePartARun } from '../batch.ts'
import type { CommitReceipt, Conflict, NewRun, NewWait, NextState, RunCommit, RunEnding, RunRecord } from '../store.ts'
import { isEnded, StoreError } from '../store.ts'
import type { RunEntry, Transaction } from './database.ts'
import { transact, update } from './database.ts'
import { ensureRegistered } from './liveness.ts'
import type { Caller } from './session.ts'

export function commit(caller: Caller, batch: readonly RunCommit[]): CommitReceipt {
  const at = caller.now()
  const accepted = new Map<string, { readonly signalled: boolean }>()
  const conflicts = new Map<string, Conflict>()
  if (batch.length === 0) return { at, accepted, conflicts }
  assertOnePartARun(batch)
  return transact(caller, 'commit', (tx) => {
    for (const part of batch) {
      const run = commitPart(caller, tx, at, part)
      if (run) accepted.set(part.runId, { signalled: run.signalled })
      const conflict = run ? null : conflictOf(caller, part)
      if (conflict) conflicts.set(part.runId, conflict)
    }
    return { at, accepted, conflicts }
  })
}

/** The run as it is afterwards; null where the part is refused. */
function commitPart(caller: Caller, tx: Transaction, at: number, part: RunCommit): RunRecord | null {
  const existing = caller.database.runs.get(part.runId)
  if (existing && isDuplicate(caller, existing, part)) return existing.record
  if (part.create ? (existing ?? conflictOf(caller, part)) : !existing || !isHolder(caller, existing, part)) return null

  const entry = existing ?? create(caller, tx, at, part.runId, part.epoch, part.create as NewRun) // null was refused
  tx.touch(entry)
  openWaits(entry, at, part.opens)
  appendOutcomes(entry, tx, at, part)
  entry.lastCommit = { by: caller.processId, epoch: part.epoch, seq: part.seq }
  update(entry, at, {
    len: entry.journal.size,
    ...((part.outcomes.length > 0 || part.suspicion === 'cleared') && { takeovers: 0, blamed: 0 }),
    ...((part.outcomes.length > 0 || part.suspicion || part.next.kind !== 'hold') && { onProbation: false }),
    ...(part.resumeFailures !== undefined && { resumeFailures: part.resumeFailures }),
    ...(part.note !== undefined && { note: part.note }),
  })
  advance(caller, entry, tx, at, part.next)
  return entry.record
}

/** Whose the idempotency key of a creation is, if it is somebody else's. */
function conflictOf({ database }: Caller, { runId, create }: RunCommit): Conflict | null {
  const owner = create?.idempotency ? database.idempotency.get(create.idempotency.key) : undefined
  return owner && owner.runId !== runId ? owner : null
}

/** The very same part again: its answer was lost. Another process's first commit of the same run id is none. */
function isDuplicate(caller: Caller, { lastCommit }: RunEntry, part: RunCommit): boolean {
  return lastCommit?.by === caller.processId && lastCommit.epoch === part.epoch && part.seq <= lastCommit.seq
}

/** I3. An ended run has no holder. */
function isHolder(caller: Caller, { record }: RunEntry, part: RunCommit): boolean {
  return record.holder === caller.processId && record.epoch === part.epoch
}

function create(caller: Caller, tx: Transaction, at: number, id: string, epoch: number, run: NewRun): RunEntry {
  const beganAt = at - run.beganAgoMs
  ensureRegistered(caller, tx)
  const entry: RunEntry = {
    record: {
      id,
      status: 'running',
      epoch,
      holder: caller.processId,
      len: 0,
      dueAt: null,
      signalled: false,
      keptBy: null,
      server: run.server,
      operationName: run.operationName,
      owner: run.owner,
      version: run.version,
      beganAt,
      createdAt: at,
      updatedAt: at,
      endedAt: null,
      timeoutAt: run.timeoutMs === null ? null : beganAt + run.timeoutMs,
      takeovers: 0,
      blamed: 0,
      onProbation: false,
      resumeFailures: 0,
      note: null,
    },
    input: run.input,
    result: null,
    journal: new Map(),
    keys: new Set(),
    waits: new Map(),
    lastCommit: null,
  }
  caller.database.runs.set(id, entry)
  tx.onRollback(() => caller.database.runs.delete(id))
  if (run.idempotency) {
    const { key, fingerprint } = run.idempotency
    caller.database.idempotency.set(key, { runId: id, fingerprint })
    tx.onRollback(() => caller.database.idempotency.delete(key))
  }
  return entry
}

function openWaits(entry: RunEntry, at: number, opens: readonly NewWait[]): void {
  for (const { forMs, agoMs = 0, ...wait } of opens) {
    if (wait.match !== null) JSON.parse(wait.match) // a pattern that can't be read would break every later `send`
    entry.waits.set(wait.key, { ...wait, since: at - agoMs, until: forMs === null ? null : at + forMs })
  }
}

function appendOutcomes(entry: RunEntry, tx: Transaction, at: number, { runId, outcomes }: RunCommit): void {
  for (const outcome of outcomes) {
    if (entry.journal.has(outcome.pos) || entry.keys.has(outcome.key)) {
      throw new StoreError(
        'rejected',
        `Expected a new entry of the journal of ${runId}, but position ${outcome.pos} or key "${outcome.key}" is taken.`,
      )
    }
    entry.journal.set(outcome.pos, { ...outcome, committedAt: at })
    entry.keys.add(outcome.key)
    tx.onRollback(() => {
      entry.journal.delete(outcome.pos)
      entry.keys.delete(outcome.key)
    })
    entry.waits.delete(outcome.key)
  }
}

function advance(caller: Caller, entry: RunEntry, tx: Transaction, at: number, next: NextState): void {
  switch (next.kind) {
    case 'hold':
      return tx.hint({ kind: 'changed' })
    case 'park': {
      const wakeAt = next.wakeInMs === null ? null : at + next.wakeInMs
      const dueAt = entry.record.signalled ? at : earliest(wakeAt, entry.record.timeoutAt)
      update(entry, at, { status: 'suspended', holder: null, dueAt, keptBy: next.keeps ? caller.processId : null })
      return tx.hint({ kind: dueAt === null ? 'changed' : 'due' })
    }
    case 'end':
      return finish(entry, tx, at, next.ending)
  }
}

function earliest(one: number | null, other: number | null): number | null {
  return one === null || other === null ? (one ?? other) : Math.min(one, other)
}

function finish(entry: RunEntry, tx: Transaction, at: number, ending: RunEnding): void {
  update(entry, at, { status: ending.status, holder: null, keptBy: null, dueAt: null, signalled: false, endedAt: at })
  entry.result = ending.result
  entry.waits.clear()
  tx.hint({ kind: 'ended', runId: entry.record.id })
}

export function end(caller: Caller, runId: string, ending: RunEnding): RunRecord | null {
  const entry = caller.database.runs.get(runId)
  if (!entry || isEnded(entry.record.status)) return entry?.record ?? null
  const at = caller.now()
  return transact(caller, 'end', (tx) => {
    tx.touch(entry)
    update(entry, at, { epoch: entry.record.epoch + 1 })
    finish(entry, tx, at, ending)
    return entry.record
  })
}
