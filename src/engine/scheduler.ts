import { AsyncLocalStorage } from 'node:async_hooks'

/** Runs a function outside of every AsyncLocalStorage of the user's: what the engine does by itself belongs to no request. */
export const outsideOfRequests = AsyncLocalStorage.snapshot()

/** Runs a function once the microtasks have drained, which costs no turn of the event loop: what is asked for in one go is one. */
export function onceDrained(run: () => void): void {
  outsideOfRequests(() => queueMicrotask(() => process.nextTick(run)))
}

/** Resolves in a later turn of the event loop: everybody else gets one. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
