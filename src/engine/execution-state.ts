/**
 * What a run's execution is in this process. The journal belongs to whoever holds the lease (I3), and so does the
 * right to start anything:
 *
 * - `live`: the lease is ours. Steps start, outcomes are committed; also after the answer, while steps are unfinished.
 * - `parking`: a commit that gives the lease back is under way. What wants to start waits for its answer. Leaves to
 *   `live` where the store rejects it, and the run has to end instead.
 * - `parked`: the lease is given back, the promises are kept (hot). What wants to start claims the run first. Leaves
 *   to `live` by a claim under the epoch it was parked with, to `over` by any other, or by eviction.
 * - `ending`: the run's end is being committed. Nothing starts any more. Leaves to `live` where the store rejects the
 *   result, and the run has to end with another.
 * - `over`: the run has ended, or is somebody else's, or this process gave up on it. Nothing is ever settled again
 *   (I12); signals are aborted.
 */
export type ExecutionState = 'live' | 'parking' | 'parked' | 'ending' | 'over'

export const TRANSITIONS: Readonly<Record<ExecutionState, readonly ExecutionState[]>> = {
  live: ['parking', 'ending', 'over'],
  parking: ['parked', 'live', 'over'],
  parked: ['live', 'over'],
  ending: ['live', 'over'],
  over: [],
}

/** @throws Error where there is no such transition: an execution would start things that are not its own any more. */
export function assertTransition(from: ExecutionState, to: ExecutionState): void {
  if (TRANSITIONS[from].includes(to)) return
  throw new Error(`Expected an execution that is ${from} to become ${TRANSITIONS[from].join(' or ')}, but got ${to}.`)
}
