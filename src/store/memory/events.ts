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
      const data: unknown = JSON.parse(event.data)
      if (!caller.database.events.add(event, data, at)) continue // seen before
      tx.onRollback(() => void caller.database.events.remove(event))
      for (const entry of caller.database.runs.values()) {
        if (!awaits(entry, event.name, data)) continue
        signal(entry, tx, at)
        signalled.add(entry.record.id)
      }
    }
    return { signalled: [...signalled] }
  })
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
  const { events } = caller.database
  for (const demand of demands) {
    demand.choose(new Map(demand.choice.map((key) => [key, events.count(demand.name, key)])))
    for (const { data, ...head } of events.find(demand.name, demand.keys)) {
      demand.offer(head, () => data)
      if (demand.isMet) break
    }
  }
  return found
}
