import { matches } from '../../core/match.ts'
import { allocate, type Demand } from '../allocation.ts'
import type { EventQuery, EventRecord, NewEvent, SendReceipt } from '../store.ts'
import { leavesOf } from './leaf.ts'
import type { Caller } from './session.ts'
import * as sql from './sql/events.ts'
import type { EventRow } from './sql/rows.ts'
import { toEventRecord } from './sql/rows.ts'

/** Runs whose rows one statement locks. */
const CHUNK = 500
/** Events that a look brings at once. */
const PAGE = 200
/** A sender needs milliseconds from the acceptance to the dispatch; one that takes so long is dead. */
const OVERDUE_MS = 2_000
const SWEPT = 100

/**
 * Whoever sends, and whoever waits, first commits and then looks for the other in a new statement (I6). In one
 * statement, or in one transaction, both can miss each other: 3,890 of 4,000 did, and none this way.
 *
 * An event that was accepted and not dispatched, because the sender died in between, is found by `sweep`.
 */
export async function send(caller: Caller, events: readonly NewEvent[]): Promise<SendReceipt> {
  if (events.length === 0) return { signalled: [] }
  for (const { data } of events) JSON.parse(data) // what can't be read would break every later look at it
  const inserted = await caller.send('send', () =>
    caller.general.query(
      sql.INSERT_EVENTS,
      events.map(({ id }) => id),
      events.map(({ name }) => name),
      events.map(({ data }) => data),
    ),
  )
  const numbers = new Map(inserted.map(({ id, n }) => [id, n]))
  const accepted = [...firstOfEach(events).values()].flatMap((event) => {
    const n = numbers.get(event.id)
    return n === undefined ? [] : [{ ...event, n }]
  })
  const seenBefore = events.map(({ id }) => id).filter((id) => !numbers.has(id))
  if (seenBefore.length === 0) return { signalled: await dispatch(caller, accepted) }
  // It may have been this very call, whose answer was lost.
  const left = await caller.general.query(sql.FIND_UNDISPATCHED, seenBefore)
  return { signalled: await dispatch(caller, [...accepted, ...left]) }
}

function firstOfEach(events: readonly NewEvent[]): Map<string, NewEvent> {
  return new Map(events.toReversed().map((event) => [event.id, event]))
}

type Undispatched = NewEvent & { readonly n: number }

/** Signals the runs that wait for one of the events. */
async function dispatch(caller: Caller, events: readonly Undispatched[]): Promise<string[]> {
  if (events.length === 0) return []
  const concerned = events.flatMap(({ name, data }) => {
    const leaves: readonly (string | null)[] = leavesOf(JSON.parse(data)) ?? [null]
    return leaves.map((leaf) => ({ name, leaf }))
  })
  const numbers = events.map(({ n }) => n)
  const waits = await caller.send('look', () =>
    caller.general.query(
      sql.FIND_WAITS,
      numbers,
      [...new Set(events.map(({ name }) => name))],
      concerned.map(({ name }) => name),
      concerned.map(({ leaf }) => leaf),
    ),
  )
  if (waits.length === 0) return []
  const parsed = events.map(({ name, data }) => ({ name, data: JSON.parse(data) as unknown }))
  const fitting = waits.filter((wait) => parsed.some(({ name, data }) => name === wait.event && fits(wait.match, data)))
  const runIds = [...new Set(fitting.map(({ runId }) => runId))].toSorted()
  return signal(caller, runIds, numbers)
}

async function signal(caller: Caller, runIds: readonly string[], events: readonly number[]): Promise<string[]> {
  const signalled: string[] = []
  for (let from = 0; from === 0 || from < runIds.length; from += CHUNK) {
    const isLast = from + CHUNK >= runIds.length
    const rows = await caller.send('dispatch', () =>
      caller.general.query(sql.SIGNAL, runIds.slice(from, from + CHUNK), isLast ? events : []),
    )
    signalled.push(...rows.map(({ id }) => id))
  }
  for (const runId of signalled) caller.hints.emit({ kind: 'signalled', runId })
  return signalled
}

/** Dispatches what others have accepted and left. */
export async function sweep(caller: Caller): Promise<void> {
  const events = await caller.general.query(sql.FIND_OVERDUE, OVERDUE_MS, SWEPT)
  await dispatch(caller, events)
}

function fits(match: string | null, data: unknown): boolean {
  return match === null || matches(JSON.parse(match), data)
}

export async function findEvents(caller: Caller, queries: readonly EventQuery[]): Promise<(EventRecord | null)[]> {
  const { found, demands } = allocate(queries)
  await Promise.all(demands.map((demand) => meet(caller, demand)))
  return found
}

async function meet({ general }: Caller, demand: Demand): Promise<void> {
  const { name, since, until } = demand
  const untilAt = until === null ? null : Math.floor(until)
  let after: Pick<EventRow, 'acceptedAt' | 'n'> = { acceptedAt: Math.ceil(since) - 1, n: Number.MAX_SAFE_INTEGER }
  for (;;) {
    const page = await general.query(sql.FIND_EVENTS, name, untilAt, after.acceptedAt, after.n, PAGE)
    for (const event of page) demand.offer(toEventRecord(event))
    const last = page.at(-1)
    if (!last || page.length < PAGE || demand.isMet) return
    after = last
  }
}
