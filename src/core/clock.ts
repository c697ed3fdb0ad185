/**
 * Where the engine takes its time, its timers and its randomness from. All of it comes from here, so that a test can
 * drive a thousand runs through hours in one second, repeatably.
 */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number
  /** Calls back once, no earlier than in `delayMs`. Delays beyond 2^31−1 ms are allowed. */
  setTimeout(callback: () => void, delayMs: number): Timer
  /**
   * As `setTimeout`, for what is done again and again whether or not anything happens: beats, polls, pruning. A clock
   * that can leap over idle time need not stop for each of them. Where it does not stop, it calls them late, but before
   * any other timer of that instant, and those of a lower `rank` first. Optional: without it they are timers as others.
   */
  setUpkeep?(callback: () => void, delayMs: number, rank: number): Timer
  /** A number in [0, 1). */
  random(): number
  /** 128 random bits as 32 hexadecimal digits. */
  randomId(): string
}

export interface Timer {
  cancel(): void
}

/** Beats come before whatever may find that a process has not beaten. */
export const UPKEEP = { beat: 0, reap: 1, prune: 2, poll: 3 } as const

export function setUpkeep(clock: Clock, callback: () => void, delayMs: number, rank: number): Timer {
  return clock.setUpkeep?.(callback, delayMs, rank) ?? clock.setTimeout(callback, delayMs)
}

/** Resolves when so much time has passed on that clock. */
export function sleep(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => clock.setTimeout(resolve, ms))
}
