import type { Database } from './database.ts'
import { DATA_VERSION } from './sql/schema.ts'

/** Reading SQLite's data version costs 3.3 µs, so that 50 looks a second are not felt. */
const POLL_MS = 20

/** Calls back when another connection, of whatever process, has written. Keeps no process alive by itself. */
export function pollOtherProcesses(database: Database, changed: () => void): () => void {
  let seen = dataVersion(database)
  const timer = setInterval(() => {
    const now = dataVersion(database)
    if (now !== seen) changed()
    seen = now
  }, POLL_MS)
  timer.unref()
  return () => clearInterval(timer)
}

/** Null where it can't be read for the moment: a hint may come late, and the next call of a method tells the error. */
function dataVersion(database: Database): number | null {
  try {
    return database.get(DATA_VERSION)?.data_version ?? null
  } catch {
    return null
  }
}
