import type { RunCommit } from '../store.ts'

/**
 * How much two clocks may drift apart in a second: far more than crystals do, and than a daemon corrects them by.
 */
const DRIFT_MS_PER_MS = 0.001

/**
 * What this process knows of the server's clock.
 *
 * A new run says how long ago it began. By the time the server reads that, the part has been on its way: through the
 * queue, over the network, through retries. "The server's now, minus the duration" is late by as much, and an event
 * that was accepted in that gap would be missed (I6). So the session measures: when an answer with the server's time
 * arrives, the server's clock shows at least that time. The highest such bound, less what the clocks may have drifted
 * since, turns the instant at which a part was first seen here into one that is never late, and too early by the way
 * back of one answer. Being early is harmless: the run would see an event of some milliseconds before it began.
 */
export class ServerClock {
  /** The server's time minus this process's, at least. Null before the first answer. */
  #offset: number | null = null
  #measuredAt = 0
  readonly #firstSeen = new WeakMap<RunCommit, number>()

  /** The writer comes with the same parts again when an answer was lost. */
  see(batch: readonly RunCommit[]): void {
    const now = performance.now()
    for (const part of batch) if (!this.#firstSeen.has(part)) this.#firstSeen.set(part, now)
  }

  /** Sends a statement whose answer says the server's time. */
  async timed<Row extends { readonly at: number }>(send: () => Promise<Row[]>): Promise<Row[]> {
    const sentAt = performance.now()
    const rows = await send()
    const at = rows[0]?.at
    if (at !== undefined) this.#measure(at, sentAt, performance.now())
    return rows
  }

  /** Of the part that began so long before it was first seen; null where nothing is known. */
  beganAt(part: RunCommit, beganAgoMs: number): number | null {
    const now = performance.now()
    const offset = this.#offsetAt(now)
    if (offset === null) return null
    return Math.floor((this.#firstSeen.get(part) ?? now) - beganAgoMs + offset)
  }

  #offsetAt(now: number): number | null {
    return this.#offset === null ? null : this.#offset - (now - this.#measuredAt) * DRIFT_MS_PER_MS
  }

  #measure(at: number, sentAt: number, receivedAt: number): void {
    const lowest = at - receivedAt
    const highest = at + 1 - sentAt // the server's time is cut to whole milliseconds
    const known = this.#offsetAt(receivedAt)
    // Where the old bound can't be true any more, one of the clocks was set.
    if (known !== null && known > lowest && known <= highest) return
    this.#offset = lowest
    this.#measuredAt = receivedAt
  }
}
