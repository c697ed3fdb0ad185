/**
 * A session's calls that are under way. A session that is closed waits for them before it unregisters its process: a
 * claim that comes through after that would leave its runs with a holder that nobody beats for, until its lease is over.
 */
export class InFlight {
  readonly #calls = new Set<Promise<unknown>>()

  track<T>(call: Promise<T>): Promise<T> {
    this.#calls.add(call)
    const over = (): void => void this.#calls.delete(call)
    call.then(over, over)
    return call
  }

  /** Resolves when those have come to either end that are under way by now. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#calls)
  }
}
