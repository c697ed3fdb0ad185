import type { Backoff } from './backoff.ts'
import { isSignal } from './checks.ts'
import { MAX_MS, toMs } from './duration.ts'
import { DurableError } from './errors.ts'
import { strictJson } from './json.ts'
import { MAX_BYTES } from './limits.ts'
import { assertWithin, count, optionalFunction, Refusal, show, someText, withOnly } from './refusals.ts'

/*
 * The arguments of the tools, checked before anything begins. Whatever makes no sense is a Refusal, which `call` makes a
 * DURABLE_STEP_MISUSED of. An option that is undefined counts as absent; nothing else does.
 */

/** What a step says itself; the rest is its field's, or the instance's. */
export interface RunOverrides {
  readonly retries?: number
  readonly backoff: Partial<Backoff>
  readonly retryIf?: (error: unknown) => boolean
  readonly timeoutMs?: number
}

const RUN_OPTIONS = ['retries', 'backoff', 'timeout', 'retryIf']

export function readRunOptions(options: unknown): RunOverrides {
  if (options === undefined) return { backoff: {} }
  const { retries, backoff, timeout, retryIf } = withOnly(
    options as Record<string, unknown>,
    RUN_OPTIONS,
    'its options',
  )
  return {
    ...(retries !== undefined && { retries: count(retries, 'retries') }),
    backoff: readBackoff(backoff),
    ...(timeout !== undefined && { timeoutMs: positiveMs(timeout, 'timeout') }),
    ...(retryIf !== undefined && { retryIf: optionalFunction(retryIf, 'retryIf') as (error: unknown) => boolean }),
  }
}

export function readBackoff(options: unknown): Partial<Backoff> {
  if (options === undefined) return {}
  const given = withOnly(options as Record<string, unknown>, ['initial', 'factor', 'max', 'jitter'], 'backoff')
  const { initial, factor, max, jitter } = given
  return {
    ...(initial !== undefined && { initialMs: toMs(initial as never, 'backoff.initial') }), // toMs refuses every other type
    ...(factor !== undefined && { factor: factorOf(factor) }),
    ...(max !== undefined && { maxMs: toMs(max as never, 'backoff.max') }),
    ...(jitter !== undefined && { jitter: jitterOf(jitter) }),
  }
}

function factorOf(factor: unknown): number {
  if (typeof factor === 'number' && factor >= 1 && Number.isFinite(factor)) return factor
  throw new Refusal(`Expected backoff.factor to be a number from 1, but got ${show(factor)}.`)
}

function jitterOf(jitter: unknown): Backoff['jitter'] {
  if (jitter === 'full' || jitter === 'none') return jitter
  throw new Refusal(`Expected backoff.jitter to be 'full' or 'none', but got ${show(jitter)}.`)
}

export function positiveMs(duration: unknown, what: string): number {
  const ms = toMs(duration as never, what) // refuses what is no duration, whatever its type
  if (ms > 0) return ms
  throw new Refusal(`Expected ${what} to be longer than nothing, but got ${show(duration)}.`)
}

/** A text has to name a year: of `'5'` or `'1d'`, Date.parse makes something as well. */
const HAS_A_YEAR = /\d{4}/

export function instantOf(date: unknown): number {
  const isText = typeof date === 'string' && HAS_A_YEAR.test(date)
  if (isText || typeof date === 'number' || date instanceof Date) {
    const instant = typeof date === 'number' ? withinDates(date) : new Date(date).getTime()
    if (!Number.isNaN(instant)) return instant
  }
  throw new Refusal(
    `Expected the end of a sleep to be a Date, milliseconds since 1970 or a text such as '2026-11-25T09:00:00Z', but got ${date instanceof Date ? 'an invalid Date' : show(date)}.`,
  )
}

/** Beyond the last date is practically never, as it is for durations. */
function withinDates(instant: number): number {
  return Number.isFinite(instant) ? Math.min(Math.max(instant, -MAX_MS), MAX_MS) : Number.NaN
}

export interface EventWait {
  readonly event: string
  readonly match: string | null
  readonly forMs: number | null
  readonly signal: AbortSignal | undefined
}

const WAIT_OPTIONS = ['event', 'match', 'timeout', 'signal']
const MATCH_BOUND = { maxBytes: MAX_BYTES.match }

export function readEventWait(id: string, options: unknown): EventWait {
  const given = withOnly(options as Record<string, unknown>, WAIT_OPTIONS, 'its options')
  const { event, match, timeout, signal } = given
  const name = someText(event, "the event's name")
  assertWithin(name, MAX_BYTES.eventName, "the event's name")
  return {
    event: name,
    match: match === undefined ? null : readMatch(id, match),
    forMs: timeout === undefined ? null : toMs(timeout as never, 'timeout'),
    signal: signal === undefined ? undefined : signalOf(signal),
  }
}

function readMatch(id: string, match: unknown): string {
  if (typeof match !== 'object' || match === null || Array.isArray(match)) {
    throw new Refusal(`Expected match to be an object, but got ${show(match)}. Without one every event matches.`)
  }
  try {
    return strictJson(match, `the match of step "${id}"`, MATCH_BOUND)
  } catch (error) {
    if (!(error instanceof DurableError) || error.code !== 'DURABLE_NOT_SERIALIZABLE') throw error
    throw new Refusal(error.message)
  }
}

function signalOf(signal: unknown): AbortSignal {
  isSignal(signal, 'signal')
  return signal as AbortSignal // checked
}
