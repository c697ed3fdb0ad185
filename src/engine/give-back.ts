import type { RunCommit } from '../store/store.ts'

/** A part that does nothing but give a run's lease back: whoever claims it in `wakeInMs` goes on with it. */
export function giveBack(
  { runId, epoch, seq }: Pick<RunCommit, 'runId' | 'epoch' | 'seq'>,
  wakeInMs: number,
  why: Pick<RunCommit, 'note' | 'resumeFailures'>,
): RunCommit {
  return { runId, epoch, seq, create: null, outcomes: [], opens: [], next: { kind: 'park', wakeInMs }, ...why }
}
