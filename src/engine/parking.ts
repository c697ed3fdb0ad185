import type { Clock, Timer } from '../core/clock.ts'
import type { ExecutionOwner } from './owner.ts'
import { outsideOfRequests } from './scheduler.ts'

/** Parking costs two commits: a wait that is over sooner is sat out with the lease in hand. */
export const PARK_AFTER_MS = 100
/** How long a field that awaits no tool counts as in flight. */
const BUSY_GRACE_MS = 30_000
/** How long until a field that awaits something else than a tool is looked at again. */
const RECHECK_MS = 500

/** What is parked: an execution. */
interface Parkable {
  readonly clock: Clock
  readonly owner: Pick<ExecutionOwner, 'mayPark' | 'hasPass'>
  readonly waits: {
    readonly size: number
    readonly allRegistered: boolean
    /** On the store's clock. */
    readonly nextAt: number | null
    registerAll(): void
  }
  readonly state: string
  readonly busy: boolean
  /** Something has to start as soon as it may. */
  readonly isHeldUp: boolean
  readonly isAnswered: boolean
  /** On the store's clock. */
  readonly timeoutAt: number | null
  storeNow(): number
  /** Gives the lease back until the next wait is over; null: until somebody signals. */
  park(wakeInMs: number | null): void
}

/** Decides when an execution gives its lease back: when nothing is in flight and everything pending waits for a tool. */
export class Parking {
  readonly #run: Parkable
  #recheck: Timer | null = null
  #isDue = false
  /** Since when nothing but a field that awaits no tool keeps the run from being parked. */
  #idleSince: number | null = null

  constructor(run: Parkable) {
    this.#run = run
  }

  /** Looks whether anything is in flight, once the present turn is through. */
  consider(): void {
    if (this.#run.state !== 'live' || this.#run.busy || this.#isDue) return
    this.#isDue = true
    outsideOfRequests(() =>
      setImmediate(() => {
        this.#isDue = false
        this.#decide()
      }),
    )
  }

  /** Something has come through: a field that awaits no tool counts as in flight once more. */
  onProgress(): void {
    this.#idleSince = null
  }

  stop(): void {
    this.#recheck?.cancel()
  }

  #decide(): void {
    const { timeoutAt, state, busy, waits, owner, isHeldUp, isAnswered } = this.#run
    if (timeoutAt !== null && timeoutAt <= this.#run.storeNow()) return // it is about to be ended
    if (state !== 'live' || busy || waits.size === 0 || isHeldUp) return
    if (!isAnswered && !owner.mayPark() && !this.#idleForLong()) return this.#lookAgainLater()
    if (!waits.allRegistered) return waits.registerAll()
    const { nextAt } = waits
    const wakeInMs = nextAt === null ? null : Math.max(0, nextAt - this.#run.storeNow())
    if (wakeInMs !== null && wakeInMs < PARK_AFTER_MS) return
    this.#run.park(wakeInMs)
  }

  /** Whatever such a field awaits: when it wants to go on, the run is claimed again. */
  #idleForLong(): boolean {
    const now = this.#run.clock.now()
    this.#idleSince ??= now
    return this.#run.owner.hasPass && now - this.#idleSince >= BUSY_GRACE_MS
  }

  /** A field awaits something that is no tool: it counts as in flight, and is looked at again. */
  #lookAgainLater(): void {
    this.#recheck ??= this.#run.clock.setTimeout(() => {
      this.#recheck = null
      this.consider()
    }, RECHECK_MS)
  }
}
