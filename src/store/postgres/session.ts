import { callHook } from '../commit-hook.ts'
import type { ConnectOptions, SuspectPolicy } from '../store.ts'
import { NO_SUSPECTS, StoreError } from '../store.ts'
import { claim } from './claim.ts'
import { ClaimWindow } from './claim-window.ts'
import { commit, end } from './commit.ts'
import { findEvents, send } from './events.ts'
import { Hints } from './hints.ts'
import type { Destination } from './hosts.ts'
import { deleteRun, prune, secret } from './housekeeping.ts'
import { InFlight } from '../in-flight.ts'
import { Lane } from './lane.ts'
import { beat, Contact, goodForMs, reap, register, unregister } from './liveness.ts'
import { migrate } from './open.ts'
import { Presence } from './presence.ts'
import { list, peek, read } from './read.ts'
import { ServerClock } from './server-clock.ts'
import { Silence } from './silence.ts'
import { NOTIFY } from './sql/liveness.ts'
import { CONFIGURE, THE_TIME } from './sql/schema.ts'
import type { PostgresSession } from './store.ts'

export interface SessionOptions extends ConnectOptions {
  readonly destination: Destination
  readonly schema: string
  readonly connections: number
  readonly ownsConnections: boolean
  readonly warn: (message: string) => void
  readonly onCommit: ((phase: 'before' | 'after', what: string) => void) | undefined
}

/** Who calls: one session, which is one process to the others. */
export interface Caller {
  readonly processId: string
  readonly leaseMs: number
  readonly suspects: SuspectPolicy
  readonly ownsConnections: boolean
  /** Batches, one after the other. */
  readonly writer: Lane
  readonly claims: Lane
  /** Everything else. */
  readonly general: Lane
  /** Has a connection of its own too. */
  readonly presence: Presence
  readonly contact: Contact
  readonly silence: Silence
  readonly destination: Destination
  readonly clock: ServerClock
  /** How far back claims look. */
  readonly window: ClaimWindow
  readonly hints: Hints
  warn(message: string): void
  /** The server's time. */
  time(): Promise<number>
  /** One statement or transaction that writes; `what` names it to the commit hook. */
  send<T>(what: string, write: () => Promise<T>): Promise<T>
  isTimeForOrphans(): boolean
}

/**
 * Open, until `close` or `crash`. Closing: what is under way is waited for, and every new call is refused, as it is when
 * closed. Crashed: no call settles.
 */
type State = 'open' | 'closing' | 'closed' | 'crashed'

/** An answer that takes longer is given up; a beat must be answered well within the lease that it renews. */
const TIMEOUT_MS = 30_000
/** What is under way has been waited for by then, and what is left takes milliseconds. */
const LEAVE_MS = 3_000

export async function openSession(options: SessionOptions): Promise<PostgresSession> {
  const { destination, schema, processId, leaseMs, ownsConnections, connections, onCommit } = options
  const { suspects = NO_SUSPECTS, warn } = options
  const laneOf = (name: string, size: number): Lane =>
    new Lane({
      name,
      destination,
      schema,
      size,
      timeoutMs: TIMEOUT_MS,
      configure: ownsConnections ? CONFIGURE : null,
      prepares: ownsConnections,
    })
  const hints = new Hints({ notify: (payloads) => presence.lane.query(NOTIFY, presence.channel, payloads) })
  const contact = new Contact()
  const presence = new Presence({
    destination,
    schema,
    processId,
    timeoutMs: Math.min(TIMEOUT_MS, Math.max(1_000, leaseMs / 2)),
    ownsConnections,
    onNotification: (payload) => hints.receive(payload),
    onReconnected() {
      hints.deliver({ kind: 'due' })
      hints.deliver({ kind: 'changed' })
    },
  })
  let orphansAt = performance.now() + leaseMs
  const caller: Caller = {
    processId,
    leaseMs,
    suspects,
    ownsConnections,
    writer: laneOf('writer', 1),
    claims: laneOf('claims', 1),
    general: laneOf('general', connections),
    presence,
    contact,
    silence: new Silence({
      toleratedMs: ownsConnections ? goodForMs(leaseMs) : leaseMs,
      onSilence() {
        destination.doubt()
        for (const lane of [...lanes, presence.lane]) lane.cut()
      },
    }),
    destination,
    clock: new ServerClock(),
    window: new ClaimWindow(),
    hints,
    warn,
    time: async () => (await caller.general.query(THE_TIME))[0]?.at ?? 0,
    async send(what, write) {
      callHook(onCommit, 'before', what)
      const value = await write()
      callHook(onCommit, 'after', what)
      return value
    },
    isTimeForOrphans() {
      const now = performance.now()
      if (now < orphansAt) return false
      orphansAt = now + leaseMs
      return true
    },
  }
  const lanes = [caller.writer, caller.claims, caller.general]
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
      if (!isCrashed()) throw asStoreError(error)
    }
    return new Promise<never>(() => {})
  }

  function isCrashed(): boolean {
    return state === 'crashed' // a function, because awaiting is what changes it
  }

  async function takeLeave(): Promise<void> {
    await inFlight.settled()
    if (!isCrashed()) await unregister(caller)
    await hints.flush()
  }

  /** Whoever closes has to be gone soon, whether the server answers or not. */
  async function inTime(leave: Promise<void>): Promise<void> {
    const { promise: isOver, reject } = Promise.withResolvers<never>()
    const timer = setTimeout(() => {
      reject(new StoreError('transient', `postgresStore expected an answer within ${LEAVE_MS} ms of its closing.`))
      for (const lane of lanes) lane.destroy()
      presence.abandon()
    }, LEAVE_MS)
    await Promise.race([leave, isOver]).finally(() => clearTimeout(timer))
  }

  async function closeConnections(): Promise<void> {
    hints.close()
    await Promise.all([presence.close(), ...lanes.map((lane) => lane.end())])
  }

  try {
    await migrate(caller.general, schema)
    await register(caller)
    if (!ownsConnections) hints.poll()
  } catch (error) {
    await closeConnections()
    throw asStoreError(error)
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
    watch: (listener) => (state === 'open' ? hints.watch(listener) : () => {}),
    async close() {
      if (state !== 'open') return
      state = 'closing'
      try {
        await inTime(takeLeave())
      } catch (error) {
        throw asStoreError(error)
      } finally {
        // Where it could not be unregistered, the others find its lock gone.
        if (!isCrashed()) state = 'closed'
        await closeConnections()
      }
    },
    crash() {
      state = 'crashed'
      hints.close()
      presence.abandon()
      for (const lane of lanes) lane.destroy()
    },
  }
}

/** Values come from the caller: what JSON.parse and the like can't take, no retry mends. */
function asStoreError(error: unknown): StoreError {
  if (error instanceof StoreError) return error
  return new StoreError('rejected', `The store could not take a value: ${String(error)}`, { cause: error })
}
