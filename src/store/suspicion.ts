import type { RunRecord, SuspectPolicy } from './store.ts'

/** What a run's record has of the deaths of its holders. */
export type Suspicion = Pick<RunRecord, 'takeovers' | 'blamed' | 'onProbation'>

/** What a run is given back with. It is on probation no more. */
export interface Verdict {
  readonly takeovers: number
  readonly blamed: number
  readonly waitsMs: number
}

/** What speaks against a run: a process died in which it was the only suspect; or in which others were, too. */
export const CLEAR_BLAME = 2
const UNCLEAR_BLAME = 1

/** Waits are twice as long each time, but not for ever. */
const MAX_DOUBLINGS = 10

/**
 * For drivers: what the death of a process comes to for each of the runs that it held.
 *
 * - It held no suspect: all count a takeover.
 * - It held suspects: they alone count one, and whoever is on probation is blamed. What was acquitted has shown that it
 *   does not kill at once, and yet it may have been it, so that the blame is less where there was any.
 */
export function judgeDeath<Run extends Suspicion>(
  held: readonly Run[],
  { from, delayMs }: SuspectPolicy,
): readonly { readonly run: Run; readonly verdict: Verdict }[] {
  const suspects = held.filter(({ takeovers }) => takeovers >= from)
  const blame = suspects.length === 1 ? CLEAR_BLAME : UNCLEAR_BLAME
  return held.map((run) => {
    const isSuspect = run.takeovers >= from
    const takeovers = run.takeovers + (isSuspect || suspects.length === 0 ? 1 : 0)
    return {
      run,
      verdict: {
        takeovers,
        blamed: run.blamed + (isSuspect && run.onProbation ? blame : 0),
        waitsMs: takeovers >= from ? delayMs * 2 ** Math.min(MAX_DOUBLINGS, takeovers - from) : 0,
      },
    }
  })
}

/** What a run is given back with by a process that is closed. */
export function withoutVerdict({ takeovers, blamed }: Suspicion): Verdict {
  return { takeovers, blamed, waitsMs: 0 }
}
