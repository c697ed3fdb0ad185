import ms from 'ms'
import { Refusal, show } from './refusals.ts'

/** Milliseconds, or a text such as `'250ms'`, `'30s'`, `'5m'`, `'2h'`, `'3d'`, `'1w'`. */
export type Duration = number | string

/** No two dates are further apart, and no store's clock counts further. */
const MAX_MS = 8.64e15

/**
 * A duration in milliseconds.
 *
 * @throws Refusal where it is negative, not finite, or not a duration at all.
 */
export function toMs(duration: Duration, what = 'duration'): number {
  const value = typeof duration === 'number' ? duration : parse(duration)
  if (value >= 0 && value <= MAX_MS) return value
  throw new Refusal(
    `Expected ${what} to be milliseconds or a text such as '250ms', '30s', '5m', '2h', '3d' or '1w', but got ${show(duration)}.`,
  )
}

function parse(text: string): number {
  // `ms` throws on the empty string and answers NaN or undefined on other nonsense.
  if (typeof text !== 'string' || text.trim() === '') return Number.NaN
  return ms(text as ms.StringValue) ?? Number.NaN
}
