import { toMs } from './duration.ts'
import type { Duration } from './duration.ts'
import { isGraphQLError } from './codec.ts'
import { DurableError, NonRetriableError, RetryAfterError } from './errors.ts'
import { Refusal } from './refusals.ts'

export interface Backoff {
  readonly initialMs: number
  readonly factor: number
  readonly maxMs: number
  readonly jitter: 'full' | 'none'
}

export interface RetryPolicy {
  /** After the first attempt. */
  readonly retries: number
  readonly backoff: Backoff
  readonly retryIf: (error: unknown) => boolean
}

export const DEFAULT_BACKOFF: Backoff = { initialMs: 1000, factor: 2, maxMs: 15 * 60_000, jitter: 'full' }

/** Everything but what says of itself that trying again is of no use. */
export function retryByDefault(error: unknown): boolean {
  if (error instanceof DurableError) return error.retryable
  return !(error instanceof NonRetriableError) && !isGraphQLError(error)
}

/** The delay before attempt `attempt + 1`. Full jitter: anywhere between 0 and the exponential value. */
export function backoffMs(attempt: number, backoff: Backoff, random: () => number): number {
  if (backoff.initialMs === 0) return 0 // and not 0 times the infinity that many attempts come to
  const ceiling = Math.min(backoff.maxMs, backoff.initialMs * backoff.factor ** (attempt - 1))
  return backoff.jitter === 'full' ? random() * ceiling : ceiling
}

export type Verdict = { readonly retryInMs: number } | 'final'

/** What follows after attempt number `attempt` (from 1) threw. */
export function judgeFailure(
  error: unknown,
  attempt: number,
  policy: RetryPolicy,
  clock: { now(): number; random(): number },
): Verdict {
  if (attempt > policy.retries || error instanceof NonRetriableError || !policy.retryIf(error)) return 'final'
  if (error instanceof RetryAfterError) return { retryInMs: afterMs(error.after, clock.now()) }
  return { retryInMs: backoffMs(attempt, policy.backoff, () => clock.random()) }
}

function afterMs(after: Duration | Date, now: number): number {
  if (!(after instanceof Date)) return toMs(after, 'RetryAfterError.after')
  if (Number.isNaN(after.getTime())) throw new Refusal('Expected RetryAfterError.after to be a valid date.')
  return Math.max(0, after.getTime() - now)
}
