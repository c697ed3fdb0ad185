import { AsyncLocalStorage } from 'node:async_hooks'
import type { Clock, Timer } from '../core/clock.ts'
import type { OutcomeRecord } from '../store/store.ts'

/** Runs a function outside of every AsyncLocalStorage of the user's: a release belongs to no request. */
export const outsideOfRequests = AsyncLocalStorage.snapshot()

/** A tool call that waits for its outcome. */
export interface PumpRequest {
  /** How many tool calls its scope has made. */
  readonly scope: { readonly calls: number }
  settle(outcome: OutcomeRecord): void
}

export interface PumpHost {
  readonly clock: Clock
  /** The pump released what it could; nothing that the code asked for is left in it. */
  onDrained(): void
  /** The journal's head was passed over because nobody asked for it. */
  onPassedOver(missing: string, released: string): void
}

/** How long a replay waits for the code to ask for the journal's next outcome before it passes it over. */
const STALL_MS = 10_000

/**
 * Ordered release (I5): outcomes enter in journal order, and leave in that order, in live execution and in a replay
 * alike, each only once the code has asked for it and has made as many calls as it had made when the outcome was
 * enqueued. So whatever races and combines tools comes out as it did the first time.
 *
 * One outcome is released at a time: `queueMicrotask(() => process.nextTick(release))` fires when the microtasks have
 * drained, which is when the user's code has reacted to the last one, and costs no turn of the event loop.
 *
 * The stretch between a release and the moment the microtasks have drained is a *turn*. Calls made in a turn come in
 * an order that a replay repeats; calls made after an await of something else do not, and start a turn of their own.
 */
export class Pump {
  readonly #host: PumpHost
  readonly #queue: (OutcomeRecord | null)[] = []
  readonly #requests = new Map<string, PumpRequest>()
  /** Keys in the queue that have not been released. */
  readonly #queued = new Map<string, number>()
  #head = 0
  /** Requests whose outcome is in the queue. */
  #blocked = 0
  #scheduled = false
  #stopped = false
  #stall: Timer | null = null
  #turn = 0
  #turnOpen = false

  constructor(host: PumpHost) {
    this.#host = host
  }

  /** Nothing that the code asked for is waiting to be released. */
  get idle(): boolean {
    return this.#blocked === 0 && !this.#scheduled
  }

  /** The number of the current turn; opens one if none is open. `loose`: it was opened by this call. */
  turn(): { readonly number: number; readonly loose: boolean } {
    const loose = !this.#turnOpen
    if (loose) this.openTurn()
    return { number: this.#turn, loose }
  }

  /** Starts a turn that lasts until the microtasks have drained: a resolver has been called, or an outcome released. */
  openTurn(): void {
    this.#turn++
    this.#turnOpen = true
    this.#schedule()
  }

  push(outcome: OutcomeRecord): void {
    this.#queued.set(outcome.key, this.#queue.length)
    this.#queue.push(outcome)
    if (this.#requests.has(outcome.key)) this.#blocked++
    this.#schedule()
  }

  request(key: string, request: PumpRequest): void {
    this.#requests.set(key, request)
    if (this.#queued.has(key)) this.#blocked++
    this.#schedule()
  }

  /** Drops what will never be asked for: the outcomes below a root field whose response is in the journal. */
  skip(belongs: (key: string) => boolean): void {
    for (const [key, at] of this.#queued) {
      if (!belongs(key)) continue
      this.#queue[at] = null
      this.#queued.delete(key)
      if (this.#requests.has(key)) this.#blocked--
    }
    this.#schedule()
  }

  /** Nothing is released any more. */
  stop(): void {
    this.#stopped = true
    this.#stall?.cancel()
    this.#stall = null
    this.#requests.clear()
  }

  #schedule(): void {
    if (this.#scheduled || this.#stopped) return
    this.#scheduled = true
    outsideOfRequests(() => queueMicrotask(() => process.nextTick(this.#tick)))
  }

  readonly #tick = (): void => {
    this.#scheduled = false
    if (this.#stopped) return
    this.#turnOpen = false
    const head = this.#peek()
    if (head) {
      const request = this.#requests.get(head.key)
      if (request && request.scope.calls >= head.calls) {
        this.#head++
        this.#release(head, request)
        return
      }
      if (this.#blocked > 0) this.#armStall()
    }
    if (this.#blocked === 0) this.#host.onDrained()
  }

  #peek(): OutcomeRecord | null {
    while (this.#head < this.#queue.length) {
      const head = this.#queue[this.#head]
      if (head) return head
      this.#head++
    }
    return null
  }

  #release(outcome: OutcomeRecord, request: PumpRequest): void {
    this.#stall?.cancel()
    this.#stall = null
    this.#requests.delete(outcome.key)
    this.#queued.delete(outcome.key)
    this.#blocked--
    this.openTurn()
    request.settle(outcome)
  }

  #armStall(): void {
    this.#stall ??= this.#host.clock.setTimeout(() => {
      this.#stall = null
      this.#passOver()
    }, STALL_MS)
  }

  /**
   * The head is not asked for (a deploy removed its step, say), and something that is asked for waits behind it. The
   * lowest of those is released, whatever its number of calls.
   */
  #passOver(): void {
    const head = this.#peek()
    if (!head || this.#blocked === 0) return
    for (let at = this.#head; at < this.#queue.length; at++) {
      const outcome = this.#queue[at]
      const request = outcome && this.#requests.get(outcome.key)
      if (!request) continue
      this.#queue[at] = null
      if (outcome !== head) this.#host.onPassedOver(head.key, outcome.key)
      this.#release(outcome, request)
      return
    }
  }
}
