/*
 * For drivers whose work is done on the event loop: work without a bound is cut into slices, and between two of them
 * whoever else has something to do gets a turn. Slices are bounded by time, since rows may be of any size.
 */

/** With a commit to the disk after it, well below what a request would feel. */
const SLICE_MS = 5

export interface Slice {
  /** Asked after each row or so. */
  readonly isOver: boolean
}

/** From now on. */
export function beginSlice(ms = SLICE_MS): Slice {
  const endsAt = performance.now() + ms
  return {
    get isOver() {
      return performance.now() >= endsAt
    },
  }
}

/** Lets everybody else have a turn: timers, sockets, requests. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
