import { newSecret, SECRET_NAME } from '../secret.ts'
import type { PruneReceipt } from '../store.ts'
import type { Database } from './database.ts'
import type { Caller } from './session.ts'
import { CLOSE_WAITS } from './sql/commit.ts'
import * as sql from './sql/housekeeping.ts'

/** A call blocks the event loop and every other writer: about 10 ms at these bounds. */
const PRUNED_RUNS = 100
const PRUNED_OUTCOMES = 5_000
const PRUNED_EVENTS = 1_000

export async function deleteRun({ database, write }: Caller, runId: string): Promise<boolean> {
  return write('delete', (hint) => {
    const run = database.get(sql.FIND_ENDED_RUN, runId)
    if (!run) return false
    remove(database, run.n)
    hint({ kind: 'changed' })
    return true
  })
}

export async function prune({ database, write, now }: Caller, olderThanMs: number): Promise<PruneReceipt> {
  const before = now() - olderThanMs
  const isIdle = await database.read(
    () => !database.get(sql.FIND_ENDED_BEFORE, before, 1) && !database.get(sql.FIND_EVENTS_BEFORE, before, 1),
  )
  if (isIdle) return { runs: 0, events: 0, more: false }
  return write('prune', () => {
    const runs = pruneRuns(database, before)
    const events = database.all(sql.FIND_EVENTS_BEFORE, before, PRUNED_EVENTS)
    for (const { n } of events) database.run(sql.DELETE_EVENT, n)
    const more = database.get(sql.FIND_ENDED_BEFORE, before, 1) ?? database.get(sql.FIND_EVENTS_BEFORE, before, 1)
    return { runs, events: events.length, more: more !== undefined }
  })
}

/** At least one; then as many as stay within the bounds. */
function pruneRuns(database: Database, before: number): number {
  let runs = 0
  let outcomes = 0
  for (const { n, len } of database.all(sql.FIND_ENDED_BEFORE, before, PRUNED_RUNS)) {
    if (runs > 0 && outcomes + len > PRUNED_OUTCOMES) break
    remove(database, n)
    runs += 1
    outcomes += len
  }
  return runs
}

function remove(database: Database, run: number): void {
  const { DELETE_OUTCOMES, DELETE_INPUT, DELETE_RESULT, DELETE_KEY, DELETE_RUN } = sql
  for (const statement of [DELETE_OUTCOMES, CLOSE_WAITS, DELETE_INPUT, DELETE_RESULT, DELETE_KEY, DELETE_RUN]) {
    database.run(statement, run)
  }
}

export async function secret({ database, write }: Caller): Promise<string> {
  const read = (): string | undefined => database.get(sql.READ_SECRET, SECRET_NAME)?.value
  const known = await database.read(read)
  if (known !== undefined) return known
  return write('secret', () => {
    const made = newSecret()
    database.run(sql.MAKE_SECRET, SECRET_NAME, made)
    return read() ?? made
  })
}
