import { backoffMs } from '../core/backoff.ts'
import { sleep } from '../core/clock.ts'
import type { Clock } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import type { Store, StoreSession } from '../store/store.ts'
import { StoreError } from '../store/store.ts'
import { unavailable } from './errors.ts'
import type { EngineOptions } from './options.ts'
import { SUSPECTS } from './takeovers.ts'
import { asStoreError, STALLED_MS } from './writer.ts'

/** How long a failing store is tried again, at the least. */
const MIN_PATIENCE_MS = 1_000
const FIRST_RETRY_MS = 10
const MAX_RETRY_MS = 1_000
/** However many reads there are at a time: one that has taken so long is not waited for any more. */
const MAX_READ_MS = 30_000
/** Whoever closes a store that is still being opened waits for that no longer. */
const CLOSING_MS = 3_000
/** What a timer of the platform takes. */
const MAX_TIMER_MS = 2 ** 31 - 1
/** Between attempts to open a store that cannot be reached. */
const OPEN_BACKOFF = { initialMs: 100, factor: 2, maxMs: 5_000, jitter: 'full' } as const
/** Where that takes more than time. */
const MEND_BACKOFF = { initialMs: 2_000, factor: 2, maxMs: 30_000, jitter: 'none' } as const

/** The engine's way to its store: opens it once, and is patient with it. */
export class StoreAccess {
  readonly #store: Store
  readonly #options: EngineOptions
  readonly #clock: Clock
  readonly #processId: string
  readonly #onOpened: (session: StoreSession) => void
  readonly #givenUp = Promise.withResolvers<void>()
  #session: StoreSession | null = null
  #opening: Promise<void> | null = null
  #isGivenUp = false
  #isClosed = false
  /** In real time. */
  #lastReadAt = -Infinity

  constructor(store: Store, options: EngineOptions, clock: Clock, onOpened: (session: StoreSession) => void) {
    this.#store = store
    this.#options = options
    this.#clock = clock
    this.#processId = `proc_${clock.randomId()}`
    this.#onOpened = onOpened
  }

  /** How long whoever needs the store waits for one that fails. */
  get patienceMs(): number {
    return Math.max(this.#options.holdMs, MIN_PATIENCE_MS)
  }

  /** Opens it, once. Where that fails, the next call tries again. */
  open(): Promise<void> {
    this.#opening ??= this.#open().catch((error: unknown) => {
      this.#opening = null
      throw error
    })
    return this.#opening
  }

  /**
   * Opens it as often as it takes: a process may be up before its database is.
   *
   * @throws StoreError where trying again does not help, or it was given up meanwhile
   */
  async openInTime(): Promise<void> {
    for (let failures = 1; ; failures++) {
      try {
        return await this.open()
      } catch (thrown) {
        const error = asStoreError(thrown)
        if (error.kind !== 'transient' || this.#isGivenUp) throw error
        if (failures === 1) {
          const reason = error.message
          this.#options.warn('The store could not be opened; it is tried until it can be.', { reason })
        }
        await this.#pause(backoffMs(failures, OPEN_BACKOFF, () => this.#clock.random()))
      }
    }
  }

  /** As `openInTime`, also where somebody has to mend something first (a database to be created, say). Never rejects. */
  async openEventually(): Promise<void> {
    for (let failures = 1; !this.#isGivenUp; failures++) {
      try {
        return await this.openInTime()
      } catch (error) {
        if (this.#isGivenUp) return
        if (failures === 1) {
          this.#options.warn(
            'The store could not be opened, and somebody has to look at it; it is tried now and then.',
            {
              reason: messageOf(error),
            },
          )
        }
        await this.#pause(backoffMs(failures, MEND_BACKOFF, () => this.#clock.random()))
      }
    }
  }

  async #pause(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = this.#clock.setTimeout(resolve, ms)
    await Promise.race([promise, this.#givenUp.promise])
    timer.cancel()
  }

  async #open(): Promise<void> {
    if (this.#isClosed) throw closed()
    const { leaseMs } = this.#options
    const identity = { processId: this.#processId, leaseMs, clock: this.#clock }
    const session = await this.#store.connect({ ...identity, suspects: SUSPECTS })
    if (this.#isClosed) {
      await session.close()
      throw closed()
    }
    this.#session = session
    this.#onOpened(session)
  }

  /** For who is patient itself. @throws StoreError */
  async session(): Promise<StoreSession> {
    await this.open()
    if (this.#session) return this.#session
    throw closed()
  }

  /**
   * One transition, tried again while the store is failing or cannot be opened. A store that says nothing is not waited
   * for: what was asked of it may still happen.
   *
   * @throws DurableError DURABLE_STORE_UNAVAILABLE, a moment after `patienceMs` at the latest
   */
  call<T>(transition: (session: StoreSession) => Promise<T>): Promise<T> {
    return this.#inTime(transition, (beganAt) => beganAt)
  }

  /**
   * As `call`, for what only reads: a store that answers many of them one after the other is not silent, only busy.
   *
   * @throws DurableError DURABLE_STORE_UNAVAILABLE, `patienceMs` after the last read that was answered
   */
  read<T>(transition: (session: StoreSession) => Promise<T>): Promise<T> {
    const read = async (session: StoreSession): Promise<T> => {
      const answer = await transition(session)
      this.#lastReadAt = performance.now()
      return answer
    }
    return this.#inTime(read, (beganAt) => Math.min(Math.max(beganAt, this.#lastReadAt), beganAt + MAX_READ_MS))
  }

  async #inTime<T>(
    transition: (session: StoreSession) => Promise<T>,
    silentSince: (beganAt: number) => number,
  ): Promise<T> {
    const { promise: silence, reject } = Promise.withResolvers<never>()
    let isOver = false
    // In real time: an injected clock may be hours ahead while an answer is on its way.
    const beganAt = performance.now()
    const patienceMs = Math.min(MAX_TIMER_MS, this.patienceMs + STALLED_MS)
    const giveUpIfSilent = (): void => {
      const leftMs = silentSince(beganAt) + patienceMs - performance.now()
      if (leftMs >= 1) return void (timer = setTimeout(giveUpIfSilent, leftMs))
      isOver = true
      reject(unavailable(new StoreError('transient', 'The store has not answered.')))
    }
    let timer = setTimeout(giveUpIfSilent, patienceMs)
    try {
      return await Promise.race([this.#try(transition, () => isOver), silence])
    } finally {
      clearTimeout(timer)
    }
  }

  async #try<T>(transition: (session: StoreSession) => Promise<T>, isOver: () => boolean): Promise<T> {
    const giveUpAt = this.#clock.now() + this.patienceMs
    for (let delayMs = FIRST_RETRY_MS; ; delayMs = Math.min(MAX_RETRY_MS, delayMs * 2)) {
      try {
        return await transition(await this.session())
      } catch (thrown) {
        const error = asStoreError(thrown)
        if (error.kind !== 'transient' || isOver() || this.#clock.now() >= giveUpAt) throw unavailable(error)
        await sleep(this.#clock, delayMs)
      }
    }
  }

  /** A store that cannot be opened is not tried again by itself. */
  giveUpOpening(): void {
    this.#isGivenUp = true
    this.#givenUp.resolve()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    // A store that is only just being opened is closed as soon as it is, if nobody waits any more by then.
    if (this.#opening)
      await within(
        CLOSING_MS,
        this.#opening.catch(() => {}),
      )
    const session = this.#session
    this.#session = null
    try {
      await session?.close()
    } catch (error) {
      // Nothing that the caller could do: others find out that this process is gone, as with one that was killed.
      this.#options.warn('The leases could not be given back; others take the runs over a moment later.', {
        reason: messageOf(error),
      })
    }
  }
}

/** In real time, as whatever is asked of a store. */
async function within(ms: number, promise: Promise<void>): Promise<void> {
  const { promise: isOver, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, ms)
  await Promise.race([promise, isOver]).finally(() => clearTimeout(timer))
}

function closed(): StoreError {
  return new StoreError('broken', 'The store has been closed.')
}
