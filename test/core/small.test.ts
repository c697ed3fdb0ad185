import { GraphQLError } from 'graphql'
import { describe, expect, it } from 'vitest'
import { toMs } from '../../src/core/duration.ts'
import { DurableError, ERROR_CODES, StepError } from '../../src/core/errors.ts'
import { matches } from '../../src/core/match.ts'
import { systemClock } from '../../src/core/system-clock.ts'

describe('toMs', () => {
  it.each([
    [0, 0],
    [1.5, 1.5],
    ['250ms', 250],
    ['30s', 30_000],
    ['5m', 300_000],
    ['2h', 7_200_000],
    ['3d', 259_200_000],
    ['1w', 604_800_000],
    ['1.5h', 5_400_000],
    ['100', 100],
    [8.64e15, 8.64e15],
    [8.64e15 + 2, 8.64e15],
    [Number.MAX_SAFE_INTEGER, 8.64e15],
    [1e300, 8.64e15],
    ['9999999y', 8.64e15],
  ])('%j is %d ms', (duration, ms) => {
    expect(toMs(duration)).toBe(ms)
  })

  it.each([-1, Number.NaN, Infinity, '', ' ', 'soon', '-5s', '5 parsecs', null, undefined, {}, '1'.repeat(200)])(
    '%j is none, and the message names the option',
    (nonsense) => {
      expect(() => toMs(nonsense as string, 'hold')).toThrow(TypeError)
      expect(() => toMs(nonsense as string, 'hold')).toThrow('Expected hold to be milliseconds or a text')
    },
  )
})

describe('matches', () => {
  it.each([
    [{}, { a: 1 }],
    [{ a: 1 }, { a: 1, b: 2 }],
    [{ a: { b: { c: 1 } } }, { a: { b: { c: 1, d: 2 } } }],
    [{ a: [1, { b: 2 }] }, { a: [1, { b: 2, c: 3 }] }],
    [{ a: null }, { a: null }],
    [{ n: Number.NaN }, { n: Number.NaN }],
  ])('%j is in %j', (pattern, value) => {
    expect(matches(pattern, value)).toBe(true)
  })

  it.each([
    [{ a: 1 }, { a: '1' }],
    [{ a: 1 }, { b: 1 }],
    [{ a: 1 }, null],
    [{ a: 1 }, 'a'],
    [{ a: {} }, { a: null }],
    [{ a: [1] }, { a: [1, 2] }],
    [{ a: [1, 2] }, { a: [2, 1] }],
    [{ a: { 0: 1 } }, { a: [1] }],
    [{ a: [] }, { a: {} }],
    [{ a: null }, { a: undefined }],
    [{ toString: {} }, {}],
    [{ a: undefined }, {}],
    [{ zero: 0 }, { zero: -0 }],
  ])('%j is not in %j', (pattern, value) => {
    expect(matches(pattern, value)).toBe(false)
  })
})

describe('errors', () => {
  it('have a code of the table, in extensions as well, and what the table says of retrying', () => {
    for (const code of Object.keys(ERROR_CODES) as (keyof typeof ERROR_CODES)[]) {
      const error = new DurableError(code, 'message')
      expect(error).toBeInstanceOf(GraphQLError)
      expect(error).toMatchObject({ code, retryable: ERROR_CODES[code].retryable, extensions: { code } })
    }
  })

  it('do not show their cause to clients', () => {
    const error = new DurableError('DURABLE_TOO_LARGE', 'x', { cause: new Error('secret'), extensions: { runId: 'r' } })
    expect(error.cause).toMatchObject({ message: 'secret' })
    expect(JSON.stringify(error)).not.toContain('secret')
    expect(Object.keys(error)).not.toContain('cause')
    expect(error.toJSON().extensions).toEqual({ runId: 'r', code: 'DURABLE_TOO_LARGE' })
  })

  it('of a step count its attempts', () => {
    expect(new StepError('charge', 1, null).message).toBe('Step "charge" failed after 1 attempt.')
    expect(new StepError('charge', 4, null).message).toBe('Step "charge" failed after 4 attempts.')
  })
})

describe('the system clock', () => {
  it('does not fire timers at once that are longer than the platform can take', async () => {
    let fired = false
    const timer = systemClock.setTimeout(() => (fired = true), 2 ** 31 + 1000)
    await new Promise<void>((resolve) => void systemClock.setTimeout(resolve, 5))
    timer.cancel()
    expect(fired).toBe(false)
  })

  it('makes ids of 128 bits', () => {
    const ids = new Set(Array.from({ length: 100 }, () => systemClock.randomId()))
    expect(ids.size).toBe(100)
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{32}$/)
  })
})
