/** Of the whole process: tells whether a function that has been called, and has returned, has called a tool. */
export const toolCalls = { made: 0 }

const keys = new WeakMap<PromiseLike<unknown>, string>()

/** A tool gives this promise for a call under that key. */
export function onToolCalled(promise: PromiseLike<unknown>, key: string): void {
  keys.set(promise, key)
  toolCalls.made++
}

/** The key under which a tool was called that gave this very promise. */
export function toolOf(promise: PromiseLike<unknown>): string | undefined {
  return keys.get(promise)
}
