import type { ConnectOptions, SuspectPolicy } from '../store.ts'
import { NO_SUSPECTS, StoreError } from '../store.ts'
import { claim } from './claim.ts'
import { commit, end } from './commit.ts'
import type { Database } from './database.ts'
import { findEvents, send } from './events.ts'
import { deleteRun, prune } from './housekeeping.ts'
import { beat, reap, register, unregister } from './liveness.ts'
import { list, peek, read } from './read.ts'
import type { MemorySession } from './store.ts'

/** Who calls: one session of the database, which plays one process. */
export interface Caller {
  readonly database: Database
  readonly processId: string
  readonly leaseMs: number
  readonly suspects: SuspectPolicy
  now(): number
  /** The commit hook may have played a kill: what is under way then is never committed. */
  assertNotCrashed(): void
}

/** Open, until `close` or `crash`. Closed: every call is refused. Crashed: no call settles. */
type State = 'open' | 'closed' | 'crashed'

export function openSession(database: Database, options: ConnectOptions): MemorySession {
  const { processId, leaseMs, clock, suspects = NO_SUSPECTS } = options
  const caller: Caller = {
    database,
    processId,
    leaseMs,
    suspects,
    now: () => clock.now(),
    assertNotCrashed() {
      if (isCrashed()) throw new StoreError('broken', `"${processId}" has crashed.`)
    },
  }
  const unwatches = new Set<() => void>()
  let state: State = 'open'

  function leave(next: State): void {
    state = next
    for (const unwatch of unwatches) unwatch()
    unwatches.clear()
  }

  function isCrashed(): boolean {
    return state === 'crashed'
  }

  async function call<T>(transition: () => T): Promise<T> {
    if (state === 'closed') {
      throw new StoreError('broken', `Expected an open store session, but "${processId}" was closed. Connect again.`)
    }
    try {
      if (state === 'open') {
        const value = transition()
        if (!isCrashed()) return value
      }
    } catch (error) {
      if (isCrashed()) return new Promise<never>(() => {})
      if (error instanceof StoreError) throw error
      // Values come from the caller; JSON.parse and the like throw what no retry can mend.
      throw new StoreError('rejected', `The store could not take a value: ${String(error)}`, { cause: error })
    }
    return new Promise<never>(() => {})
  }

  register(caller)
  return {
    commit: (batch) => call(() => commit(caller, batch)),
    claim: (request) => call(() => claim(caller, request)),
    end: (runId, ending) => call(() => end(caller, runId, ending)),
    send: (events) => call(() => send(caller, events)),
    findEvents: (queries) => call(() => findEvents(caller, queries)),
    beat: () => call(() => beat(caller)),
    reap: () => call(() => reap(caller)),
    read: (runId, parts) => call(() => read(caller, runId, parts)),
    peek: (runIds) => call(() => peek(caller, runIds)),
    list: (query) => call(() => list(caller, query)),
    delete: (runId) => call(() => deleteRun(caller, runId)),
    prune: (olderThanMs) => call(() => prune(caller, olderThanMs)),
    secret: () => call(() => database.secret),
    watch(listener) {
      if (state !== 'open') return () => {}
      const unwatch = database.hints.watch(processId, listener)
      unwatches.add(unwatch)
      return () => {
        unwatches.delete(unwatch)
        unwatch()
      }
    },
    async close() {
      if (state !== 'open') return
      try {
        await call(() => unregister(caller))
      } finally {
        leave('closed')
      }
    },
    crash: () => leave('crashed'),
  }
}
