import { checkAll, isNumber } from '../core/checks.ts'
import type { Clock, Timer } from '../core/clock.ts'
import { type Duration, toMs } from '../core/duration.ts'

export interface TestClockOptions {
  /** The instant it starts at, in milliseconds since the epoch. Default: 2026-01-01T00:00:00Z. */
  readonly now?: number
  /** Of `random` and `randomId`: the same seed gives the same values. Default: 1. */
  readonly seed?: number
}

/** A clock that stands still until a test moves it. */
export interface TestClock extends Clock {
  /** How many timers have not fired yet. */
  readonly pending: number
  /** When the next timer is due; null where there is none. */
  readonly nextAt: number | null
  /**
   * Moves time forward. Timers fire in the order in which they are due, each at its own instant, and before and after
   * each of them everything that is already under way in memory comes to rest. Calls made meanwhile queue up.
   *
   * Idle time costs next to nothing: when nothing but upkeep (beats, polls, pruning) has been due for a minute, upkeep
   * is called less and less often, late by up to an eighth of what has been idle since. Before any other timer fires, and
   * when time stands still again, it has caught up.
   */
  advance(duration: Duration): Promise<void>
  /** Goes from timer to timer until none is left, or until `max` has passed (default '1d'; time then stands there). */
  runAll(max?: Duration): Promise<void>
  /** Lets everything that is under way in memory come to rest, without moving time. */
  settle(): Promise<void>
}

interface PendingTimer {
  readonly at: number
  /** Of upkeep; null: it is none. */
  readonly rank: number | null
  readonly callback: () => void
}

/**
 * Turns of the event loop between two timers. One drains all microtasks and ticks; the others are for code that
 * itself yields by `setImmediate`, a writer that gathers a batch for instance.
 */
const SETTLE_TURNS = 5

/** For so long after anything has happened upkeep is on time: longer than leases usually are. */
const ON_TIME_MS = 60_000
/** After that it is late by so much of what has been idle since. */
const LATE_BY = 1 / 8

/** 2026-01-01T00:00:00Z */
const DEFAULT_NOW = 1_767_225_600_000

// Taken at once, so that fake timers which a test installs later do not stop this clock.
const realSetImmediate = setImmediate

export function createTestClock(options: TestClockOptions = {}): TestClock {
  checkAll<TestClockOptions>(options, { now: isNumber, seed: isNumber }, 'the options of createTestClock')
  let now = options.now ?? DEFAULT_NOW
  let moving: Promise<void> = Promise.resolve()
  const next32 = seededUint32(options.seed ?? 1)
  /** Ordered by `at`; of equal instants, the timer that was set first stands first. */
  const timers: PendingTimer[] = []

  function start(callback: () => void, delayMs: number, rank: number | null): Timer {
    const timer: PendingTimer = { at: now + Math.max(0, delayMs), rank, callback }
    const later = timers.findIndex((other) => other.at > timer.at)
    timers.splice(later < 0 ? timers.length : later, 0, timer)
    return { cancel: () => void remove(timer) }
  }

  function remove(timer: PendingTimer): boolean {
    const index = timers.indexOf(timer)
    if (index >= 0) timers.splice(index, 1)
    return index >= 0
  }

  async function fireUntil(target: number): Promise<void> {
    await settle()
    let idleSince = now
    for (let timer = timers[0]; timer && timer.at <= target; timer = timers[0]) {
      const stopAt = timer.rank === null ? timer.at : Math.min(stopFor(timer, idleSince), target)
      if (stopAt > timer.at) {
        await catchUp(stopAt)
        continue
      }
      timers.shift()
      now = timer.at
      timer.callback()
      await settle()
      if (timer.rank === null) idleSince = now
    }
  }

  /** When upkeep is called that is due: later and later, while nothing else happens. */
  function stopFor({ at }: PendingTimer, idleSince: number): number {
    const other = timers.find(({ rank }) => rank === null)
    const lateMs = Math.floor(Math.max(0, at - idleSince - ON_TIME_MS) * LATE_BY)
    return Math.min(at + lateMs, other?.at ?? Infinity)
  }

  /** Calls all upkeep that has come due by then, in the order of the ranks. */
  async function catchUp(stopAt: number): Promise<void> {
    now = stopAt
    const due = timers.filter(({ at, rank }) => rank !== null && at <= stopAt)
    const ranks = Map.groupBy(due, ({ rank }) => rank ?? 0)
    for (const rank of [...ranks.keys()].toSorted((one, other) => one - other)) {
      for (const timer of ranks.get(rank) ?? []) if (remove(timer)) timer.callback()
      await settle()
    }
  }

  /** One movement at a time: time never runs backwards, and no timer fires inside another's movement. */
  function move(movement: () => Promise<void>): Promise<void> {
    const moved = moving.then(movement)
    moving = moved.catch(() => {}) // the caller is told; the next movement is not
    return moved
  }

  return {
    now: () => now,
    setTimeout: (callback, delayMs) => start(callback, delayMs, null),
    setUpkeep: start,
    random: () => next32() / 2 ** 32,
    randomId: () => Array.from({ length: 4 }, () => next32().toString(16).padStart(8, '0')).join(''),
    get pending() {
      return timers.length
    },
    get nextAt() {
      return timers[0]?.at ?? null
    },
    async advance(duration) {
      const ms = toMs(duration, 'the time to advance')
      await move(async () => {
        const target = now + ms
        await fireUntil(target)
        now = target
      })
    },
    async runAll(max = '1d') {
      const ms = toMs(max, 'the time to advance at most')
      await move(async () => {
        const target = now + ms
        await fireUntil(target)
        if (timers.length > 0) now = target
      })
    },
    settle: () => move(settle),
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < SETTLE_TURNS; turn++) await new Promise<void>((resolve) => realSetImmediate(resolve))
}

/** Mulberry32: 32 bits of state are plenty for tests, and a seed is easy to quote. */
function seededUint32(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
}
