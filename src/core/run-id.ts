/** Whether it may be a run's id at all. Anything else never reaches a store. */
export function isRunId(id: unknown): id is string {
  return typeof id === 'string' && /^run_[\w-]{1,64}$/.test(id)
}
