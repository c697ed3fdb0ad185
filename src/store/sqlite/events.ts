import { matches } from '../../core/match.ts'
import { allocate } from '../allocation.ts'
import type { EventQuery, EventRecord, NewEvent, SendReceipt } from '../store.ts'
import type { Database } from './database.ts'
import type { Caller } from './session.ts'
import * as sql from './sql/events.ts'
import { toEventRecord } from './sql/rows.ts'

/** One transaction deposits and signals, which is all that I6 takes where writers come one after the other. */
export async function send(caller: Caller, events: readonly NewEvent[]): Promise<SendReceipt> {
  const { database } = caller
  if (events.length === 0) return { signalled: [] }
  return caller.write('send', (hint) => {
    const at = caller.now()
    const signalled = new Set<string>()
    for (const { id, name, data } of events) {
      if (!database.get(sql.INSERT_EVENT, id, name, data, at)) continue // seen before
      for (const run of findWaitingRuns(database, name, JSON.parse(data))) {
        const signal = database.get(sql.SIGNAL, at, at, at, run)
        if (signal) signalled.add(signal.id)
      }
    }
    for (const runId of signalled) hint({ kind: 'signalled', runId })
    return { signalled: [...signalled] }
  })
}

function findWaitingRuns(database: Database, event: string, data: unknown): Set<number> {
  const waits = database.all(sql.FIND_WAITS, event).filter(({ match }) => fits(match, data))
  return new Set(waits.map(({ run }) => run))
}

function fits(match: string | null, data: unknown): boolean {
  return match === null || matches(JSON.parse(match), data)
}

export function findEvents({ database }: Caller, queries: readonly EventQuery[]): Promise<(EventRecord | null)[]> {
  const { found, demands } = allocate(queries)
  return database.read(() => {
    for (const demand of demands) {
      const { name, since, until } = demand
      for (const event of database.iterate(sql.FIND_EVENTS, name, since, until ?? Number.MAX_SAFE_INTEGER)) {
        demand.offer(toEventRecord(event))
        if (demand.isMet) break
      }
    }
    return found
  })
}
