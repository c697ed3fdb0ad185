import type { SuspectPolicy } from '../store/store.ts'

/*
 * A step can kill the process that runs it: it runs out of memory, or blocks the event loop past the lease. Whoever
 * takes the run over dies as well, and with it everything that it holds. So takeovers are counted, until an outcome is
 * committed or the run is parked as usual:
 *
 * - The first ones are nobody's fault: processes are killed by deploys, too. The run goes on at once, beside others.
 * - From SUSPECTS.from on it waits before it goes on, and a process begins with one suspect at a time. If that process
 *   dies, then only the suspect counts a takeover. So what was held beside it never comes to be condemned with it.
 *   Whatever kills its process does so soon: after PROBATION_MS the next suspect has its turn.
 * - After MAX_TAKEOVERS the run ends as DURABLE_RESUME_FAILED, without running again.
 */

export const SUSPECTS: SuspectPolicy = { from: 3, delayMs: 1_000 }
/** On probation in one process at the same time. */
export const MAX_SUSPECTS = 1
export const PROBATION_MS = 30_000
export const MAX_TAKEOVERS = 5
