import type { Clock, Timer } from './clock.ts'

/** The longest delay that a timer of the platform takes; beyond it, it would fire at once. */
const MAX_DELAY_MS = 2 ** 31 - 1

/** The real clock. Its timers keep the process alive until they have fired or are cancelled. */
export const systemClock: Clock = {
  now: () => Date.now(),
  setTimeout: startTimer,
  random: () => Math.random(),
  randomId: () =>
    Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join(''),
}

function startTimer(callback: () => void, delayMs: number): Timer {
  let handle: ReturnType<typeof setTimeout>
  // Long delays are chained out of timers that the platform can take.
  const start = (remainingMs: number): void => {
    const stretchMs = Math.min(remainingMs, MAX_DELAY_MS)
    handle = setTimeout(() => {
      if (remainingMs > stretchMs) start(remainingMs - stretchMs)
      else callback()
    }, stretchMs)
  }
  start(delayMs)
  return { cancel: () => clearTimeout(handle) }
}
