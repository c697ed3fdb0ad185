import type { EventRecord } from '../store/store.ts'
import type { Wait } from './wait.ts'

/** A wait that is over: by an event, or (null) by its end. */
export interface Over {
  readonly wait: Wait
  readonly event: EventRecord | null
  /** On the store's clock: when the event was accepted, or the end was. */
  readonly at: number
}

/**
 * Which of the open waits are over, in the order in which they are settled: by the store's instants, the event's
 * acceptance or the wait's end; equal instants by the order of the calls (I5, I6).
 *
 * @param found what a look-up found, by wait
 * @param now the store's time when the look-up began, or of now where none was needed
 */
export function inOrderOfInstants(
  open: Iterable<Wait>,
  found: ReadonlyMap<Wait, EventRecord | null>,
  now: number,
): Over[] {
  const over: Over[] = []
  // What the store has accepted shows how late it is there.
  let until = now
  for (const event of found.values()) if (event && event.acceptedAt > until) until = event.acceptedAt
  for (const wait of open) {
    const event = found.get(wait) ?? null
    if (event) over.push({ wait, event, at: event.acceptedAt })
    // An event accepted before the timeout beats it: a wait that was not looked up is not over yet (I6).
    else if (wait.until !== null && wait.until <= until && (wait.spec.event === null || found.has(wait))) {
      over.push({ wait, event, at: wait.until })
    }
  }
  return over.toSorted((one, other) => one.at - other.at || one.wait.seq - other.wait.seq)
}

/**
 * So many of them are settled at once: those of one instant. The reaction to them may be to open a wait that was over
 * before the next. What the code can close (by a `signal`) is settled alone and in its turn: the reaction may be to close
 * it, and then its event is another wait's.
 */
export function countTogether(over: readonly Over[]): number {
  const next = over.findIndex(({ wait, at }, index) => index > 0 && (at !== over[0]?.at || wait.spec.isClosable))
  return next < 0 ? over.length : next
}
