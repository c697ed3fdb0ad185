/**
 * Where the engine takes its time, its timers and its randomness from. All of it comes from here, so that a test can
 * drive a thousand runs through hours in one second, repeatably.
 */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number
  /** Calls back once, no earlier than in `delayMs`. Delays beyond 2^31−1 ms are allowed. */
  setTimeout(callback: () => void, delayMs: number): Timer
  /** A number in [0, 1). */
  random(): number
  /** 128 random bits as 32 hexadecimal digits. */
  randomId(): string
}

export interface Timer {
  cancel(): void
}

/** Resolves when so much time has passed on that clock. */
export function sleep(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => clock.setTimeout(resolve, ms))
}
