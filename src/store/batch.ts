import type { RunCommit } from './store.ts'
import { StoreError } from './store.ts'

/** For drivers. The receipt speaks for a run as a whole, and so two parts of one run could not be told apart in it. */
export function assertOnePartARun(batch: readonly RunCommit[]): void {
  const seen = new Set<string>()
  for (const { runId } of batch) {
    if (seen.has(runId)) {
      throw new StoreError('rejected', `Expected one part for a run in a batch, but got two for ${runId}. Merge them.`)
    }
    seen.add(runId)
  }
}
