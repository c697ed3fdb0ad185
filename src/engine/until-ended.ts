import { DurableError } from '../core/errors.ts'
import { setUpkeep, UPKEEP } from '../core/clock.ts'
import type { Clock, Timer } from '../core/clock.ts'
import { isEnded } from '../store/store.ts'
import type { PeekReceipt, RunView } from '../store/store.ts'
import type { EngineOptions } from './options.ts'
import { nextTurn, onceDrained, outsideOfRequests } from './scheduler.ts'
import type { StoreAccess } from './store-access.ts'

/** Hints may be lost: whatever is waited for is looked at this often, all of it at once. */
const POLL_MS = 1000
/** Runs that one look asks the store about: SQLite answers for 1,000 in about a millisecond. */
const MAX_LOOK = 1000
/** Another process that writes all the time must not make this one look all the time: so long for each run, and this. */
const PAUSE_MS_PER_RUN = 0.1
const MIN_PAUSE_MS = 20
/** Waiters that are answered in one turn of the event loop: each is a response that is made. */
const AT_ONCE = 50

/** A crowd at the door is said once in so long. */
const WARN_AGAIN_MS = 60_000

/** How a wait came out: the run as it ended, null where there is no such run, or 'open': the time for it was over. */
export type Seen = RunView | null | 'open'

export interface UntilEndedOptions {
  /** Infinity: as long as it takes. 0: one look, which carries the run on if it is due. */
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
}

/** Where they wait: the engine implements it. */
interface Waiting {
  readonly clock: Clock
  readonly options: EngineOptions
  readonly store: StoreAccess
  /** Nobody waits any longer. */
  readonly closing: boolean
  carryOnIfDue(runId: string): Promise<void>
}

interface Waiter {
  /** Somebody has looked at the run since this waiter came, and has carried it on if that was due. */
  isLookedFor: boolean
  /** Its time is over. */
  isOver: boolean
  readonly settle: (seen: Seen) => void
  readonly fail: (error: unknown) => void
}

/**
 * Everybody in this process who waits for the end of a run. However many wait for one run, they cost what one does: a
 * change of a run is looked at once for all of its waiters, a run that is due is carried on once, and all runs together
 * are polled by one timer and one look.
 */
export class Waiters {
  readonly #engine: Waiting
  readonly #waiters = new Map<string, Set<Waiter>>()
  readonly #toLookAt = new Set<string>()
  readonly #carrying = new Map<string, Promise<void>>()
  #looking = false
  #waiting = 0
  /** Those who wait, and those whose answer is being made. */
  #present = 0
  #poll: Timer | null = null
  #soon: Timer | null = null
  #lookedAroundAt = -Infinity
  #warnedAt = -Infinity

  constructor(engine: Waiting) {
    this.#engine = engine
  }

  /** Nobody waits, and nobody is being answered. */
  get isEmpty(): boolean {
    return this.#present === 0
  }

  /**
   * Waits until the run has ended, the time is over, the signal is aborted or the process is closing, and gives what
   * `answer` makes of it; closing waits for that as well.
   *
   * @throws DurableError DURABLE_TOO_MANY_WAITERS, DURABLE_STORE_UNAVAILABLE
   */
  async until<T>(runId: string, options: UntilEndedOptions, answer: (seen: Seen) => T | Promise<T>): Promise<T> {
    this.#present++
    try {
      return await answer(await this.#until(runId, options))
    } finally {
      this.#present--
    }
  }

  async #until(runId: string, { timeoutMs, signal }: UntilEndedOptions): Promise<Seen> {
    const isWaiting = timeoutMs > 0
    if (isWaiting) this.#assertRoom()
    const { promise, resolve, reject } = Promise.withResolvers<Seen>()
    const isOver = !isWaiting || signal?.aborted === true || this.#engine.closing
    const waiter: Waiter = { isLookedFor: false, isOver, settle: resolve, fail: reject }
    const giveUp = (): void => onOver(waiter)
    this.#add(runId, waiter)
    const timer = isWaiting && timeoutMs !== Infinity ? this.#engine.clock.setTimeout(giveUp, timeoutMs) : null
    signal?.addEventListener('abort', giveUp, { once: true })
    if (isWaiting) this.#waiting++
    try {
      return await promise
    } finally {
      if (isWaiting) this.#waiting--
      timer?.cancel()
      signal?.removeEventListener('abort', giveUp)
      this.#remove(runId, waiter)
    }
  }

  /** The run has changed: it is looked at, if anybody waits for it. */
  onChanged(runId: string): void {
    if (this.#waiters.has(runId)) this.#look(runId)
  }

  /** Any run may have changed: what is waited for is looked at, not more often than makes sense. */
  onAnyChanged(): void {
    if (this.#waiters.size === 0 || this.#soon) return
    const pauseMs = Math.max(MIN_PAUSE_MS, this.#waiters.size * PAUSE_MS_PER_RUN)
    const inMs = this.#lookedAroundAt + pauseMs - this.#engine.clock.now()
    if (inMs <= 0) return this.#lookAround()
    this.#soon = this.#setTimeout(() => {
      this.#soon = null
      this.#lookAround()
    }, inMs)
  }

  /** The process is being closed: whoever waits is answered with the run as it is. */
  close(): void {
    for (const waiters of this.#waiters.values()) for (const waiter of waiters) waiter.settle('open')
  }

  #assertRoom(): void {
    const { options, clock } = this.#engine
    const { maxWaiters } = options
    if (this.#waiting < maxWaiters) return
    if (clock.now() >= this.#warnedAt + WARN_AGAIN_MS) {
      this.#warnedAt = clock.now()
      options.warn('So many clients wait for runs that no more are let in (limits.waiters).', { maxWaiters })
    }
    throw new DurableError(
      'DURABLE_TOO_MANY_WAITERS',
      `Expected at most limits.waiters (${maxWaiters}) to wait for runs at a time. The run goes on: ask again later, or without waiting.`,
      { extensions: { http: { status: 503, headers: { 'retry-after': '1' } } } },
    )
  }

  #add(runId: string, waiter: Waiter): void {
    const waiters = this.#waiters.get(runId) ?? new Set()
    this.#waiters.set(runId, waiters.add(waiter))
    this.#look(runId)
    this.#poll ??= this.#pollLater()
  }

  #remove(runId: string, waiter: Waiter): void {
    const waiters = this.#waiters.get(runId)
    if (!waiters?.delete(waiter) || waiters.size > 0) return
    this.#waiters.delete(runId)
    this.#toLookAt.delete(runId)
    this.#stopIfIdle()
  }

  #stopIfIdle(): void {
    if (this.#waiters.size > 0) return
    this.#poll?.cancel()
    this.#soon?.cancel()
    this.#poll = null
    this.#soon = null
  }

  #lookAround(): void {
    this.#lookedAroundAt = this.#engine.clock.now()
    for (const runId of this.#waiters.keys()) this.#look(runId)
    this.#poll?.cancel()
    this.#poll = this.#pollLater()
  }

  #pollLater(): Timer {
    const poll = (): void => {
      this.#poll = null
      this.#lookAround()
    }
    return outsideOfRequests(() => setUpkeep(this.#engine.clock, poll, POLL_MS, UPKEEP.poll))
  }

  #setTimeout(callback: () => void, ms: number): Timer {
    return outsideOfRequests(() => this.#engine.clock.setTimeout(callback, ms))
  }

  #look(runId: string): void {
    this.#toLookAt.add(runId)
    if (this.#looking) return
    this.#looking = true
    onceDrained(() => void this.#lookAtAll())
  }

  async #lookAtAll(): Promise<void> {
    while (this.#toLookAt.size > 0) {
      const runIds = [...this.#toLookAt].slice(0, MAX_LOOK)
      for (const runId of runIds) this.#toLookAt.delete(runId)
      await this.#lookAt(runIds)
      if (this.#toLookAt.size > 0) await nextTurn()
    }
    this.#looking = false
  }

  async #lookAt(runIds: readonly string[]): Promise<void> {
    // Those who come while the store is asked may have missed something: they are looked for once more.
    const waiters = new Map(runIds.map((runId) => [runId, [...(this.#waiters.get(runId) ?? [])]]))
    let peeked: PeekReceipt
    try {
      peeked = await this.#engine.store.read(async (session) => {
        // Without a worker nobody else looks for runs whose process has died.
        if (!this.#engine.options.worker) await session.reap()
        return session.peek(runIds)
      })
    } catch (error) {
      for (const each of waiters.values()) for (const waiter of each) waiter.fail(error)
      return
    }
    const found = new Map(peeked.runs.map((run) => [run.id, run]))
    for (const [runId, each] of waiters) {
      const run = found.get(runId)
      if (!run) for (const waiter of each) waiter.settle(null)
      else if (isEnded(run.status)) void this.#onEnded(runId)
      else void this.#onOpen(runId, each, run.dueAt !== null && run.dueAt <= peeked.at)
    }
  }

  /** One read for all of them. */
  async #onEnded(runId: string): Promise<void> {
    const waiters = [...(this.#waiters.get(runId) ?? [])]
    this.#waiters.delete(runId)
    this.#stopIfIdle()
    try {
      const view = await this.#engine.store.read((session) => session.read(runId))
      for (const [at, waiter] of waiters.entries()) {
        if (at > 0 && at % AT_ONCE === 0) await nextTurn()
        waiter.settle(view)
      }
    } catch (error) {
      for (const waiter of waiters) waiter.fail(error)
    }
  }

  async #onOpen(runId: string, waiters: readonly Waiter[], isDue: boolean): Promise<void> {
    if (isDue) await this.#carryOn(runId)
    for (const waiter of waiters) {
      waiter.isLookedFor = true
      if (waiter.isOver) waiter.settle('open')
    }
  }

  #carryOn(runId: string): Promise<void> {
    const carrying =
      this.#carrying.get(runId) ?? this.#engine.carryOnIfDue(runId).finally(() => this.#carrying.delete(runId))
    this.#carrying.set(runId, carrying)
    return carrying
  }
}

function onOver(waiter: Waiter): void {
  waiter.isOver = true
  if (waiter.isLookedFor) waiter.settle('open')
}
