import { newSecret, SECRET_NAME } from '../secret.ts'
import { beginSlice, type Slice, turn } from '../pacing.ts'
import type { PruneReceipt } from '../store.ts'
import type { Database } from './database.ts'
import type { Caller } from './session.ts'
import { CLOSE_WAITS } from './sql/commit.ts'
import { DISPATCHED } from './sql/events.ts'
import * as sql from './sql/housekeeping.ts'
import type { RunRow } from './sql/rows.ts'

/** A call holds the event loop and every other writer: some milliseconds at these bounds. */
const PRUNED_RUNS = 100
const PRUNED_OUTCOMES = 500
const PRUNED_EVENTS = 200

export async function deleteRun({ database, write }: Caller, runId: string): Promise<boolean> {
  const doomed = await write('delete', (hint) => {
    const run = database.get(sql.FIND_ENDED_RUN, runId)
    if (!run) return null
    hint({ kind: 'changed' })
    return { n: run.n, isGone: remove(database, run) }
  })
  if (doomed === null) return false
  for (let { isGone } = doomed; !isGone;) {
    await turn()
    isGone = await write('delete', () => removeDoomed(database, doomed.n))
  }
  return true
}

/** Whoever has more to prune calls it again at once, and so it lets everybody else have a turn first. */
export async function prune({ database, write, now }: Caller, olderThanMs: number): Promise<PruneReceipt> {
  await turn()
  const before = now() - olderThanMs
  const isThereMore = (): boolean =>
    [
      database.get(sql.FIND_DOOMED),
      database.get(sql.FIND_ENDED_BEFORE, before, 1),
      database.get(sql.FIND_EVENTS_BEFORE, before, 1),
    ].some((row) => row !== undefined)
  if (!(await database.read(isThereMore))) return { runs: 0, events: 0, more: false }
  return write('prune', () => {
    const slice = beginSlice()
    const runs = pruneRuns(database, before, slice)
    const events = pruneEvents(database, before, slice)
    return { runs, events, more: isThereMore() }
  })
}

/** As many as stay within the bounds. One with a long journal is doomed first, and deleted in parts. */
function pruneRuns(database: Database, before: number, slice: Slice): number {
  const doomed = database.get(sql.FIND_DOOMED)
  if (doomed) return removeDoomed(database, doomed.n) ? 1 : 0
  let runs = 0
  let outcomes = 0
  for (const run of database.all(sql.FIND_ENDED_BEFORE, before, PRUNED_RUNS)) {
    outcomes += run.len
    if (runs > 0 && (outcomes > PRUNED_OUTCOMES || slice.isOver)) break
    if (!remove(database, run)) break
    runs += 1
  }
  return runs
}

function pruneEvents(database: Database, before: number, slice: Slice): number {
  let events = 0
  for (const { n } of database.all(sql.FIND_EVENTS_BEFORE, before, PRUNED_EVENTS)) {
    if (events > 0 && slice.isOver) break
    for (const statement of [sql.DELETE_LEAVES, DISPATCHED, sql.DELETE_EVENT]) database.run(statement, n)
    events += 1
  }
  return events
}

/** False where its journal is too long for one transaction: then nobody sees the run any more, and the rest is left. */
function remove(database: Database, { n, len }: Pick<RunRow, 'n' | 'len'>): boolean {
  const isLong = len > PRUNED_OUTCOMES
  for (const statement of [CLOSE_WAITS, sql.DELETE_INPUT, sql.DELETE_RESULT, sql.DELETE_KEY]) database.run(statement, n)
  if (isLong) database.run(sql.DOOM, n)
  else removeRest(database, n)
  return !isLong
}

/** Some of what is left of a doomed run. Answers whether that was all. */
function removeDoomed(database: Database, n: number): boolean {
  const isAll = database.run(sql.DELETE_SOME_OUTCOMES, n, PRUNED_OUTCOMES) < PRUNED_OUTCOMES
  if (isAll) removeRest(database, n)
  return isAll
}

function removeRest(database: Database, n: number): void {
  database.run(sql.DELETE_OUTCOMES, n)
  database.run(sql.DELETE_RUN, n)
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
