import { GraphQLError } from 'graphql'
import { describe, expect, it } from 'vitest'
import { backoffMs, DEFAULT_BACKOFF, judgeFailure, retryByDefault } from '../../src/core/backoff.ts'
import { DurableError, NonRetriableError, RetryAfterError } from '../../src/core/errors.ts'

const plain = { ...DEFAULT_BACKOFF, jitter: 'none' } as const
const clock = { now: () => 1000, random: () => 0.5 }
const policy = { retries: 2, backoff: plain, retryIf: retryByDefault }

describe('backoffMs', () => {
  it('doubles from one second to fifteen minutes by default', () => {
    const delays = [1, 2, 3, 10, 11, 50, 5000].map((attempt) => backoffMs(attempt, plain, () => 1))
    expect(delays).toEqual([1000, 2000, 4000, 512_000, 900_000, 900_000, 900_000])
  })

  it('draws from the whole range with full jitter', () => {
    expect([0, 0.25, 0.999].map((drawn) => backoffMs(3, DEFAULT_BACKOFF, () => drawn))).toEqual([0, 1000, 3996])
  })
})

describe('judgeFailure', () => {
  it('tries again until the retries are used up', () => {
    expect([1, 2, 3].map((attempt) => judgeFailure(new Error('x'), attempt, policy, clock))).toEqual([
      { retryInMs: 1000 },
      { retryInMs: 2000 },
      'final',
    ])
    expect(judgeFailure(new Error('x'), 1, { ...policy, retries: 0 }, clock)).toBe('final')
  })

  it('obeys errors that say of themselves when or whether to try again, NonRetriableError before retryIf', () => {
    const always = { ...policy, retryIf: () => true }
    expect(judgeFailure(new NonRetriableError('x'), 1, always, clock)).toBe('final')
    expect(judgeFailure(new RetryAfterError('x', '5s'), 1, policy, clock)).toEqual({ retryInMs: 5000 })
    expect(judgeFailure(new RetryAfterError('x', new Date(3000)), 1, policy, clock)).toEqual({ retryInMs: 2000 })
    expect(judgeFailure(new RetryAfterError('x', new Date(0)), 1, policy, clock)).toEqual({ retryInMs: 0 })
    expect(judgeFailure(new RetryAfterError('x', '5s'), 3, policy, clock)).toBe('final')
    expect(judgeFailure(new GraphQLError('x'), 1, always, clock)).toEqual({ retryInMs: 1000 })
  })

  it('throws where an after is no time', () => {
    expect(() => judgeFailure(new RetryAfterError('x', 'soon'), 1, policy, clock)).toThrow('RetryAfterError.after')
    expect(() => judgeFailure(new RetryAfterError('x', new Date(Number.NaN)), 1, policy, clock)).toThrow(TypeError)
  })

  it('tries again by default what may pass: everything but GraphQLErrors and what is not retryable', () => {
    expect(retryByDefault(new Error('x'))).toBe(true)
    expect(retryByDefault('text')).toBe(true)
    expect(retryByDefault(undefined)).toBe(true)
    expect(retryByDefault(new GraphQLError('x'))).toBe(false)
    expect(retryByDefault(new NonRetriableError('x'))).toBe(false)
    expect(retryByDefault(new DurableError('DURABLE_STEP_TIMEOUT', 'x'))).toBe(true)
    expect(retryByDefault(new DurableError('DURABLE_STEP_MISUSED', 'x'))).toBe(false)
  })
})
