import type { StoreHint } from './store.ts'

type Listener = (hint: StoreHint) => void

/** Carries hints among the sessions of one store object, from whichever wrote to all that watch. */
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
