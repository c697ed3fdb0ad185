import type { OutcomeRecord } from '../store/store.ts'

/** What an outcome says of the order of release, beside its position. Kept with it, as text (`Outcome.ordering`). */
export interface Ordering {
  /** Calls that had been made when it was enqueued, and that no outcome before it tells of (fingerprints). */
  readonly called?: readonly string[]
  /** It is released right before the outcome at that position, which the code had not asked for when it came. */
  readonly before?: number
  /** Of a `PASS`: keys that the code did not ask for. They are released if and when it does. */
  readonly passed?: readonly string[]
}

export function encodeOrdering(ordering: Ordering): string | undefined {
  return Object.keys(ordering).length === 0 ? undefined : JSON.stringify(ordering)
}

export function orderingOf({ ordering }: Pick<OutcomeRecord, 'ordering'>): Ordering {
  return ordering === undefined ? {} : (JSON.parse(ordering) as Ordering) // written by encodeOrdering
}

/** The outcomes of a journal in the order in which they are released. */
export function inOrderOfRelease(journal: readonly OutcomeRecord[]): OutcomeRecord[] {
  const order: OutcomeRecord[] = []
  for (const outcome of journal) {
    const { before } = orderingOf(outcome)
    const at = before === undefined ? -1 : order.findIndex(({ pos }) => pos === before)
    order.splice(at < 0 ? order.length : at, 0, outcome)
  }
  return order
}

/**
 * Which calls had been made when an outcome was enqueued, in whatever life that was. What had not been called by then
 * cannot be what that outcome's life decided without: so it may be released before it.
 */
export class CallHistory {
  /** By fingerprint: the position of the first outcome that was enqueued after the call. */
  readonly #calledBy = new Map<string, number>()
  /** Calls since the last outcome, by key. */
  #calls: string[] = []

  constructor(journal: readonly OutcomeRecord[]) {
    for (const outcome of journal) {
      for (const call of orderingOf(outcome).called ?? []) {
        if (!this.#calledBy.has(call)) this.#calledBy.set(call, outcome.pos)
      }
    }
  }

  note(key: string): void {
    this.#calls.push(key)
  }

  /** The calls that the outcome of `key` has to tell of. */
  take(key: string): string[] {
    const calls = this.#calls.filter((call) => call !== key).map(fingerprint)
    this.#calls = []
    return calls
  }

  wasCalledBy(key: string, pos: number): boolean {
    if (this.#calledBy.size === 0) return false
    return (this.#calledBy.get(fingerprint(key)) ?? Infinity) <= pos
  }
}

/** FNV-1a. Two keys that have the same one are taken for called, which only costs patience. */
function fingerprint(key: string): string {
  let hash = 0x811c9dc5
  for (let at = 0; at < key.length; at++) hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193)
  return (hash >>> 0).toString(36)
}
