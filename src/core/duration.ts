import ms from 'ms'

/** Milliseconds, or a text such as `'250ms'`, `'30s'`, `'5m'`, `'2h'`, `'3d'`, `'1w'`. */
export type Duration = number | string

/**
 * A duration in milliseconds.
 *
 * @throws TypeError where it is negative, not finite, or not a duration at all.
 */
export function toMs(duration: Duration, what = 'duration'): number {
  const value = typeof duration === 'number' ? duration : parse(duration)
  if (!Number.isFinite(value) || value < 0) {
    throw new TypeError(
      `Expected ${what} to be milliseconds or a text such as '250ms', '30s', '5m', '2h', '3d' or '1w', but got ${JSON.stringify(duration) ?? String(duration)}.`,
    )
  }
  return value
}

function parse(text: string): number {
  // `ms` throws on the empty string and answers NaN or undefined on other nonsense.
  if (typeof text !== 'string' || text.trim() === '') return Number.NaN
  return ms(text as ms.StringValue) ?? Number.NaN
}
