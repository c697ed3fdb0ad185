/** A run that has done nothing for so long waits for something outside: it makes room for others. */
const REST_AFTER_MS = 10_000
/** What rests takes memory, and may all want to go on at once. */
const RESTING_PER_PLACE = 100

/**
 * The places of a worker: as many runs as it carries on side by side. A run has one while there is something to do for
 * it. One whose steps (or whatever else it awaits) have let nothing happen for a while rests without a place: it is held
 * as before, and takes a place again when it moves, also where that makes one too many for the moment. So steps that
 * hang stop no other run.
 */
export class Places {
  readonly #concurrency: number
  readonly #taken = new Set<string>()
  readonly #resting = new Set<string>()

  constructor(concurrency: number) {
    this.#concurrency = concurrency
  }

  get free(): number {
    return this.#concurrency - this.#taken.size
  }

  get taken(): Iterable<string> {
    return this.#taken
  }

  take(runId: string): void {
    this.#resting.delete(runId)
    this.#taken.add(runId)
  }

  giveUp(runId: string): void {
    this.#taken.delete(runId)
  }

  /** `quietFor`: since when nothing has happened to a run, in milliseconds; null: it is not carried on any more. */
  look(quietFor: (runId: string) => number | null): void {
    for (const runId of this.#resting) {
      const quietMs = quietFor(runId)
      if (quietMs === null) this.#resting.delete(runId)
      else if (quietMs < REST_AFTER_MS) this.take(runId)
    }
    for (const runId of this.#taken) {
      if (this.#resting.size >= this.#concurrency * RESTING_PER_PLACE) return
      if ((quietFor(runId) ?? 0) < REST_AFTER_MS) continue
      this.#taken.delete(runId)
      this.#resting.add(runId)
    }
  }
}
