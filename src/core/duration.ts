import ms from 'ms'
import { Refusal, show } from './refusals.ts'

/** Milliseconds, or a text such as `'250ms'`, `'30s'`, `'5m'`, `'2h'`, `'3d'`, `'1w'`. */
export type Duration = number | string

/** From 1970 to the last date that there is, in milliseconds: no store's clock counts further. */
export const MAX_MS = 8.64e15

/**
 * A duration in milliseconds. One that is longer than a date can tell (`Number.MAX_SAFE_INTEGER`) is the longest there
 * is, which is practically never.
 *
 * @throws Refusal where it is negative, not finite, or not a duration at all.
 */
export function toMs(duration: Duration, what = 'duration'): number {
  const value = typeof duration === 'number' ? duration : parse(duration)
  if (value >= 0 && value < Infinity) return Math.min(value, MAX_MS)
  throw new Refusal(
    `Expected ${what} to be milliseconds or a text such as '250ms', '30s', '5m', '2h', '3d' or '1w', but got ${show(duration)}.`,
  )
}

function parse(text: string): number {
  // `ms` throws on the empty string and answers NaN or undefined on other nonsense.
  if (typeof text !== 'string' || text.trim() === '') return Number.NaN
  return ms(text as ms.StringValue) ?? Number.NaN
}
