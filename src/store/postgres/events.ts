import { messageOf } from '../../core/errors.ts'
import { matches } from '../../core/match.ts'
import { allocate, type Demand } from '../allocation.ts'
import { indexOf, leavesOf } from '../leaf.ts'
import type { EventQuery, EventRecord, NewEvent, SendReceipt } from '../store.ts'
import { StoreError } from '../store.ts'
import type { Caller } from './session.ts'
import * as sql from './sql/events.ts'
import type { EventRow } from './sql/rows.ts'

/** Waits that one look brings, and runs whose rows one statement locks. */
const CHUNK = 500
/** Events that a look brings at once. */
const PAGE = 200
/** Beyond, an index key finds as many events as any. */
const MAX_COUNT = 100
/** A sender needs milliseconds from the acceptance to the dispatch; one that takes so long is dead. */
const OVERDUE_MS = 2_000
const SWEPT = 100
/** Before all ids. */
const START = { runId: '', key: '' }

/**
 * Whoever sends, and whoever waits, first commits and then looks for the other in a new statement (I6). In one
 * statement, or in one transaction, both can miss each other: 3,890 of 4,000 did, and none this way.
 *
 * An event that was accepted and not dispatched, because the sender died in between, is found by `sweep`.
 */
export async function send(caller: Caller, events: readonly NewEvent[]): Promise<SendReceipt> {
  if (events.length === 0) return { signalled: [] }
  // What can't be read would break every later look at it.
  const sending = [...firstOfEach(events).values()].map((event) => toRead(event))
  const indexes = sending.map(({ name, leaves }) => indexOf(name, leaves))
  const leaves = indexes.flatMap((keys, index) => (keys ?? []).map((key) => ({ place: index + 1, key })))
  const inserted = await caller.send('send', () =>
    caller.general.query(
      sql.INSERT_EVENTS,
      sending.map(({ id }) => id),
      sending.map(({ name }) => name),
      sending.map(({ data }) => data),
      indexes.map((keys) => keys !== null),
      leaves.map(({ place }) => place),
      leaves.map(({ key }) => key),
    ),
  )
  const numbers = new Map(inserted.map((row) => [identityOf(row), row.n]))
  const accepted = sending.flatMap((event) => {
    const n = numbers.get(identityOf(event))
    return n === undefined ? [] : [{ ...event, n }]
  })
  const seenBefore = sending.filter((event) => !numbers.has(identityOf(event)))
  if (seenBefore.length === 0) return { signalled: await dispatch(caller, accepted) }
  // It may have been this very call, whose answer was lost.
  const left = await caller.general.query(
    sql.FIND_UNDISPATCHED,
    seenBefore.map(({ name }) => name),
    seenBefore.map(({ id }) => id),
  )
  return { signalled: await dispatch(caller, [...accepted, ...left.map((row) => ({ ...toRead(row), n: row.n }))]) }
}

function firstOfEach(events: readonly NewEvent[]): Map<string, NewEvent> {
  const first = new Map<string, NewEvent>()
  for (const event of events) {
    const identity = identityOf(event)
    if (!first.has(identity)) first.set(identity, event)
  }
  return first
}

/** An id is unique within its name. */
function identityOf({ name, id }: Pick<NewEvent, 'name' | 'id'>): string {
  return JSON.stringify([name, id])
}

interface ReadEvent extends NewEvent {
  readonly parsed: unknown
  readonly leaves: readonly string[] | null
}

function toRead({ id, name, data }: NewEvent): ReadEvent {
  const parsed: unknown = JSON.parse(data)
  return { id, name, data, parsed, leaves: leavesOf(parsed) }
}

type Undispatched = ReadEvent & { readonly n: number }

/** Signals the runs that wait for one of the events, page by page of the waits that they may concern. */
async function dispatch(caller: Caller, events: readonly Undispatched[]): Promise<string[]> {
  if (events.length === 0) return []
  const concerned = events.flatMap(({ name, leaves }) => {
    const known: readonly (string | null)[] = leaves ?? [null]
    return known.map((leaf) => ({ name, leaf }))
  })
  const numbers = events.map(({ n }) => n)
  const names = [...new Set(events.map(({ name }) => name))]
  const signalled = new Set<string>()
  for (let after = START, isLast = false; !isLast;) {
    const { runId, key } = after
    const waits = await caller.send('look', () =>
      caller.general.query(
        sql.FIND_WAITS,
        after === START ? numbers : [],
        names,
        concerned.map(({ name }) => name),
        concerned.map(({ leaf }) => leaf),
        runId,
        key,
        CHUNK,
      ),
    )
    if (waits.length === 0 && after === START) return [] // the statement itself has noted that
    isLast = waits.length < CHUNK
    const fitting = waits.filter((wait) =>
      events.some(({ name, parsed }) => name === wait.event && fits(wait.match, parsed)),
    )
    const runIds = [...new Set(fitting.map((wait) => wait.runId))]
    if (isLast || runIds.length > 0) await signal(caller, runIds, isLast ? numbers : [], signalled)
    after = waits.at(-1) ?? after
  }
  return [...signalled]
}

async function signal(
  caller: Caller,
  runIds: readonly string[],
  dispatched: readonly number[],
  signalled: Set<string>,
): Promise<void> {
  const rows = await caller.send('dispatch', () => caller.general.query(sql.SIGNAL, runIds, dispatched))
  for (const { id } of rows) {
    signalled.add(id)
    caller.hints.emit({ kind: 'signalled', runId: id })
  }
}

/**
 * Dispatches what others have accepted and left. An event that nobody can dispatch is set aside, with a warning, and
 * the others go on.
 */
export async function sweep(caller: Caller): Promise<void> {
  const rows = await caller.general.query(sql.FIND_OVERDUE, OVERDUE_MS, SWEPT)
  for (const { n, id, name, data } of rows) {
    try {
      await dispatch(caller, [{ ...toRead({ id, name, data }), n }])
    } catch (error) {
      if (error instanceof StoreError && error.kind !== 'rejected') throw error
      await caller.general.query(sql.SET_ASIDE, n)
      caller.warn(
        `The event "${id}" of the name "${name}" could not be dispatched to the runs that may wait for it, and is ` +
          `not tried again: ${messageOf(error)}`,
      )
    }
  }
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
  const { name, since, until, choice } = demand
  const sinceAt = Math.ceil(since)
  const untilAt = until === null ? null : Math.floor(until)
  if (choice.length > 0) {
    const counts = await general.query(sql.COUNT_KEYS, choice, sinceAt, MAX_COUNT)
    demand.choose(new Map(counts.map(({ key, count }) => [key, count])))
  }
  let after: Pick<EventRow, 'acceptedAt' | 'n'> = { acceptedAt: sinceAt - 1, n: Number.MAX_SAFE_INTEGER }
  for (;;) {
    const page = await general.query(sql.FIND_EVENTS, name, untilAt, after.acceptedAt, after.n, PAGE, demand.keys)
    for (const { id, acceptedAt, data } of page) demand.offer({ id, name, acceptedAt }, () => data)
    const last = page.at(-1)
    if (!last || last.isLast || demand.isMet) return
    after = last
  }
}
