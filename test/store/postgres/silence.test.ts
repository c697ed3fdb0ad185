import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { Silence } from '../../../src/store/postgres/silence.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const TOLERATED_MS = 1_500

/** Beats, each answered after so long unless it is broken first; how many were. */
async function brokenOf(answersAfterMs: readonly number[]): Promise<number> {
  let breaks = 0
  let broken = Promise.withResolvers<never>()
  const silence = new Silence({
    toleratedMs: TOLERATED_MS,
    onSilence() {
      breaks++
      broken.reject(new Error('cut'))
    },
  })
  for (const ms of answersAfterMs) {
    broken = Promise.withResolvers()
    const answer = new Promise<void>((resolve) => setTimeout(resolve, ms))
    const beat = silence.broken(() => Promise.race([answer, broken.promise])).catch(() => {})
    await vi.advanceTimersByTimeAsync(ms)
    await beat
  }
  return breaks
}

it('A server that is slow all the time is cut off until it gets its chance, and not again', async () => {
  expect(await brokenOf(Array.from({ length: 20 }, () => 2_000))).toBe(1)
  expect(await brokenOf(Array.from({ length: 20 }, () => 10_000))).toBe(3)
})

it('A server that was slow and is fast again is noticed as soon as ever when it is lost', async () => {
  expect(await brokenOf([2_000, 2_000, 10, 1_600])).toBe(2)
})

it('An answer in time changes nothing, however long it took', async () => {
  expect(await brokenOf([1_400, 1_400, 1_600])).toBe(1)
})
