import type { Clock, Timer } from '../core/clock.ts'

export interface HotLimits {
  readonly runs: number
  readonly bytes: number
  readonly ttlMs: number
}

/** A parked execution, as far as keeping it goes. */
interface Parked {
  readonly runId: string
  readonly epoch: number
  readonly weight: number
  readonly parkedAt: number
}

/** Parked executions whose promises are kept, to go on without a replay. The oldest are evicted first. */
export class HotCache<Run extends Parked> {
  readonly #clock: Clock
  readonly #limits: HotLimits
  readonly #evict: (execution: Run) => void
  /** In the order in which they were parked. */
  readonly #parked = new Map<string, Run>()
  readonly #epochs = new Map<string, number>()
  readonly #weights = new Map<string, number>()
  #weight = 0
  #timer: Timer | null = null

  constructor(clock: Clock, limits: HotLimits, evict: (execution: Run) => void) {
    this.#clock = clock
    this.#limits = limits
    this.#evict = evict
  }

  add(execution: Run): void {
    const { runId, epoch, weight } = execution
    this.#forget(runId)
    this.#parked.set(runId, execution)
    this.#epochs.set(runId, epoch)
    this.#weights.set(runId, weight)
    this.#weight += weight
    while (this.#parked.size > this.#limits.runs || this.#weight > this.#limits.bytes) this.#evictOldest()
    this.#arm()
  }

  delete(execution: Run): void {
    if (this.#parked.get(execution.runId) === execution) this.#forget(execution.runId)
  }

  /** By run: what it was parked under. A view that changes with the cache. */
  get epochs(): ReadonlyMap<string, number> {
    return this.#epochs
  }

  clear(): void {
    this.#disarm()
    while (this.#parked.size > 0) this.#evictOldest()
  }

  #evictOldest(): void {
    const [oldest] = this.#parked.values()
    if (!oldest) return
    this.#forget(oldest.runId)
    this.#evict(oldest)
  }

  #forget(runId: string): void {
    this.#parked.delete(runId)
    this.#epochs.delete(runId)
    this.#weight -= this.#weights.get(runId) ?? 0
    this.#weights.delete(runId)
    if (this.#parked.size === 0) this.#disarm()
  }

  #disarm(): void {
    this.#timer?.cancel()
    this.#timer = null
  }

  #arm(): void {
    const [oldest] = this.#parked.values()
    if (this.#timer || !oldest) return
    this.#timer = this.#clock.setTimeout(
      () => {
        this.#timer = null
        const before = this.#clock.now() - this.#limits.ttlMs
        for (const execution of this.#parked.values()) {
          if (execution.parkedAt > before) break
          this.#evictOldest()
        }
        this.#arm()
      },
      Math.max(1, oldest.parkedAt + this.#limits.ttlMs - this.#clock.now()),
    )
  }
}
