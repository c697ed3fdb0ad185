import { outsideOfRequests } from './scheduler.ts'

/**
 * What a process's own work may take of one turn of the event loop, in units of about 10 µs: replays, encoding and
 * decoding would else hold up everything else for as long as there is something to do.
 */
const UNITS_A_TURN = 500
/** Encoding or decoding 4 kB takes up to three units. A value of 4 MB has a turn of its own. */
const BYTES_A_UNIT = 4_000

/**
 * Shares the event loop out among what works without awaiting anything. It counts work instead of looking at a clock,
 * so that where the pauses come does not depend on the machine; and it counts over turns, which costs nothing (I8): a
 * process that does little in each pauses once in a while, where it need not.
 */
export class Turns {
  #spent = 0
  readonly #waiting: (() => void)[] = []

  /** This turn has had its share: what can wait goes on by `take`. */
  get isOver(): boolean {
    return this.#spent >= UNITS_A_TURN
  }

  /** Some work was done; `size`: of the text that it went through. */
  spend(size = 0): void {
    this.#spent += 1 + Math.floor(size / BYTES_A_UNIT)
  }

  /** Runs it at once, or where this turn is over, in a later one, in the order of the calls. */
  take(work: () => void): void {
    if (!this.isOver && this.#waiting.length === 0) return work()
    this.#waiting.push(work)
    if (this.#waiting.length === 1) this.#goOnLater()
  }

  /** Resolves when there is room in a turn. */
  room(): Promise<void> {
    return new Promise((resolve) => this.take(resolve))
  }

  #goOnLater(): void {
    outsideOfRequests(() =>
      setImmediate(() => {
        this.#spent = 0
        while (!this.isOver) {
          const [next] = this.#waiting
          if (!next) return
          next()
          this.#waiting.shift() // not before, so that what it takes itself comes after those that wait
        }
        this.#goOnLater()
      }),
    )
  }
}
