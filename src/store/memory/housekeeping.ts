import type { PruneReceipt } from '../store.ts'
import type { Database, Transaction } from './database.ts'
import { transact } from './database.ts'
import type { Caller } from './session.ts'

/** The same bounds as in the stores that need them, so that a caller's loop is exercised. */
const PRUNED_RUNS = 100
const PRUNED_EVENTS = 1_000

export function deleteRun(caller: Caller, runId: string): boolean {
  const { database } = caller
  if (!isDeletable(caller, runId, Infinity)) return false
  return transact(caller, 'delete', (tx) => {
    removeRuns(database, [runId], tx)
    tx.hint({ kind: 'changed' })
    return true
  })
}

export function prune(caller: Caller, olderThanMs: number): PruneReceipt {
  const { database } = caller
  const before = caller.now() - olderThanMs
  const runs = [...database.runs.keys()].filter((id) => isDeletable(caller, id, before))
  const events = [...database.events.all()].filter(({ acceptedAt }) => acceptedAt < before)
  if (runs.length === 0 && events.length === 0) return { runs: 0, events: 0, more: false }
  return transact(caller, 'prune', (tx) => {
    const prunedRuns = runs.slice(0, PRUNED_RUNS)
    const prunedEvents = events.slice(0, PRUNED_EVENTS)
    removeRuns(database, prunedRuns, tx)
    for (const event of prunedEvents) tx.onRollback(database.events.remove(event))
    return {
      runs: prunedRuns.length,
      events: prunedEvents.length,
      more: prunedRuns.length < runs.length || prunedEvents.length < events.length,
    }
  })
}

function isDeletable({ database }: Caller, runId: string, before: number): boolean {
  const endedAt = database.runs.get(runId)?.record.endedAt ?? null
  return endedAt !== null && endedAt < before
}

function removeRuns(database: Database, ids: readonly string[], tx: Transaction): void {
  const gone = new Set(ids)
  const keys = [...database.idempotency].flatMap(([key, { runId }]) => (gone.has(runId) ? [key] : []))
  remove(database.idempotency, keys, tx)
  remove(database.runs, ids, tx)
}

/** An undone removal restores the order too: it decides between equal instants. */
function remove<T>(map: Map<string, T>, keys: readonly string[], tx: Transaction): void {
  const standing = [...map]
  for (const key of keys) map.delete(key)
  tx.onRollback(() => {
    map.clear()
    for (const [key, entry] of standing) map.set(key, entry)
  })
}
