import { messageOf } from '../../core/errors.ts'
import { allocate, type Demand } from '../allocation.ts'
import { indexOf, leavesOf } from '../leaf.ts'
import { beginSlice, turn } from '../pacing.ts'
import type { EventQuery, EventRecord, NewEvent, SendReceipt } from '../store.ts'
import { StoreError } from '../store.ts'
import type { Database } from './database.ts'
import { type Accepted, BEGINNING, dispatch, type Progress } from './dispatch.ts'
import type { Caller } from './session.ts'
import * as sql from './sql/events.ts'
import { toFlag } from './sql/rows.ts'

/** Events that a look-up reads the places of at once. */
const PAGE = 200
/** Beyond, a leaf is as common as any. */
const MAX_COUNT = 100
/** Whoever dispatches an event goes on at once; one that takes so long is dead. */
const OVERDUE_MS = 2_000
const SWEPT = 100

/** An event as it is read. */
interface Parsed {
  readonly name: string
  readonly parsed: unknown
  readonly leaves: readonly string[] | null
}

type Sending = NewEvent & Parsed

/** What is left of a dispatch. */
interface Rest {
  readonly event: Accepted
  readonly from: Progress
}

/**
 * One transaction deposits and signals, which is all that I6 takes where writers come one after the other. Where there
 * are more waits to look at than one transaction should, the rest is signalled in further ones; if the process dies
 * meanwhile, another goes on with it (`sweep`).
 */
export async function send(caller: Caller, events: readonly NewEvent[]): Promise<SendReceipt> {
  const { database } = caller
  if (events.length === 0) return { signalled: [] }
  const sending = events.map((event): Sending => {
    const parsed: unknown = parse(event)
    return { ...event, parsed, leaves: leavesOf(parsed) }
  })
  const signalled = new Set<string>()
  const left = await caller.write('send', (hint) => {
    const at = caller.now()
    const slice = beginSlice()
    const rests: Rest[] = []
    for (const event of together(sending.flatMap((each) => accept(database, at, each) ?? []))) {
      const from = dispatch(database, event, BEGINNING, at, slice, (runId) => signalled.add(runId))
      if (from) rests.push({ event, from })
      for (const n of event.numbers) {
        if (from) database.run(sql.PUT_UNDISPATCHED, n, at)
        else database.run(sql.DISPATCHED, n)
      }
    }
    for (const runId of signalled) hint({ kind: 'signalled', runId })
    return rests
  })
  for (const rest of left) await finish(caller, rest, signalled)
  return { signalled: [...signalled] }
}

function parse({ name, data }: NewEvent): unknown {
  try {
    return JSON.parse(data)
  } catch (cause) {
    // What can't be read would break every later look at it.
    throw new StoreError('rejected', `Expected the data of event "${name}" to be JSON: ${messageOf(cause)}`, { cause })
  }
}

type Undispatched = Parsed & { readonly n: number }

/** What is to be dispatched; null where it was seen before, and nothing of that is left to do. */
function accept(database: Database, at: number, event: Sending): Undispatched | null {
  const { id, name, data, leaves } = event
  const index = indexOf(name, leaves)
  const inserted = database.get(sql.INSERT_EVENT, id, name, data, at, toFlag(index !== null))
  if (!inserted) {
    // It may have been this very call, whose answer was lost.
    const begun = database.get(sql.FIND_UNDISPATCHED, name, id)
    return begun ? toUndispatched(begun) : null
  }
  for (const leaf of index ?? []) database.run(sql.INSERT_LEAF, inserted.n, BigInt(leaf), at)
  return { ...event, n: inserted.n }
}

function toUndispatched({ n, name, data }: Omit<NewEvent, 'id'> & { readonly n: number }): Undispatched {
  const parsed: unknown = JSON.parse(data)
  return { n, name, parsed, leaves: leavesOf(parsed) }
}

/** By their names. */
function together(events: readonly Undispatched[]): Accepted[] {
  return [...Map.groupBy(events, ({ name }) => name)].map(([name, own]) => {
    const isAnyLeaf = own.some(({ leaves }) => leaves === null)
    const leaves = isAnyLeaf ? [] : own.flatMap((event) => event.leaves ?? [])
    return {
      name,
      numbers: own.map(({ n }) => n),
      data: own.map(({ parsed }) => parsed),
      leaves: [null, ...new Set(leaves)],
      isAnyLeaf,
    }
  })
}

/** So that everybody else gets a turn in between. */
async function finish(caller: Caller, { event, from }: Rest, signalled: Set<string>): Promise<void> {
  const { database } = caller
  for (let next: Progress | null = from; next !== null;) {
    const begin: Progress = next
    await turn()
    next = await caller.write('dispatch', (hint) => {
      const left = dispatch(database, event, begin, caller.now(), beginSlice(), (runId) => {
        signalled.add(runId)
        hint({ kind: 'signalled', runId })
      })
      if (left === null) for (const n of event.numbers) database.run(sql.DISPATCHED, n)
      return left
    })
  }
}

/**
 * Goes on with what others have accepted and not dispatched to its end. An event that nobody can dispatch is set aside,
 * with a warning, and the others go on.
 */
export async function sweep(caller: Caller): Promise<void> {
  const { database } = caller
  const overdue = await database.read(() => database.all(sql.FIND_OVERDUE, caller.now() - OVERDUE_MS, SWEPT))
  for (const { n, id, name, data } of overdue) {
    try {
      for (const event of together([toUndispatched({ n, name, data })])) {
        await finish(caller, { event, from: BEGINNING }, new Set())
      }
    } catch (error) {
      if (error instanceof StoreError && error.kind !== 'rejected') throw error
      await caller.write('set aside', () => database.run(sql.SET_ASIDE, n))
      caller.warn(
        `The event "${id}" of the name "${name}" could not be dispatched to all runs that may wait for it, and is ` +
          `not tried again: ${messageOf(error)}`,
      )
    }
  }
}

export async function findEvents(
  { database }: Caller,
  queries: readonly EventQuery[],
): Promise<(EventRecord | null)[]> {
  const { found, demands } = allocate(queries)
  for (const demand of demands) await meet(database, demand)
  return found
}

/** Slice by slice: what is accepted meanwhile stands behind all of it, and need not be found. */
async function meet(database: Database, demand: Demand): Promise<void> {
  const { name, since } = demand
  let after: sql.EventPlace = { acceptedAt: since, n: -1 }
  let page: sql.EventPlace[] = []
  let isLast = false
  if (demand.choice.length > 0) await database.read(() => demand.choose(countLeaves(database, demand)))
  for (let isFirst = true; ; isFirst = false) {
    if (!isFirst) await turn()
    const isOver = await database.read(() => {
      const slice = beginSlice()
      // With very many queries, to find a page takes longer than a slice: all of it is for the slices that follow.
      if (page.length === 0) {
        page = findPlaces(database, demand, name, after)
        isLast = page.length < PAGE
      }
      for (let place = page[0]; place; place = page[0]) {
        const head = database.get(sql.READ_EVENT_HEAD, place.n)
        // Every event was written with its data, in one row.
        if (head) demand.offer({ ...head }, () => database.get(sql.READ_EVENT_DATA, place.n)?.data ?? 'null')
        after = place
        page.shift()
        if (demand.isMet) return true
        if (slice.isOver) return false
      }
      return isLast
    })
    if (isOver) return
  }
}

function countLeaves(database: Database, { choice, since }: Demand): Map<string, number> {
  const count = (key: string): number => database.get(sql.COUNT_LEAF, BigInt(key), since, MAX_COUNT)?.count ?? 0
  return new Map(choice.map((key) => [key, count(key)]))
}

/** The next that may fit, in the order of their acceptance. Fewer than a page: there are no others. */
function findPlaces(database: Database, demand: Demand, name: string, after: sql.EventPlace): sql.EventPlace[] {
  const { keys, until } = demand
  const page = [after.acceptedAt, after.n, until ?? Number.MAX_SAFE_INTEGER, PAGE] as const
  if (keys === null) return database.all(sql.FIND_EVENTS, name, ...page)
  const places = keys.flatMap((key) => database.all(sql.FIND_EVENTS_BY_LEAF, BigInt(key), ...page))
  places.push(...database.all(sql.FIND_EVENTS_UNINDEXED, name, ...page))
  const distinct = new Map(places.map((place) => [place.n, place]))
  return [...distinct.values()]
    .toSorted((one, other) => one.acceptedAt - other.acceptedAt || one.n - other.n)
    .slice(0, PAGE)
}
