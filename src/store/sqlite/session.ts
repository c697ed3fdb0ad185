import type { ConnectOptions, StoreHint, SuspectPolicy } from '../store.ts'
import { NO_SUSPECTS, StoreError } from '../store.ts'
import { claim } from './claim.ts'
import { commit, end } from './commit.ts'
import type { Database, Hint } from './database.ts'
import { findEvents, send } from './events.ts'
import type { Hints } from '../hints.ts'
import { InFlight } from '../in-flight.ts'
import { pollOtherProcesses } from './hints.ts'
import { deleteRun, prune, secret } from './housekeeping.ts'
import { beat, reap, register, unregister } from './liveness.ts'
import { IN_MEMORY } from './open.ts'
import { leasePresence, lockFilePresence, type Presence } from './presence.ts'
import { list, peek, read } from './read.ts'
import type { SqliteSession } from './store.ts'

export interface SessionOptions extends ConnectOptions {
  readonly database: Database
  readonly hints: Hints
  readonly warn: (message: string) => void
}

/** Who calls: one session, which is one process to the others. */
export interface Caller {
  readonly database: Database
  readonly presence: Presence
  readonly processId: string
  readonly leaseMs: number
  readonly suspects: SuspectPolicy
  warn(message: string): void
  now(): number
  /** One transaction, after which whoever watches is told. */
  write<T>(what: string, body: (hint: Hint) => T): Promise<T>
}

/**
 * Open, until `close` or `crash`. Closing: what is under way is waited for, and every new call is refused, as it is when
 * closed. Crashed: no call settles.
 */
type State = 'open' | 'closing' | 'closed' | 'crashed'

export async function openSession(options: SessionOptions): Promise<SqliteSession> {
  const { database, hints, processId, leaseMs, clock, warn, suspects = NO_SUSPECTS } = options
  const ownsDatabase = database.path !== IN_MEMORY
  const presence = ownsDatabase ? lockFilePresence(database.path, processId) : leasePresence()
  const publish = (published: readonly StoreHint[]): void => hints.emit(published, processId)
  const caller: Caller = {
    database,
    presence,
    processId,
    leaseMs,
    suspects,
    warn,
    now: () => clock.now(),
    write: (what, body) => database.write(what, publish, body),
  }
  const unwatches = new Set<() => void>()
  const inFlight = new InFlight()
  let state: State = 'open'

  async function call<T>(transition: () => Promise<T>): Promise<T> {
    if (state === 'closed' || state === 'closing') {
      throw new StoreError('broken', `Expected an open store session, but "${processId}" was closed. Connect again.`)
    }
    try {
      if (state === 'open') {
        const value = await inFlight.track(transition())
        if (!isCrashed()) return value
      }
    } catch (error) {
      if (!isCrashed()) throw error
    }
    return new Promise<never>(() => {})
  }

  function isCrashed(): boolean {
    return state === 'crashed' // a function, because awaiting is what changes it
  }

  function leave(next: State): void {
    state = next
    for (const unwatch of unwatches) unwatch()
    unwatches.clear()
    if (ownsDatabase) database.close()
  }

  try {
    await register(caller)
  } catch (error) {
    presence.hide()
    leave('closed')
    throw error
  }
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
    secret: () => call(() => secret(caller)),
    watch(listener) {
      if (state !== 'open') return () => {}
      const unwatchSessions = hints.watch(processId, listener)
      const stopPolling = ownsDatabase ? pollOtherProcesses(database, () => listener({ kind: 'changed' })) : () => {}
      const unwatch = (): void => {
        unwatches.delete(unwatch)
        unwatchSessions()
        stopPolling()
      }
      unwatches.add(unwatch)
      return unwatch
    },
    async close() {
      if (state !== 'open') return
      state = 'closing'
      try {
        await inFlight.settled()
        if (isCrashed()) return
        await unregister(caller)
        presence.hide()
      } finally {
        // Where it could not be unregistered, the others find its lock gone.
        presence.abandon()
        if (!isCrashed()) leave('closed')
      }
    },
    crash() {
      presence.abandon()
      leave('crashed')
    },
  }
}
