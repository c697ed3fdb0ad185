import { callHook } from '../commit-hook.ts'
import type { Conflict, JournalPart, OutcomeRecord, RunRecord, StoreHint, WaitRecord } from '../store.ts'
import type { Hints } from '../hints.ts'
import type { EventLog } from './event-log.ts'
import type { Caller } from './session.ts'

/** Everything the store keeps: what tables are to the other stores. */
export interface Database {
  /** By id, oldest first. */
  readonly runs: Map<string, RunEntry>
  readonly events: EventLog
  readonly processes: Map<string, ProcessEntry>
  /** Which run an idempotency key belongs to. */
  readonly idempotency: Map<string, Conflict>
  readonly secret: string
  readonly hints: Hints
  readonly onCommit: ((phase: 'before' | 'after', what: string) => void) | undefined
}

export interface RunEntry {
  /** Replaced, never changed: a record that a caller was given stays as it was. */
  record: RunRecord
  readonly input: string
  result: string | null
  /** By position. */
  readonly journal: Map<number, OutcomeRecord>
  /** Of the journal's entries. */
  readonly keys: Set<string>
  readonly waits: Map<string, WaitRecord>
  lastCommit: { readonly by: string; readonly epoch: number; readonly seq: number } | null
}

export interface ProcessEntry {
  readonly id: string
  readonly leaseMs: number
  readonly beatAt: number
}

export interface Transaction {
  /** To be called before a run's record, result or waits are changed. */
  touch(entry: RunEntry): void
  /** For what `touch` does not cover: new entries, and everything that is no run. */
  onRollback(undo: () => void): void
  /** Tells whoever watches, once this is committed. */
  hint(hint: StoreHint): void
}

/** Runs `body` as one transaction: what it changed is undone when it throws, or when the hook forbids the commit. */
export function transact<T>(caller: Caller, what: string, body: (tx: Transaction) => T): T {
  const { database, processId } = caller
  const undos: (() => void)[] = []
  const touched = new Set<RunEntry>()
  const hints: StoreHint[] = []
  const tx: Transaction = {
    touch(entry) {
      if (touched.has(entry)) return
      touched.add(entry)
      undos.push(restorer(entry))
    },
    onRollback: (undo) => undos.push(undo),
    hint: (hint) => hints.push(hint),
  }
  let value: T
  try {
    value = body(tx)
    callHook(database.onCommit, 'before', what)
    caller.assertNotCrashed()
  } catch (error) {
    for (const undo of undos.toReversed()) undo()
    throw error
  }
  database.hints.emit(hints, processId)
  callHook(database.onCommit, 'after', what)
  return value
}

function restorer(entry: RunEntry): () => void {
  const { record, result, lastCommit } = entry
  const waits = [...entry.waits]
  return () => {
    Object.assign(entry, { record, result, lastCommit })
    entry.waits.clear()
    for (const [key, wait] of waits) entry.waits.set(key, wait)
  }
}

/** Replaces some of a run's values; every transition counts as an update. */
export function update(entry: RunEntry, at: number, values: Partial<RunRecord>): void {
  entry.record = { ...entry.record, updatedAt: at, ...values }
}

export function journalOf(entry: RunEntry, part: JournalPart | true): OutcomeRecord[] {
  const { from, limit } = part === true ? { from: 0, limit: Infinity } : part
  const journal = [...entry.journal.values()].filter(({ pos }) => pos >= from)
  return journal.toSorted((one, other) => one.pos - other.pos).slice(0, limit)
}

export function waitsOf(entry: RunEntry): WaitRecord[] {
  return [...entry.waits.values()].toSorted((one, other) => one.seq - other.seq)
}
