import type { BeatReceipt } from '../store.ts'
import { StoreError } from '../store.ts'
import { judgeDeath, withoutVerdict } from '../suspicion.ts'
import type { ProcessEntry, RunEntry, Transaction } from './database.ts'
import { transact, update } from './database.ts'
import type { Caller } from './session.ts'

/*
 * A process is registered from `connect` to `close`, and alive while its last beat is no older than its lease. Who is
 * not is found by `reap`, which gives its runs back and strikes it off. One that was struck off and lives after all
 * comes back with its next beat, claim or new run; what it held is not its any more (I3).
 */

export function register(caller: Caller): void {
  const standing = caller.database.processes.get(caller.processId)
  if (standing && !isDead(standing, caller.now())) {
    throw new StoreError(
      'broken',
      `Expected a processId of its own for each life of a process, but "${caller.processId}" is connected already.`,
    )
  }
  transact(caller, 'connect', (tx) => {
    // An earlier life under the same id: what it held must not pass for this one's.
    releaseRuns(caller, tx, caller.processId, 1)
    setProcess(caller, tx)
  })
}

export function unregister(caller: Caller): void {
  const { processId } = caller
  transact(caller, 'close', (tx) => {
    releaseRuns(caller, tx, processId, 0)
    strikeOff(caller, tx, processId)
  })
}

export function ensureRegistered(caller: Caller, tx: Transaction): void {
  if (!caller.database.processes.has(caller.processId)) setProcess(caller, tx)
}

export function beat(caller: Caller): BeatReceipt {
  const at = caller.now()
  transact(caller, 'beat', (tx) => setProcess(caller, tx))
  const held = heldBy(caller, caller.processId).map(({ record }) => record)
  return {
    at,
    goodForMs: caller.leaseMs,
    held: held.map(({ id, epoch, signalled }) => ({ runId: id, epoch, signalled })),
  }
}

export function reap(caller: Caller): number {
  const { database, processId } = caller
  const at = caller.now()
  const dead = [...database.processes.values()].filter((process) => process.id !== processId && isDead(process, at))
  if (dead.length === 0) return 0
  return transact(caller, 'reap', (tx) => {
    let released = 0
    for (const { id } of dead) {
      released += releaseRuns(caller, tx, id, 1)
      strikeOff(caller, tx, id)
    }
    return released
  })
}

function isDead({ beatAt, leaseMs }: ProcessEntry, at: number): boolean {
  return at - beatAt > leaseMs
}

function heldBy({ database }: Caller, processId: string): RunEntry[] {
  return [...database.runs.values()].filter(({ record }) => record.holder === processId)
}

function releaseRuns(caller: Caller, tx: Transaction, processId: string, takeovers: 0 | 1): number {
  const at = caller.now()
  const entries = heldBy(caller, processId)
  const judged = judgeDeath(
    entries.map(({ record }) => record),
    caller.suspects,
  )
  for (const [index, entry] of entries.entries()) {
    const verdict = takeovers === 1 ? judged[index]?.verdict : null
    const { waitsMs, ...counts } = verdict ?? withoutVerdict(entry.record)
    tx.touch(entry)
    update(entry, at, { holder: null, status: 'suspended', dueAt: at + waitsMs, ...counts, onProbation: false })
  }
  if (entries.length > 0) tx.hint({ kind: 'due' })
  return entries.length
}

function setProcess({ database, processId, leaseMs, now }: Caller, tx: Transaction): void {
  const standing = database.processes.get(processId)
  database.processes.set(processId, { id: processId, leaseMs, beatAt: now() })
  tx.onRollback(() => (standing ? database.processes.set(processId, standing) : database.processes.delete(processId)))
}

function strikeOff({ database }: Caller, tx: Transaction, processId: string): void {
  const standing = database.processes.get(processId)
  if (!standing) return
  database.processes.delete(processId)
  tx.onRollback(() => database.processes.set(processId, standing))
}
