import { matches } from '../../core/match.ts'
import { allocate } from '../allocation.ts'
import type { EventQuery, EventRecord, NewEvent, SendReceipt } from '../store.ts'
import type { RunEntry, Transaction } from './database.ts'
import { transact, update } from './database.ts'
import type { Caller } from './session.ts'

export function send(caller: Caller, events: readonly NewEvent[]): SendReceipt {
  const at = caller.now()
  const signalled = new Set<string>()
  if (events.length === 0) return { signalled: [] }
  return transact(caller, 'send', (tx) => {
    for (const event of events) {
      if (!accept(caller, tx, at, event)) continue
      const data: unknown = JSON.parse(event.data)
      for (const entry of caller.database.runs.values()) {
        if (!awaits(entry, event.name, data)) continue
        signal(entry, tx, at)
        signalled.add(entry.record.id)
      }
    }
    return { signalled: [...signalled] }
  })
}

/** False where the id was seen before. */
function accept({ database }: Caller, tx: Transaction, at: number, event: NewEvent): boolean {
  if (database.events.has(event.id)) return false
  database.events.set(event.id, { id: event.id, name: event.name, data: event.data, acceptedAt: at })
  tx.onRollback(() => database.events.delete(event.id))
  return true
}

function awaits(entry: RunEntry, name: string, data: unknown): boolean {
  return [...entry.waits.values()].some((wait) => wait.event === name && fits(wait.match, data))
}

function fits(match: string | null, data: unknown): boolean {
  return match === null || matches(JSON.parse(match), data)
}

/** The flag survives a park that is on its way; the due time is for one that has already happened (I6). */
function signal(entry: RunEntry, tx: Transaction, at: number): void {
  const { holder, dueAt, id } = entry.record
  tx.touch(entry)
  update(entry, at, { signalled: true, ...(holder === null && { dueAt: Math.min(dueAt ?? at, at) }) })
  tx.hint({ kind: 'signalled', runId: id })
}

export function findEvents(caller: Caller, queries: readonly EventQuery[]): (EventRecord | null)[] {
  const { found, demands } = allocate(queries)
  for (const demand of demands) {
    for (const event of caller.database.events.values()) {
      if (demand.isMet) break
      if (event.name === demand.name) demand.offer(event)
    }
  }
  return found
}
