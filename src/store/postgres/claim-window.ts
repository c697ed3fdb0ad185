import type { ClaimReceipt } from '../store.ts'

/** Whoever has room claims a run within milliseconds of its wake-up. */
const WINDOW_MS = 3_000
const FULL_EVERY_MS = 1_000
/** A full look may take a twentieth of the time. */
const FULL_COST = 20

/**
 * How far back a claim looks for runs that are due.
 *
 * The index of due times is walked from its low end, which is where the entries of runs stand that have been claimed.
 * Vacuum removes them, unless something holds an old snapshot, a dump for instance: after 60,000 claims under one, a
 * claim took 110 ms. So most claims begin at the recent due times, and it takes a full look to find what is older:
 *
 * - `full`: everything. At first; while there is a backlog, so that the earliest goes first; and now and then.
 * - `recent`: what became due within the last seconds. After a full look that found nothing older.
 */
export class ClaimWindow {
  #fullAt = 0

  /** Milliseconds; null: as far back as there is something. */
  get backMs(): number | null {
    return performance.now() >= this.#fullAt ? null : WINDOW_MS
  }

  /** What a claim with that window found, and when the earliest run that it took had been due. */
  note(backMs: number | null, tookMs: number, { at, nextDueAt }: ClaimReceipt, firstDueAt: number | null): void {
    if (backMs !== null) return
    const earliest = Math.min(nextDueAt ?? at, firstDueAt ?? at)
    const hasBacklog = at - earliest > WINDOW_MS / 2
    this.#fullAt = hasBacklog ? 0 : performance.now() + Math.max(FULL_EVERY_MS, tookMs * FULL_COST)
  }
}
