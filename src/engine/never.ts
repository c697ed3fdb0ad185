/** One for each: what waits for a promise that all share would be kept for as long as the process lives. */
export function never(): Promise<never> {
  return new Promise(() => {})
}
