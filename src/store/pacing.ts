/*
 * For drivers whose work is done on the event loop: work without a bound is cut into slices, and between two of them
 * whoever else has something to do gets a turn. Slices are bounded by time, since rows may be of any size; and those
 * that are begun in one turn of the event loop share it, since a hundred at once must not take a hundred times as long.
 */

/** With a commit to the disk after it, well below what a request would feel. */
const SLICE_MS = 5

export interface Slice {
  /** Asked after each row or so: what is begun gets on by a little in each slice, however many there are. */
  readonly isOver: boolean
}

let endsAt: number | null = null

/** From now on, or from when the first slice of this turn of the event loop was begun. */
export function beginSlice(): Slice {
  const now = performance.now()
  if (endsAt === null) {
    endsAt = now + SLICE_MS
    setImmediate(() => (endsAt = null))
  }
  const end = endsAt
  return {
    get isOver() {
      return performance.now() >= end
    },
  }
}

const waiting: (() => void)[] = []

/** Lets everybody else have a turn: timers, sockets, requests. Of those that wait for theirs here, one at a time. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    waiting.push(resolve)
    if (waiting.length === 1) setImmediate(next)
  })
}

function next(): void {
  waiting[0]?.()
  waiting.shift()
  if (waiting.length > 0) setImmediate(next)
}
