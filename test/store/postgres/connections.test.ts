import { defaults, Pool, types } from 'pg'
import { afterEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/core/system-clock.ts'
import { postgresStore } from '../../../src/postgres.ts'
import { StoreError } from '../../../src/store/store.ts'
import type { StoreHint } from '../../../src/store/store.ts'
import { type Proxy, startProxy } from '../../support/proxy.ts'
import { query, sleep } from '../../support/postgres.ts'
import { DUE_NOW, eventWait, first, outcome, part, useDatabase } from './world.ts'

const world = useDatabase()
let proxy: Proxy | undefined
const CONNECTION = { processId: 'p', leaseMs: 1_000, clock: systemClock }

afterEach(async () => {
  await proxy?.close()
  proxy = undefined
})

function through({ port }: Proxy): string {
  const url = new URL(world.url)
  url.hostname = '127.0.0.1'
  url.port = String(port)
  return url.href
}

async function heldLocks(): Promise<number> {
  const keys = await world.sql<{ held: number }>(
    `select count(*)::integer as held from durable.processes p join pg_locks l
      on l.locktype = 'advisory' and ((l.classid::bigint << 32) | l.objid::bigint) = p.lock_key`,
  )
  return keys[0]?.held ?? 0
}

/** Until a connection has been made again. */
async function retried<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call()
    } catch (error) {
      if (!(error instanceof StoreError) || error.kind !== 'transient') throw error
      await sleep(20)
    }
  }
}

/** Cuts every connection of the store's, as an administrator or a failover does. */
function terminateAll(): Promise<unknown> {
  return query(
    world.url,
    `select pg_terminate_backend(pid) from pg_stat_activity
    where application_name like 'graphql-durable %' and pid <> pg_backend_pid()`,
  )
}

describe('connections', () => {
  it('read the rows themselves, whatever the application has set for its own, globally and for its pool', async () => {
    const others = [16, 20, 21, 23, 25, 26, 114, 700, 701, 1700, 3802]
    const before = others.map((oid) => types.getTypeParser(oid))
    const binary = defaults.binary
    for (const oid of others) types.setTypeParser(oid, (text: string) => `parsed: ${text}`)
    defaults.binary = true
    const asBinary = { binary: true } // which the driver knows, and its types do not
    const pool = new Pool({
      ...asBinary,
      connectionString: world.url,
      types: { getTypeParser: () => () => 'of the pool' },
      options: '-c DateStyle=German -c standard_conforming_strings=off -c search_path= -c extra_float_digits=0',
    })
    try {
      const warnings: string[] = []
      const session = await world.connect('a', { pool, onWarning: (warning) => warnings.push(warning) })
      const opens = [eventWait('order', { id: 7 }, 'back\\slash')]
      const { at } = await session.commit([first('run', { outcomes: [outcome(0)], opens, next: DUE_NOW })])
      expect(at).toBeGreaterThan(1_600_000_000_000)
      const { claimed } = await session.claim({ limit: 1 })
      expect(claimed[0]).toMatchObject({
        run: { epoch: 2, len: 1, signalled: false, takeovers: 0, onProbation: false },
        loaded: { journal: [{ pos: 0, ok: true, body: '"0"', attempts: 1 }], waits: [{ key: 'back\\slash', seq: 0 }] },
      })
      expect((await session.send([{ id: 'e', name: 'order', data: '{"id":7}' }])).signalled).toEqual(['run'])
      expect((await session.beat()).held).toEqual([{ runId: 'run', epoch: 2, signalled: true }])
      expect(await session.reap()).toBe(0)
      expect(await session.list({ first: 1 })).toMatchObject([{ id: 'run', signalled: true }])
      expect(await session.prune(0)).toMatchObject({ runs: 0 })
      expect(warnings).toEqual([])
    } finally {
      for (const [index, oid] of others.entries()) types.setTypeParser(oid, before[index] as (text: string) => unknown)
      defaults.binary = binary
      await pool.end()
    }
  })

  it('take null among a parameter’s elements, whatever the role says of it', async () => {
    const role = `role_${Date.now()}`
    await query(world.url, `create role ${role} superuser login; alter role ${role} set array_nulls = off`)
    const url = new URL(world.url)
    url.username = role
    const pool = new Pool({ connectionString: url.href })
    try {
      const session = await world.connect('a', { pool })
      await session.commit([first('run', { outcomes: [outcome(0)], opens: [eventWait('order', null)], next: DUE_NOW })])
      expect((await session.read('run'))?.run).toMatchObject({ owner: null, operationName: null, note: null })
      await session.close()
      world.forget(session)
    } finally {
      await pool.end()
      await query(world.url, `reassign owned by ${role} to postgres; drop owned by ${role}; drop role ${role}`)
    }
  })

  it.each(['LATIN1', 'EUC_JP'])(
    'to a database in %s, which cannot keep every text, are refused with a way out, before anything has run',
    async (encoding) => {
      const name = `database_${Date.now()}`
      const options = `encoding '${encoding}' lc_collate 'C' lc_ctype 'C' template template0`
      await query(world.url, `create database ${name} ${options}`)
      const url = new URL(world.url)
      url.pathname = `/${name}`
      const store = postgresStore({ connectionString: url.href, onWarning: () => {} })
      await expect(store.connect(CONNECTION)).rejects.toThrow(
        `expected a database that is encoded as UTF8, but this one is as ${encoding}`,
      )
      await query(world.url, `drop database ${name}`)
    },
  )

  it.each(['', 'pg_own', 'half \ud800', 'a\0b', 'x'.repeat(64), 5])('are not made for the schema %j', (schema) => {
    expect(() => postgresStore({ connectionString: world.url, schema: schema as string })).toThrow(
      /expected a schema's name of 1 to 63 bytes that does not begin with pg_/,
    )
  })

  it('are the store’s own, also where a pool is given whose connections are all in use', async () => {
    const pool = new Pool({ connectionString: world.url, max: 1 })
    const taken = await pool.connect()
    const session = await world.connect('a', { pool })
    await session.commit([first('run', { next: DUE_NOW })])
    expect((await session.claim({ limit: 1 })).claimed).toHaveLength(1)
    await session.beat()
    taken.release()
    await pool.end()
  })

  it('are made again when backends are terminated in the middle of work; what was acknowledged is kept, once (I1, I2)', async () => {
    const session = await world.connect('a')
    const kinds = new Set<string>()
    const until = performance.now() + 3_000
    let terminations = 0
    let acknowledged = 0
    const counted = async (commit: () => Promise<unknown>): Promise<void> => {
      for (;;) {
        try {
          await commit()
          return
        } catch (error) {
          kinds.add(error instanceof StoreError ? error.kind : String(error))
          await sleep(5)
        }
      }
    }
    const work = async (): Promise<void> => {
      await counted(() => session.commit([first('run')]))
      while (performance.now() < until) {
        const next = part('run', acknowledged + 2, { outcomes: [outcome(acknowledged)] })
        await counted(async () => {
          expect((await session.commit([next])).accepted.has('run')).toBe(true)
        })
        acknowledged++
      }
    }
    const terminate = async (): Promise<void> => {
      while (performance.now() < until) {
        await sleep(60)
        await terminateAll()
        terminations++
      }
    }
    await Promise.all([work(), terminate()])
    console.log('terminated backends', { terminations, acknowledged })
    await counted(() => session.beat())
    const view = await session.read('run', { journal: true })
    expect(view?.journal?.map(({ pos }) => pos)).toEqual(Array.from({ length: acknowledged }, (_, pos) => pos))
    expect([...kinds]).toEqual(['transient'])
    expect(acknowledged).toBeGreaterThan(20)
  })

  it('hear and hold their lock again after they were lost', async () => {
    const [session, other] = [await world.connect('a'), await world.connect('b')]
    await terminateAll()
    // Not with the next beat only.
    await expect.poll(heldLocks, { timeout: 1_500 }).toBe(2)
    const hints: StoreHint[] = []
    session.watch((hint) => hints.push(hint))
    await expect
      .poll(
        () =>
          session.beat().then(
            () => true,
            () => false,
          ),
        { timeout: 5_000 },
      )
      .toBe(true)
    await expect
      .poll(
        () =>
          other.beat().then(
            () => true,
            () => false,
          ),
        { timeout: 5_000 },
      )
      .toBe(true)
    const rows = await world.sql('select id from durable.processes where locked_in is not null')
    expect(rows).toHaveLength(2)
    hints.length = 0
    await other.commit([first('run', { next: DUE_NOW })])
    await expect.poll(() => hints).toContainEqual({ kind: 'due' })
  })

  it('through a pooler that swallows notifications are found out, warned about once, and polled', async () => {
    proxy = await startProxy(world.url, { swallowsNotifications: true })
    const warnings: string[] = []
    const store = postgresStore({
      connectionString: through(proxy),
      schema: world.schema,
      onWarning: (message) => warnings.push(message),
    })
    const sessions = [await store.connect(CONNECTION), await store.connect({ ...CONNECTION, processId: 'q' })]
    expect(warnings).toEqual([expect.stringMatching(/pooler in transaction mode/)])
    const hints: StoreHint[] = []
    sessions[0]?.watch((hint) => hints.push(hint))
    await sessions[1]?.commit([first('run', { next: DUE_NOW })])
    expect((await sessions[0]?.claim({ limit: 1 }))?.claimed).toHaveLength(1)
    await sessions[0]?.beat()
    await expect.poll(() => hints, { timeout: 3_000 }).toContainEqual({ kind: 'changed' })
    // A lock that a pooler hands on means nothing.
    expect(await world.sql('select id from durable.processes where locked_in is not null')).toEqual([])
    for (const session of sessions) await session.close()
  })

  it('say when a run began, over a slow network too (I6)', async () => {
    proxy = await startProxy(world.url)
    const slow = await world.connect('slow', { connectionString: through(proxy) })
    const fast = await world.connect('fast')
    await slow.beat()
    proxy.delayMs = 300
    const committed = slow.commit([first('run')])
    await fast.send([{ id: 'evt', name: 'order', data: 'null' }])
    await committed
    proxy.delayMs = 0
    const since = (await fast.read('run'))?.run.beganAt ?? Number.NaN
    const [event] = await fast.findEvents([{ name: 'order', match: null, since, until: null, exclude: new Set() }])
    expect(event?.id).toBe('evt')
    expect(Number(event?.acceptedAt) - since).toBeLessThan(100)
    await slow.close()
  })

  it('that everybody lost for longer than a lease make nobody dead, once they are back (I4)', async () => {
    const leaseMs = 1_500
    proxy = await startProxy(world.url)
    const connectionString = through(proxy)
    const one = await world.connect('one', { connectionString, leaseMs })
    const other = await world.connect('other', { connectionString, leaseMs })
    await other.commit([first('run')])
    await one.beat()
    proxy.setDown(true)
    await expect(one.beat()).rejects.toMatchObject({ kind: 'transient' })
    await sleep(leaseMs + 500)
    proxy.setDown(false)
    // The first one to come back looks before the others can have beaten.
    const released = await retried(() => one.reap())
    expect(released).toBe(0)
    expect(await retried(() => one.reap())).toBe(0)
    await retried(() => other.beat())
    expect((await other.commit([part('run', 2)])).accepted.has('run')).toBe(true)
    for (const session of [one, other]) await session.close()
  })

  it('to a server that may forget what it acknowledged are warned about, once', async () => {
    const warnings: string[] = []
    const store = postgresStore({
      connectionString: `${world.url}?options=-c%20synchronous_commit%3Doff`,
      schema: world.schema,
      onWarning: (message) => warnings.push(message),
    })
    for (let times = 0; times < 2; times++) await (await store.connect(CONNECTION)).close()
    expect(warnings).toEqual([expect.stringMatching(/synchronous_commit = off.*Set it to on/)])
  })

  it('that cannot be made are a transient error, and those that never will be a broken store', async () => {
    const connect = (connectionString: string) => postgresStore({ connectionString }).connect(CONNECTION)
    await expect(connect('postgres://postgres@127.0.0.1:1/postgres')).rejects.toMatchObject({ kind: 'transient' })
    const elsewhere = new URL(world.url)
    elsewhere.pathname = '/nowhere'
    await expect(connect(elsewhere.href)).rejects.toMatchObject({
      kind: 'broken',
      message: expect.stringMatching(/3D000/),
    })
  })

  it('are all closed with their session', async () => {
    const session = await world.connect('a')
    await session.commit([first('run')])
    await session.close()
    const count = (): Promise<unknown[]> =>
      query(world.url, `select pid from pg_stat_activity where application_name like 'graphql-durable %'`)
    await expect.poll(count).toEqual([])
  })
})
