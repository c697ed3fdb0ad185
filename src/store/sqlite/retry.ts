import { isBusy } from './errors.ts'

/** 1, 2, 4 … ms: most transactions are over within one; the cap keeps the wait after a long one short. */
const FIRST_DELAY_MS = 1
const MAX_DELAY_MS = 20

/**
 * Tries again while another process has the write lock. The driver's own busy timeout would block the event loop for
 * as long (1.5 s were measured). These are real milliseconds, whatever the store's clock is: the other process knows
 * no test clock. The first attempt is made at once, synchronously.
 */
export async function retryWhileBusy<T>(attempt: () => T, limitMs: number): Promise<T> {
  const giveUpAt = performance.now() + limitMs
  for (let delayMs = FIRST_DELAY_MS; ; delayMs = Math.min(delayMs * 2, MAX_DELAY_MS)) {
    try {
      return attempt()
    } catch (error) {
      if (!isBusy(error) || performance.now() >= giveUpAt) throw error
    }
    await new Promise<void>((resolve) => setTimeout(resolve, delayMs))
  }
}
