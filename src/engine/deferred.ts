import type { ExecutionResult, GraphQLError } from 'graphql'
import type { WaitSnapshot } from '../types.ts'
import type { Operation } from './operation.ts'

/**
 * The deferred payload: what the executor could answer, an entry for each pending field, and where to go on. Entries
 * replace whatever stands at their paths, since masking may have made something else of them.
 */
export function deferredResult(operation: Operation, result: ExecutionResult): ExecutionResult {
  const byPath = new Map(operation.deferred.map((entry) => [JSON.stringify(entry.path), entry]))
  const entries = [...byPath.values()]
  const known = new Set<GraphQLError | undefined>(entries)
  const isEntry = (error: GraphQLError | undefined): boolean =>
    known.has(error) || byPath.has(JSON.stringify(error?.path))
  const given = result.errors ?? []
  // A masking may have taken the paths as well: what it made of an entry stands where the entry stood.
  const executed = operation.executed?.errors ?? []
  const isMasked = (index: number): boolean => executed.length === given.length && isEntry(executed[index])
  const others = given.filter((error, index) => !isEntry(error) && !isMasked(index))
  const errors = [...others, ...entries]
  // A run that was never stored is nobody's to follow (I4).
  const run = operation.followed
  if (!run) return { ...result, data: result.data ?? null, errors }
  return {
    ...result,
    data: result.data ?? null,
    errors,
    extensions: {
      ...result.extensions,
      runId: run.runId,
      durable: {
        status: operation.endStatus ?? run.status,
        retryAfterMs: retryAfterMs(run.waitingOn, operation.engine.storeNow()),
        waitingOn: run.waitingOn.map(formatWait),
      },
    },
  }
}

/** A wait as clients see it, without what does not apply to its kind. */
export function formatWait({ path, responsePath, step, kind, event, until }: WaitSnapshot): Record<string, unknown> {
  return {
    path,
    responsePath,
    step,
    kind,
    ...(event !== null && { event }),
    ...(until !== null && { until: until.toISOString() }),
  }
}

const MIN_RETRY_AFTER_MS = 1000
const MAX_RETRY_AFTER_MS = 60_000

/** When polling again makes sense: at the next known end, or soon where somebody else decides. */
export function retryAfterMs(waits: readonly Pick<WaitSnapshot, 'kind' | 'until'>[], now: number): number {
  const ends = waits.map(({ kind, until }) =>
    until && (kind === 'SLEEP' || kind === 'RETRY') ? until.getTime() - now : 0,
  )
  const next = ends.length === 0 ? 0 : ends.reduce((least, end) => Math.min(least, end))
  return Math.ceil(Math.min(MAX_RETRY_AFTER_MS, Math.max(MIN_RETRY_AFTER_MS, next)))
}
