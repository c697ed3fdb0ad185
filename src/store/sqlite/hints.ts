import type { StoreHint } from '../store.ts'
import type { Database } from './database.ts'
import { DATA_VERSION } from './sql/schema.ts'

type Listener = (hint: StoreHint) => void

/** Reading SQLite's data version costs 3.3 µs, so that 50 looks a second are not felt. */
const POLL_MS = 20

/** Carries hints among the sessions of one store object. */
export interface Hints {
  watch(sessionId: string, listener: Listener): () => void
  /** Delivers later, in a microtask of its own: nobody is called back from inside a transaction. */
  emit(hints: readonly StoreHint[], by: string): void
}

export function createHints(): Hints {
  const watchers = new Set<{ readonly sessionId: string; readonly listener: Listener }>()

  function deliver(hints: Iterable<StoreHint>, by: string): void {
    for (const hint of hints) {
      for (const { sessionId, listener } of watchers) {
        // "Another process wrote" is no news to the one that did.
        if (hint.kind !== 'changed' || sessionId !== by) listener(hint)
      }
    }
  }

  return {
    watch(sessionId, listener) {
      const watcher = { sessionId, listener }
      watchers.add(watcher)
      return () => void watchers.delete(watcher)
    },
    emit(hints, by) {
      if (hints.length === 0 || watchers.size === 0) return
      // A batch of a hundred runs says a hundred times the same.
      const distinct = new Map(hints.map((hint) => ['runId' in hint ? hint.kind + hint.runId : hint.kind, hint]))
      queueMicrotask(() => deliver(distinct.values(), by))
    },
  }
}

/** Calls back when another connection, of whatever process, has written. Keeps no process alive by itself. */
export function pollOtherProcesses(database: Database, changed: () => void): () => void {
  let seen = dataVersion(database)
  const timer = setInterval(() => {
    const now = dataVersion(database)
    if (now !== seen) changed()
    seen = now
  }, POLL_MS)
  timer.unref()
  return () => clearInterval(timer)
}

/** Null where it can't be read for the moment: a hint may come late, and the next call of a method tells the error. */
function dataVersion(database: Database): number | null {
  try {
    return database.get(DATA_VERSION)?.data_version ?? null
  } catch {
    return null
  }
}
