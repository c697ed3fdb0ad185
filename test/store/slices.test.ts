import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/core/system-clock.ts'
import { sqliteStore, type SqliteSession } from '../../src/sqlite.ts'
import type { EventQuery, NewWait, RunCommit } from '../../src/store/store.ts'
import { longestPiece } from '../support/longest-piece.ts'
import { COMPLETED, first, outcome, PARKED } from './postgres/world.ts'

/** Of a processor, whatever else the machine does; with a margin for collecting garbage. In one piece it takes hundreds. */
const LONGEST_MS = 60
const RUNS = 60_000
const EVENTS = 30_000
const AT_ONCE = 500

let directory: string
let session: SqliteSession

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'durable-slices-'))
  session = await sqliteStore(join(directory, 'runs.db')).connect({
    processId: 'p',
    leaseMs: 60_000,
    clock: systemClock,
  })
})

afterAll(async () => {
  await session.close()
  rmSync(directory, { recursive: true })
})

async function longest(work: () => Promise<unknown>): Promise<number> {
  return (await longestPiece(work)).ms
}

async function commitMany(count: number, part: (index: number) => RunCommit): Promise<void> {
  for (let from = 0; from < count; from += AT_ONCE) {
    await session.commit(Array.from({ length: AT_ONCE }, (_, index) => part(from + index)))
  }
}

function query(match: object | null): EventQuery {
  return { name: 'order', match: match && JSON.stringify(match), since: 0, until: null, exclude: new Set() }
}

function waitFor(event: string, match: object | null): NewWait {
  return { key: 'w', kind: 'EVENT', seq: 0, event, match: match && JSON.stringify(match), forMs: null, attempts: 0 }
}

describe('events with very many leaves among them', () => {
  it('are dispatched in a time that grows with their number alone', async () => {
    const events = Array.from({ length: 1_000 }, (_, n) => {
      const data = Object.fromEntries(Array.from({ length: 60 }, (_each, key) => [`key${key}`, `${n} ${key}`]))
      return { name: 'leafy', id: `leafy ${n}`, data: JSON.stringify(data) }
    })
    const began = process.cpuUsage()
    await session.send(events)
    const { user, system } = process.cpuUsage(began)
    expect((user + system) / 1000).toBeLessThan(6_000)
  }, 120_000)
})

describe('very many waits of one run', () => {
  it('are looked up in a time that grows with their number alone', async () => {
    const count = 1_200
    for (let n = 0; n < count; n += AT_ONCE) {
      await session.send(
        Array.from({ length: Math.min(AT_ONCE, count - n) }, (_, index) => {
          return { name: 'asked', id: `asked ${n + index}`, data: JSON.stringify({ id: n + index }) }
        }),
      )
    }
    const queries = Array.from({ length: count }, (_, id) => ({ ...query({ id }), name: 'asked' }))
    const began = process.cpuUsage()
    const found = await session.findEvents(queries)
    const { user, system } = process.cpuUsage(began)
    expect(found.map((event) => event?.id)).toEqual(queries.map((_, id) => `asked ${id}`))
    expect((user + system) / 1000).toBeLessThan(1_500)
  }, 120_000)
})

describe('no piece of the work of an embedded store holds the event loop for long', { timeout: 120_000 }, () => {
  it('when it lists what hardly any run fits, and prunes many runs', async () => {
    await commitMany(RUNS, (index) => first(`run ${index}`, { outcomes: [outcome(0)], next: COMPLETED }))
    let listed: readonly unknown[] | undefined
    expect(await longest(async () => (listed = await session.list({ first: 50, status: 'failed' })))).toBeLessThan(
      LONGEST_MS,
    )
    expect(listed).toEqual([])
    let pruned = 0
    const pruneAll = async (): Promise<void> => {
      for (let more = true; more;) {
        const receipt = await session.prune(-1)
        pruned += receipt.runs
        more = receipt.more
      }
    }
    expect(await longest(pruneAll)).toBeLessThan(LONGEST_MS)
    expect(pruned).toBe(RUNS)
  })

  it('when it claims, reads and deletes a run with a long journal, of which nothing is left', async () => {
    const outcomes = Array.from({ length: 40_000 }, (_, pos) => outcome(pos))
    await session.commit([first('long', { outcomes, next: { kind: 'park', wakeInMs: 0 } })])
    let length: number | undefined
    const claim = async (): Promise<void> => {
      length = (await session.claim({ limit: 1, runId: 'long' })).claimed[0]?.loaded?.journal.length
    }
    expect(await longest(claim)).toBeLessThan(LONGEST_MS)
    expect(length).toBe(outcomes.length)
    expect(await longest(() => session.read('long', { journal: true }))).toBeLessThan(LONGEST_MS)
    await session.end('long', { status: 'failed', result: '{}' })
    expect(await longest(() => session.delete('long'))).toBeLessThan(LONGEST_MS)
    expect(await session.read('long')).toBeNull()
    expect(await session.list({ first: 1 })).toEqual([])
    expect(await session.prune(-1)).toEqual({ runs: 0, events: 0, more: false })
  })

  it('when it looks for events among many of their name, ten at once', async () => {
    for (let from = 0; from < EVENTS; from += 100) {
      const ids = Array.from({ length: 100 }, (_, index) => from + index)
      await session.send(
        ids.map((id) => ({ id: `${id}`, name: 'order', data: JSON.stringify({ type: 'approved', order: { id } }) })),
      )
    }
    const lookUps = [query({ type: 'approved', order: { id: EVENTS - 1 } }), query({ order: { id: -1 } })]
    let found: unknown
    expect(await longest(async () => (found = await session.findEvents(lookUps)))).toBeLessThan(LONGEST_MS)
    expect(found).toMatchObject([{ id: `${EVENTS - 1}` }, null])
    const common = query({ type: 'approved', order: { none: [] } })
    const all = async (): Promise<unknown> =>
      (found = await Promise.all(Array.from({ length: 10 }, () => session.findEvents([common]))))
    expect(await longest(all)).toBeLessThan(LONGEST_MS)
    expect(found).toEqual(Array.from({ length: 10 }, () => [null]))
  })

  it('when it sends what many wait for, or one of many', async () => {
    await commitMany(RUNS / 2, (id) => first(`one ${id}`, { opens: [waitFor('one', { type: 'x', id })], next: PARKED }))
    await commitMany(RUNS / 2, (id) => first(`all ${id}`, { opens: [waitFor('all', null)], next: PARKED }))
    let signalled: readonly string[] | undefined
    const send = async (name: string): Promise<void> => {
      signalled = (await session.send([{ id: 'e', name, data: '{"type":"x","id":77}' }])).signalled
    }
    expect(await longest(() => send('one'))).toBeLessThan(LONGEST_MS)
    expect(signalled).toEqual(['one 77'])
    expect(await longest(() => send('all'))).toBeLessThan(LONGEST_MS)
    expect(signalled).toHaveLength(RUNS / 2)
  })
})
