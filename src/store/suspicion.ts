import type { RunRecord, SuspectPolicy } from './store.ts'

/** What a run's record has of the deaths of its holders. */
export type Suspicion = Pick<RunRecord, 'takeovers' | 'blamed' | 'onProbation'>

/** What a run is given back with. It is on probation no more. */
export interface Verdict {
  readonly takeovers: number
  readonly blamed: number
  readonly waitsMs: number
}

/** What speaks against a run on probation when its process dies: it was alone there; or other runs were held, too. */
export const CLEAR_BLAME = 2
const UNCLEAR_BLAME = 1

/** Waits are twice as long each time, but not for ever. */
const MAX_DOUBLINGS = 10

/**
 * For drivers: what the death of a process comes to for each of the runs that it held. All of them count a takeover,
 * and whoever is on probation is blamed. Less where others were there: what kills may be among them, and is a suspect
 * itself after a few deaths, before the innocent one has been blamed enough.
 */
export function judgeDeath<Run extends Suspicion>(
  held: readonly Run[],
  { from, delayMs }: SuspectPolicy,
): readonly { readonly run: Run; readonly verdict: Verdict }[] {
  const blame = held.length === 1 ? CLEAR_BLAME : UNCLEAR_BLAME
  return held.map((run) => {
    const takeovers = run.takeovers + 1
    return {
      run,
      verdict: {
        takeovers,
        blamed: run.blamed + (run.onProbation ? blame : 0),
        waitsMs: takeovers >= from ? delayMs * 2 ** Math.min(MAX_DOUBLINGS, takeovers - from) : 0,
      },
    }
  })
}

/** What a run is given back with by a process that is closed. */
export function withoutVerdict({ takeovers, blamed }: Suspicion): Verdict {
  return { takeovers, blamed, waitsMs: 0 }
}
