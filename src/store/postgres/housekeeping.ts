import { newSecret, SECRET_NAME } from '../secret.ts'
import type { PruneReceipt } from '../store.ts'
import type { Caller } from './session.ts'
import * as sql from './sql/housekeeping.ts'

/** A few milliseconds of work for the server, so that nobody waits long for it. */
const PRUNED_RUNS = 200
const PRUNED_OUTCOMES = 5_000
const PRUNED_EVENTS = 1_000

export async function deleteRun(caller: Caller, runId: string): Promise<boolean> {
  const deleted = await caller.send('delete', () => caller.general.query(sql.DELETE_RUN, runId))
  if (deleted.length > 0) caller.hints.emit({ kind: 'changed' })
  return deleted.length > 0
}

export async function prune({ general, send }: Caller, olderThanMs: number): Promise<PruneReceipt> {
  const [runs] = await send('prune', () => general.query(sql.PRUNE_RUNS, olderThanMs, PRUNED_RUNS, PRUNED_OUTCOMES))
  const [events] = await send('prune', () => general.query(sql.PRUNE_EVENTS, olderThanMs, PRUNED_EVENTS))
  return {
    runs: runs?.runs ?? 0,
    events: events?.events ?? 0,
    more: (runs?.more ?? false) || (events?.more ?? false),
  }
}

export async function secret({ general, send }: Caller): Promise<string> {
  const made = newSecret()
  const [row] = await send('secret', () => general.query(sql.SECRET, SECRET_NAME, made))
  return row?.value ?? made
}
