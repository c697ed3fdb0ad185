/** Whether it is a promise. One that nobody awaits must not end the process when it rejects. */
export function ignoreRejection(value: unknown, onRejected: (error: unknown) => void = () => {}): boolean {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false
  try {
    Promise.prototype.then.call(value, undefined, onRejected)
    return true
  } catch {
    // Other thenables (query builders) would begin their work if they were asked.
  }
  try {
    return typeof (value as { then?: unknown }).then === 'function'
  } catch {
    return false // a getter that throws is no promise's
  }
}
