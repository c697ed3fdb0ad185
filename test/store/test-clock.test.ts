import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/core/system-clock.ts'
import { createTestClock } from '../../src/testing.ts'
import type { TestClock } from '../../src/testing.ts'

describe('createTestClock', () => {
  it('stands still until it is moved, and takes durations as text', async () => {
    const clock = createTestClock({ now: 1_000 })
    expect(clock.now()).toBe(1_000)
    await clock.advance('2s')
    expect(clock.now()).toBe(3_000)
    await expect(clock.advance(-1)).rejects.toThrow(TypeError)
  })

  it('fires timers in the order in which they are due, each at its own instant', async () => {
    const clock = createTestClock({ now: 0 })
    const fired: [string, number][] = []
    const note = (name: string) => () => void fired.push([name, clock.now()])
    clock.setTimeout(note('c'), 30)
    clock.setTimeout(note('a'), 10)
    clock.setTimeout(note('b1'), 20)
    clock.setTimeout(note('b2'), 20)
    clock.setTimeout(note('never'), 15).cancel()
    expect(clock.pending).toBe(4)
    expect(clock.nextAt).toBe(10)
    await clock.advance(25)
    expect(fired).toEqual([['a', 10], ['b1', 20], ['b2', 20]]) // prettier-ignore
    expect([clock.now(), clock.pending]).toEqual([25, 1])
    await clock.advance(5)
    expect(fired.at(-1)).toEqual(['c', 30])
  })

  it('fires timers that timers set, and lets promises, ticks and immediates come to rest in between', async () => {
    const clock = createTestClock({ now: 0 })
    const seen: number[] = []
    const rounds = async (): Promise<void> => {
      for (let round = 0; round < 3; round++) {
        await new Promise<void>((resolve) => clock.setTimeout(resolve, 10))
        await Promise.resolve()
        await new Promise<void>((resolve) => process.nextTick(resolve))
        await new Promise<void>((resolve) => setImmediate(resolve))
        seen.push(clock.now())
      }
    }
    const finished = rounds()
    await clock.advance(100)
    expect(seen).toEqual([10, 20, 30])
    await finished
  })

  it('fires what is due at once on the next movement, also one of no length', async () => {
    const clock = createTestClock()
    let fired = 0
    clock.setTimeout(() => fired++, 0)
    expect(fired).toBe(0)
    await clock.advance(0)
    expect(fired).toBe(1)
  })

  it('makes one movement at a time', async () => {
    const clock = createTestClock({ now: 0 })
    const fired: number[] = []
    for (const delay of [5, 15]) clock.setTimeout(() => fired.push(clock.now()), delay)
    await Promise.all([clock.advance(10), clock.advance(10)])
    expect([clock.now(), fired]).toEqual([20, [5, 15]])
  })

  it('tells what a timer throws to whoever moved it, and goes on working', async () => {
    const clock = createTestClock({ now: 0 })
    clock.setTimeout(() => {
      throw new Error('on purpose')
    }, 5)
    await expect(clock.advance(10)).rejects.toThrow('on purpose')
    await clock.advance(10)
    expect(clock.pending).toBe(0)
  })

  it('runs until no timer is left, within bounds', async () => {
    const clock = createTestClock({ now: 0 })
    clock.setTimeout(() => clock.setTimeout(() => {}, 1_000), 1_000)
    await clock.runAll()
    expect([clock.now(), clock.pending]).toEqual([2_000, 0])
    const again = (): void => void clock.setTimeout(again, 60_000)
    again()
    await clock.runAll('1h')
    expect([clock.now(), clock.pending]).toEqual([3_602_000, 1])
  })

  it('draws the same values from the same seed, and others from another', () => {
    const draw = (seed: number): unknown[] => {
      const clock = createTestClock({ seed })
      return [clock.random(), clock.randomId(), clock.random(), clock.randomId()]
    }
    expect(draw(7)).toEqual(draw(7))
    expect(draw(7)).not.toEqual(draw(8))
    expect(draw(7)[1]).toMatch(/^[0-9a-f]{32}$/)
    const clock = createTestClock()
    const values = Array.from({ length: 1_000 }, () => clock.random())
    expect(values.every((value) => value >= 0 && value < 1)).toBe(true)
    expect(new Set(values).size).toBeGreaterThan(990)
  })
})

describe('upkeep on a test clock', () => {
  /** Calls back again and again, and notes when. */
  function every(clock: TestClock, ms: number, rank: number, calls: [number, number][] = []): [number, number][] {
    const again = (): void => {
      calls.push([rank, clock.now()])
      clock.setUpkeep?.(again, ms, rank)
    }
    clock.setUpkeep?.(again, ms, rank)
    return calls
  }

  it('is on time while anything happens, and for a minute after', async () => {
    const clock = createTestClock({ now: 0 })
    const calls = every(clock, 500, 0)
    clock.setTimeout(() => {}, 30_000)
    await clock.advance('90s')
    expect(calls).toEqual(Array.from({ length: 180 }, (_, index) => [0, (index + 1) * 500]))
  })

  it('is left out in idle times, the longer they are, and has caught up when they are over', async () => {
    const clock = createTestClock({ now: 0 })
    const calls = every(clock, 500, 0)
    await clock.advance('30d')
    expect(calls.length).toBeLessThan(400)
    expect(clock.now() - Number(calls.at(-1)?.[1])).toBeLessThan(500)
    for (const [index, [, at]] of calls.entries()) {
      const before = calls[index - 1]?.[1] ?? 0
      expect(at - before).toBeLessThanOrEqual(500 + Math.max(0, before - 60_000) / 8 + 100)
    }
  })

  it('comes before any other timer of the instant that it was late for, in the order of its ranks', async () => {
    const clock = createTestClock({ now: 0 })
    const calls: [number, number][] = []
    every(clock, 1000, 1, calls)
    every(clock, 1700, 0, calls)
    clock.setTimeout(() => calls.push([9, clock.now()]), 6 * 3_600_000 + 1)
    await clock.advance('1d')
    const at = calls.findIndex(([rank]) => rank === 9)
    expect(calls.slice(at - 2, at + 1)).toEqual([0, 1, 9].map((rank) => [rank, 21_600_001]))
  })

  it('can be cancelled by what comes before it', async () => {
    const clock = createTestClock({ now: 0 })
    const fired: string[] = []
    const later = clock.setUpkeep?.(() => fired.push('later'), 3_600_000, 1)
    every(clock, 500, 2)
    clock.setUpkeep?.(() => (fired.push('first'), later?.cancel()), 3_599_000, 0)
    await clock.advance('2h')
    expect(fired).toEqual(['first'])
  })
})

describe('systemClock', () => {
  it('takes delays beyond what a timer of the platform takes', async () => {
    let fired = false
    const timer = systemClock.setTimeout(() => (fired = true), 2 ** 31 + 1_000)
    await new Promise<void>((resolve) => setTimeout(resolve, 20))
    timer.cancel()
    expect(fired).toBe(false)
  })

  it('calls back once, and not after it was cancelled', async () => {
    const fired: string[] = []
    systemClock.setTimeout(() => fired.push('cancelled'), 1).cancel()
    await new Promise<void>((resolve) => systemClock.setTimeout(resolve, 20))
    expect(fired).toEqual([])
  })

  it('makes ids of 128 random bits', () => {
    expect(systemClock.randomId()).toMatch(/^[0-9a-f]{32}$/)
    expect(systemClock.randomId()).not.toBe(systemClock.randomId())
  })
})
