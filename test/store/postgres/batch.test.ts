import { Client } from 'pg'
import { describe, expect, it } from 'vitest'
import { StoreError } from '../../../src/store/store.ts'
import type { RunCommit, StoreSession } from '../../../src/store/store.ts'
import { sleep } from '../../support/postgres.ts'
import { COMPLETED, DUE_NOW, first, knob, newRun, outcome, part, useDatabase } from './world.ts'

const SECONDS = knob('DURABLE_STRESS_SECONDS', 4)
const PROCESSES = 4
const RUNS = 60
const BATCH = 20

const world = useDatabase()

interface Held {
  readonly epoch: number
  len: number
  seq: number
}

/** What the processes were told, and what they saw. */
interface Tally {
  readonly accepted: Map<string, string[]>
  readonly errors: Map<string, number>
  counts: { accepted: number; refused: number; repeated: number; takeovers: number; missed: number }
}

function note(tally: Tally, error: unknown): void {
  const cause = error instanceof StoreError ? (error.cause as { code?: string }) : {}
  const code = `${error instanceof StoreError ? error.kind : 'other'} ${cause.code ?? String(error)}`
  tally.errors.set(code, (tally.errors.get(code) ?? 0) + 1)
}

/** Commits for what it believes to hold, in any order, and comes again with some of it. */
async function write(session: StoreSession, name: string, held: Map<string, Held>, tally: Tally, until: number) {
  while (performance.now() < until) {
    const chosen = shuffled([...held]).slice(0, BATCH)
    if (chosen.length === 0) {
      await sleep(1)
      continue
    }
    const parts = chosen.map(([id, { epoch, len, seq }]): RunCommit => {
      const body = `${name} ${epoch}.${len}`
      return part(id, seq + 1, { epoch, outcomes: [outcome(len, { key: body, body })] })
    })
    try {
      const receipt = await session.commit(parts)
      for (const [index, [id, lease]] of chosen.entries()) {
        if (!receipt.accepted.has(id)) {
          tally.counts.refused++
          if (held.get(id) === lease) held.delete(id)
          continue
        }
        tally.counts.accepted++
        lease.len++
        lease.seq++
        const outcomes = tally.accepted.get(id) ?? []
        outcomes.push(parts[index]?.outcomes[0]?.body ?? '')
        tally.accepted.set(id, outcomes)
      }
      if (Math.random() < 0.1) {
        const again = await session.commit(parts)
        tally.counts.repeated += parts.filter(({ runId }) => again.accepted.has(runId)).length
      }
    } catch (error) {
      note(tally, error)
    }
  }
}

/** Lets leases lapse, and claims. Everything acknowledged before the claim has to be in the journal it brings. */
async function takeOver(session: StoreSession, held: Map<string, Held>, tally: Tally, until: number): Promise<void> {
  while (performance.now() < until) {
    await sleep(Math.random() * 5)
    const runId = `run ${Math.floor(Math.random() * RUNS)}`
    try {
      await world.sql(
        `update durable.runs set holder = null, status = 'suspended', due_at = floor(extract(epoch from now()) * 1000) where id = $1 and ended_at is null`,
        [runId],
      )
      const before = new Map([...tally.accepted].map(([id, outcomes]) => [id, [...outcomes]]))
      for (const { run, loaded } of (await session.claim({ limit: 5 })).claimed) {
        tally.counts.takeovers++
        const bodies = loaded?.journal.map(({ body }) => body) ?? []
        const isWhole = bodies.length === run.len && loaded?.journal.every(({ pos }, index) => pos === index)
        if (!isWhole || before.get(run.id)?.some((body) => !bodies.includes(body))) tally.counts.missed++
        held.set(run.id, { epoch: run.epoch, len: run.len, seq: 0 })
      }
    } catch (error) {
      note(tally, error)
    }
  }
}

function shuffled<T>(values: T[]): T[] {
  return values
    .map((value) => ({ value, by: Math.random() }))
    .toSorted((a, b) => a.by - b.by)
    .map(({ value }) => value)
}

describe('the batch statement', () => {
  it(
    `loses nothing, leaves no gap and never deadlocks: ${PROCESSES} processes, shuffled batches, takeovers, ${SECONDS} s (I1, I2, I3)`,
    { timeout: (SECONDS + 60) * 1_000 },
    async () => {
      const ids = Array.from({ length: RUNS }, (_, index) => `run ${index}`)
      const sessions = await Promise.all(Array.from({ length: PROCESSES }, (_, index) => world.connect(`p${index}`)))
      await sessions[0]?.commit(ids.map((id) => first(id, { next: DUE_NOW })))
      const counts = { accepted: 0, refused: 0, repeated: 0, takeovers: 0, missed: 0 }
      const tally: Tally = { accepted: new Map(), errors: new Map(), counts }
      const until = performance.now() + SECONDS * 1_000
      await Promise.all(
        sessions.flatMap((session, index) => {
          const held = new Map<string, Held>()
          return [write(session, `p${index}`, held, tally, until), takeOver(session, held, tally, until)]
        }),
      )
      expect(performance.now() - until).toBeLessThan(10_000)
      const [gaps] = await world.sql<{ runs: number }>(
        `select count(*)::integer as runs from
        (select r.len, count(o.pos) as n, max(o.pos) + 1 as m from durable.runs r left join durable.outcomes o on o.run = r.n
          group by r.id) as x where len <> n or n <> coalesce(m, 0)`,
      )
      const stored = await world.sql<{ id: string; body: string }>(
        'select r.id, o.body from durable.outcomes o join durable.runs r on r.n = o.run',
      )
      const kept = new Set(stored.map(({ id, body }) => `${id} ${body}`))
      const lost = [...tally.accepted].flatMap(([id, bodies]) => bodies.filter((body) => !kept.has(`${id} ${body}`)))
      console.log('batch stress', { ...counts, gaps: gaps?.runs, lost: lost.length, errors: [...tally.errors] })
      expect([...tally.errors]).toEqual([])
      expect({ missed: counts.missed, gaps: gaps?.runs, lost }).toEqual({ missed: 0, gaps: 0, lost: [] })
      expect(Math.min(counts.accepted, counts.refused, counts.repeated, counts.takeovers)).toBeGreaterThan(10)
    },
  )

  it('counts a retry as accepted that overtakes the first try of it (I2)', async () => {
    const session = await world.connect('a')
    const twin = await world.connect('b')
    // The very same parts, at the same time: what a connection that was lost in the middle of a commit leads to.
    for (let round = 0; round < 50; round++) {
      const creation = first(`run ${round}`, { outcomes: [outcome(0)] })
      const both = await Promise.all([session.commit([creation]), session.commit([creation])])
      expect(both.map(({ accepted }) => accepted.size)).toEqual([1, 1])
      const later = part(`run ${round}`, 2, { outcomes: [outcome(1)], next: COMPLETED })
      const ends = await Promise.all([session.commit([later]), twin.commit([later]), session.commit([later])])
      expect(ends.map(({ accepted }) => accepted.size)).toEqual([1, 0, 1])
      expect((await session.read(`run ${round}`))?.run.len).toBe(2)
    }
  })

  it('recognises a first try that is still being committed, on a connection that was given up (I2)', async () => {
    const session = await world.connect('a')
    await withOpenTransaction(async (client) => {
      await insertRun(client, 'run', 'a')
      const retry = session.commit([first('run')])
      await sleep(200)
      await client.query('commit')
      expect((await retry).accepted.has('run')).toBe(true)
    })
  })

  it('names the run under whose key another one was just created', async () => {
    const session = await world.connect('a')
    await withOpenTransaction(async (client) => {
      await insertRun(client, 'winner', 'b')
      await client.query(
        `insert into "${world.schema}".idempotency (key, run_id, fingerprint) values ('k', 'winner', 'f')`,
      )
      const create = newRun({ idempotency: { key: 'k', fingerprint: 'f' } })
      const refused = session.commit([first('loser', { create })])
      await sleep(200)
      await client.query('commit')
      expect([...(await refused).conflicts]).toEqual([['loser', { runId: 'winner', fingerprint: 'f' }]])
    })
  })

  it('rejects what can never be written, and takes the rest of the batch by itself', async () => {
    const session = await world.connect('a')
    await session.commit([first('good'), first('bad')])
    const good = part('good', 2, { outcomes: [outcome(0)] })
    const bad = part('bad', 2, { outcomes: [outcome(0, { key: incompressible(9_000) })] })
    await expect(session.commit([good, bad])).rejects.toMatchObject({ name: 'StoreError', kind: 'rejected' })
    expect((await session.commit([good])).accepted.has('good')).toBe(true)
    expect((await session.read('bad'))?.run.len).toBe(0)
  })

  it('says a run began when it did, however long its first commit was on its way (I6)', async () => {
    const session = await world.connect('a')
    const slow = first('run', { create: newRun({ beganAgoMs: 5 }) })
    await world.sql(
      "create or replace function durable.slow() returns trigger language plpgsql as $$ begin raise exception using errcode = '40001'; end $$",
    )
    await world.sql('create trigger slow before insert on durable.runs for each row execute function durable.slow()')
    const [began] = await world.sql<{ at: string }>(
      'select floor(extract(epoch from clock_timestamp()) * 1000)::bigint as at',
    )
    await expect(session.commit([slow])).rejects.toMatchObject({ kind: 'transient' })
    await session.send([{ id: 'evt', name: 'order', data: 'null' }])
    await sleep(200)
    await world.sql('drop trigger slow on durable.runs')
    await session.commit([slow])
    const beganAt = (await session.read('run'))?.run.beganAt ?? 0
    const since = { name: 'order', match: null, since: beganAt, until: null, exclude: new Set<string>() }
    expect((await session.findEvents([since]))[0]?.id).toBe('evt')
    expect(Math.abs(beganAt - Number(began?.at))).toBeLessThan(150)
  })
})

async function withOpenTransaction(body: (client: Client) => Promise<void>): Promise<void> {
  const client = new Client({ connectionString: world.url })
  await client.connect()
  try {
    await client.query('begin')
    await body(client)
  } finally {
    await client.end()
  }
}

/** What another connection, of this process or of another, is writing. */
async function insertRun(client: Client, id: string, by: string): Promise<void> {
  await client.query(
    `insert into "${world.schema}".runs (id, status, epoch, holder, len, bytes, signalled, server, began_at, created_at,
      updated_at, takeovers, resume_failures, commit_by, commit_epoch, commit_seq)
    values ($1, 'running', 1, $2, 0, 0, false, 'main', 0, 0, 0, 0, 0, $2, 1, 1)`,
    [id, by],
  )
}

function incompressible(length: number): string {
  return Array.from({ length }, () => Math.random().toString(36).charAt(2)).join('')
}
