import type { SuspectPolicy } from '../store/store.ts'
import { CLEAR_BLAME } from '../store/suspicion.ts'

/*
 * A step can kill the process that runs it: it runs out of memory, or blocks the event loop past the lease. Whoever
 * takes the run over dies as well, and with it everything that it holds. So takeovers are counted, until the run gets
 * on: until an outcome is committed, or it is parked as usual.
 *
 * - The first ones are nobody's fault: processes are killed by deploys, too. The run goes on at once, beside others.
 * - From SUSPECTS.from on it waits a little before it goes on, and then is on probation: a process has one such run at
 *   a time. If that process dies, the run is blamed, and what was held beside it is not (`judgeDeath`). With MAX_BLAME
 *   it ends as DURABLE_RESUME_FAILED, without running again: after two such deaths if it was alone, else after up to
 *   four. What really kills is among the suspects itself by then, and has its probation apart.
 * - Probation is over when the run gets on. What kills its process does so soon, as a rule: after its time the run is
 *   acquitted, and goes on while the next suspect has its turn. That time doubles with each further takeover, for what
 *   takes longer.
 */

export const SUSPECTS: SuspectPolicy = { from: 3, delayMs: 1_000 }
export const MAX_BLAME = 2 * CLEAR_BLAME
/** In one process at a time. */
export const MAX_ON_PROBATION = 1

const FIRST_PROBATION_MS = 30_000
const MAX_PROBATION_MS = 60 * 60_000

export function probationMs(takeovers: number): number {
  return Math.min(MAX_PROBATION_MS, FIRST_PROBATION_MS * 2 ** (takeovers - SUSPECTS.from))
}
