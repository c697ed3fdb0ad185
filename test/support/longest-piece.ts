/**
 * Runs some work and tells for how long, at most, it held the event loop in one piece: of the processor's time, so that
 * what else the machine does in the meantime does not count.
 */
export async function longestPiece<T>(work: () => Promise<T>): Promise<{ readonly ms: number; readonly value: T }> {
  let ms = 0
  let isOver = false
  let last = cpuMs()
  const watch = (): void => {
    const now = cpuMs()
    ms = Math.max(ms, now - last)
    last = now
    if (!isOver) setImmediate(watch)
  }
  setImmediate(watch)
  const value = await work()
  await new Promise<void>((resolve) => setImmediate(resolve))
  isOver = true
  return { ms, value }
}

/** Of this thread where Node can tell: the collector's threads hold nobody up. */
function cpuMs(): number {
  // From Node 23.9 on, whatever the types say.
  const { user, system } = (process as Partial<NodeJS.Process>).threadCpuUsage?.() ?? process.cpuUsage()
  return (user + system) / 1000
}
