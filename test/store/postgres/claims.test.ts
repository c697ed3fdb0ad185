import { Client } from 'pg'
import { describe, expect, it } from 'vitest'
import type { StoreSession } from '../../../src/store/store.ts'
import { query, sleep } from '../../support/postgres.ts'
import { DUE_NOW, eventWait, first, knob, newRun, outcome, PARKED, useDatabase } from './world.ts'

const world = useDatabase()

/** How many parked runs the measurement stands on; a million take minutes to insert. */
const PARKED_RUNS = knob('DURABLE_PARKED_RUNS', 0)
const CYCLES = knob('DURABLE_CLAIM_CYCLES', 60_000)
const SAMPLES = 200

describe('claims', () => {
  it('bring no more into memory at once than they should, and never nothing', async () => {
    const session = await world.connect('a')
    const large = 'x'.repeat(12 * 1024 * 1024)
    for (let index = 0; index < 4; index++) {
      await session.commit([first(`run ${index}`, { outcomes: [outcome(0, { body: large })], next: DUE_NOW })])
    }
    const batches: number[] = []
    while (batches.length < 10) {
      const { claimed, nextDueAt, at } = await session.claim({ limit: 10 })
      if (claimed.length === 0) break
      batches.push(claimed.length)
      if (batches.length === 1) expect(nextDueAt).toBeLessThanOrEqual(at)
    }
    expect(batches).toEqual([3, 1])
  })

  it('of a named run wait for an event that is just being sent to it, and do not take it for somebody else’s', async () => {
    const session = await world.connect('a')
    await session.commit([first('run', { opens: [eventWait('order')], next: PARKED })])
    const sender = new Client({ connectionString: world.url })
    await sender.connect()
    try {
      await sender.query('begin')
      await sender.query(`select from "${world.schema}".runs where id = 'run' for no key update`)
      const claim = session.claim({ limit: 1, runId: 'run', evenIfNotDue: true })
      await sleep(100)
      await sender.query('commit')
      expect((await claim).claimed).toHaveLength(1)
    } finally {
      await sender.end()
    }
  })

  it('skip runs that others are just claiming, and say that something is left', async () => {
    const session = await world.connect('a')
    await session.commit([first('locked', { next: DUE_NOW }), first('free', { next: DUE_NOW })])
    const other = new Client({ connectionString: world.url })
    await other.connect()
    try {
      await other.query('begin')
      await other.query(`select from "${world.schema}".runs where id = 'locked' for no key update`)
      const { claimed, nextDueAt } = await session.claim({ limit: 5 })
      expect(claimed.map(({ run }) => run.id)).toEqual(['free'])
      expect(nextDueAt).not.toBeNull()
    } finally {
      await other.end()
    }
  })

  it('find what has been due for long among what has just become due, and take the earliest first', async () => {
    const session = await world.connect('a')
    const ids = async (limit: number): Promise<string[]> => {
      const { claimed } = await session.claim({ limit })
      return claimed.map(({ run }) => run.id)
    }
    // A look that finds nothing is followed by looks at what is recent.
    expect(await ids(5)).toEqual([])
    await session.commit(['old', 'oldest', 'not yet'].map((id) => first(id, { next: DUE_NOW })))
    const setDue = (id: string, ageMs: number): Promise<unknown> =>
      world.sql('update durable.runs set due_at = due_at - $2::bigint where id = $1', [id, ageMs])
    await setDue('not yet', -60_000)
    await setDue('oldest', 3_600_000)
    await setDue('old', 1_800_000)
    const taken: string[] = []
    await expect.poll(async () => taken.push(...(await ids(1))), { timeout: 3_000 }).toBe(1)
    // A backlog is worked off in its order, without a pause.
    expect([...taken, ...(await ids(1)), ...(await ids(1))]).toEqual(['oldest', 'old'])
  })

  it('leave the updates of a step HOT: no index grows with a run’s commits', async () => {
    const session = await world.connect('a')
    await session.commit([first('run')])
    for (let seq = 2; seq < 30; seq++) {
      await session.commit([{ ...first('run'), create: null, seq, outcomes: [outcome(seq - 2)] }])
    }
    // A connection reports its statistics when it is closed; giving the run back is one more update.
    await session.close()
    const [counts] = await world.sql<{ updates: number; hot: number }>(
      `select n_tup_upd::integer as updates, n_tup_hot_upd::integer as hot from pg_stat_user_tables
      where schemaname = $1 and relname = 'runs'`,
      [world.schema],
    )
    expect(counts).toEqual({ updates: 29, hot: 28 })
  })

  it.skipIf(PARKED_RUNS === 0)(
    `stay fast over ${PARKED_RUNS} parked runs, before and after a snapshot of ${CYCLES} cycles (skipped: set DURABLE_PARKED_RUNS)`,
    { timeout: 3_600_000 },
    async () => {
      const session = await world.connect('a')
      await session.commit([first('model', { create: newRun(), next: PARKED })])
      await world.sql(
        `insert into durable.runs (id, status, epoch, len, bytes, due_at, signalled, server, began_at, created_at,
          updated_at, takeovers, resume_failures, commit_by, commit_epoch, commit_seq)
        select 'parked_' || md5(g::text), 'suspended', 1, 3, 500, 4000000000000 + g, false, 'main', g, g, g, 0, 0,
          'proc_0123456789abcdef0123456789abcdef', 1, 3 from generate_series(1, $1::integer) g`,
        [PARKED_RUNS],
      )
      await world.sql('vacuum analyze durable.runs')
      await cycle(session, 64)
      console.log('p50, p99 in ms', 'fresh', await measure(session))
      const dump = new Client({ connectionString: world.url })
      await dump.connect()
      await dump.query('begin isolation level repeatable read')
      await dump.query('select 1')
      const from = performance.now()
      await cycle(session, CYCLES)
      const cycledMs = performance.now() - from
      console.log('cycles per second', Math.round((CYCLES / cycledMs) * 1_000))
      console.log('p50, p99 in ms', 'under the old snapshot', await measure(session))
      await dump.end()
      console.log('p50, p99 in ms', 'right after it', await measure(session))
      await sleep(70_000) // autovacuum looks once a minute
      console.log('p50, p99 in ms', 'a minute after it', await measure(session))
      const sizes = await query(
        world.url,
        `select relname, pg_relation_size(oid)::integer / 1024 as kb from pg_class
        where relnamespace = $1::regnamespace and relname like 'runs%'`,
        [`"${world.schema}"`],
      )
      console.log('sizes', sizes)
    },
  )
})

/** Parks and claims so many runs, 64 at a time. */
async function cycle(session: StoreSession, cycles: number): Promise<void> {
  const ids = Array.from({ length: 64 }, (_, index) => `cycling ${cycles} ${index}`)
  await session.commit(ids.map((id) => first(id, { next: DUE_NOW })))
  const hot = new Map<string, number>(ids.map((id) => [id, 1]))
  for (let done = 0; done < cycles; done += 64) {
    const { claimed } = await session.claim({ limit: 64, hot })
    await session.commit(
      claimed.map(({ run }) => ({ ...first(run.id), create: null, epoch: run.epoch, seq: 1, next: DUE_NOW })),
    )
    for (const { run } of claimed) hot.set(run.id, run.epoch)
  }
  const { claimed } = await session.claim({ limit: 64, hot })
  await session.commit(
    claimed.map(({ run }) => ({ ...first(run.id), create: null, epoch: run.epoch, seq: 1, next: PARKED })),
  )
}

/** One run becomes due, and is claimed; beside it, what an update of one row costs at the time. */
async function measure(session: StoreSession): Promise<{ claim: string[]; update: string[] }> {
  const id = `measured ${Math.random()}`
  await session.commit([first(id, { next: PARKED })])
  const client = new Client({ connectionString: world.url })
  await client.connect()
  const claims: number[] = []
  const updates: number[] = []
  for (let sample = 0; sample < SAMPLES; sample++) {
    const before = performance.now()
    await client.query(
      `update "${world.schema}".runs set due_at = floor(extract(epoch from clock_timestamp()) * 1000) where id = $1`,
      [id],
    )
    const from = performance.now()
    const { claimed } = await session.claim({ limit: 10, hot: new Map([[id, sample + 1]]) })
    claims.push(performance.now() - from)
    updates.push(from - before)
    const run = claimed[0]?.run
    if (run?.id !== id) throw new Error('Expected the run that is due.')
    await session.commit([{ ...first(id), create: null, epoch: run.epoch, seq: 1, next: PARKED }])
  }
  await client.end()
  return { claim: percentiles(claims), update: percentiles(updates) }
}

function percentiles(times: readonly number[]): string[] {
  const sorted = times.toSorted((one, other) => one - other)
  return [0.5, 0.99].map((at) => (sorted[Math.floor(sorted.length * at)] ?? 0).toFixed(2))
}
