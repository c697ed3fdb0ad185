/** Where even that is no answer in time, connections are left to their own time-outs. */
const MAX_TOLERATED_MS = 30_000

export interface SilenceOptions {
  /** An answer that takes longer is no answer. */
  readonly toleratedMs: number
  readonly onSilence: () => void
}

/**
 * A server that is lost with its host does not refuse: it says nothing, and each connection to it would wait for as long
 * as its time-out. The beats tell: one that is not answered in time means that nothing else will be.
 *
 * A server that is merely slow must get its chance, so each silence in a row is tolerated twice as long as the one before.
 * Once it answers, it is given twice the time that this took: it would be cut off again and again otherwise, by what is as
 * slow as before.
 */
export class Silence {
  readonly #options: SilenceOptions
  #toleratedMs: number

  constructor(options: SilenceOptions) {
    this.#options = options
    this.#toleratedMs = options.toleratedMs
  }

  async broken<T>(ask: () => Promise<T>): Promise<T> {
    const timer = setTimeout(() => {
      this.#toleratedMs = Math.min(MAX_TOLERATED_MS, this.#toleratedMs * 2)
      this.#options.onSilence()
    }, this.#toleratedMs)
    const askedAt = performance.now()
    try {
      const answer = await ask()
      const expectedMs = 2 * (performance.now() - askedAt)
      this.#toleratedMs = Math.max(this.#options.toleratedMs, Math.min(this.#toleratedMs, expectedMs))
      return answer
    } finally {
      clearTimeout(timer)
    }
  }
}
