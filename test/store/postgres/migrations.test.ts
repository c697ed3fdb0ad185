import { fork } from 'node:child_process'
import { once } from 'node:events'
import { Client } from 'pg'
import { describe, expect, it } from 'vitest'
import { CREATE_MIGRATIONS, MIGRATIONS } from '../../../src/store/postgres/sql/schema.ts'
import { systemClock } from '../../../src/core/system-clock.ts'
import { leafOf } from '../../../src/store/leaf.ts'
import { postgresStore } from '../../../src/postgres.ts'
import { query } from '../../support/postgres.ts'
import { COMPLETED, DUE_NOW, eventWait, first, useDatabase } from './world.ts'

const PROCESSES = 10
const world = useDatabase()

describe('migrations', () => {
  it(`are made once when ${PROCESSES} processes start on an empty database at the same time`, async () => {
    const fixture = new URL('../fixtures/postgres-process.ts', import.meta.url)
    const children = Array.from({ length: PROCESSES }, (_, index) =>
      fork(fixture, [world.url, world.schema, `p${index}`]),
    )
    try {
      const answers = await Promise.all(children.map((child) => once(child, 'message')))
      expect(answers.map(([answer]) => answer as unknown)).toEqual(children.map(() => 'ready'))
      expect(await world.sql('select version from durable.migrations')).toEqual(
        MIGRATIONS.map((_, index) => ({ version: index + 1 })),
      )
      expect(await world.sql('select id from durable.processes')).toHaveLength(PROCESSES)
      const exits = children.map((child) => once(child, 'exit'))
      for (const child of children) child.send('leave')
      expect((await Promise.all(exits)).map(([code]) => code as unknown)).toEqual(children.map(() => 0))
      expect(await world.sql('select id from durable.processes')).toEqual([])
    } finally {
      for (const child of children) child.kill('SIGKILL')
    }
  })

  it('refuse a database that a newer version has written', async () => {
    await (await world.connect('a')).close()
    await world.sql('insert into durable.migrations (version) values (99)')
    await expect(world.connect('b')).rejects.toMatchObject({
      kind: 'broken',
      message: expect.stringMatching(new RegExp(`version ${MIGRATIONS.length} or older.*at 99.*Upgrade`)),
    })
  })

  it('take along what an earlier version has written, whichever that was', async () => {
    for (const version of [...MIGRATIONS.keys()].slice(1)) {
      await world.sql(`create schema "${world.schema}"; ${CREATE_MIGRATIONS}`)
      for (const migration of MIGRATIONS.slice(0, version)) await world.sql(migration)
      await world.sql(`
        insert into durable.migrations (version) select generate_series(1, ${version});
        insert into durable.runs (id, status, epoch, len, bytes, due_at, signalled, server, began_at, created_at,
          updated_at, takeovers, resume_failures, commit_by, commit_epoch, commit_seq)
        values ('run', 'suspended', 3, 0, 5, 1, false, 'main', 1, 1, 1, 2, 0, 'nobody', 3, 1);
        insert into durable.inputs (run, body) select n, 'input' from durable.runs;
        insert into durable.waits (run_id, key, kind, seq, event, match, leaf, attempts, since)
          values ('run', 'w', 'EVENT', 0, 'order', '{"id":8}', ${leafOf({ id: 8 })}, 0, 1);
        insert into durable.events (id, name, data, accepted_at) values ('e', 'order', '{"id":7}', 1)`)
      const session = await world.connect(`after ${version}`)
      const [claimed] = (await session.claim({ limit: 1 })).claimed
      expect(claimed).toMatchObject({
        run: { id: 'run', epoch: 4, takeovers: 2, blamed: 0 },
        loaded: { input: 'input' },
      })
      const query = { name: 'order', match: '{"id":7}', since: 0, until: null, exclude: new Set<string>() }
      expect(await session.findEvents([query])).toMatchObject([{ id: 'e', acceptedAt: 1 }])
      const event = { name: 'order', data: '{"id":8}' }
      expect((await session.send([{ ...event, id: 'e' }])).signalled).toEqual([])
      expect((await session.send([{ ...event, id: 'f' }])).signalled).toEqual(['run'])
      await session.close()
      await world.sql(`drop schema "${world.schema}" cascade`)
    }
  })

  it('stop nobody who runs already, while something holds the tables that they change', async () => {
    const old = await world.connect('old')
    await old.commit([first('run', { next: DUE_NOW })])
    await world.sql('delete from durable.migrations where version > 1')
    const dump = new Client({ connectionString: world.url })
    await dump.connect()
    await dump.query('begin')
    await dump.query(`select count(*) from "${world.schema}".runs`)
    const from = performance.now()
    await expect(world.connect('new')).rejects.toMatchObject({ kind: 'transient' })
    expect(performance.now() - from).toBeLessThan(5_000)
    await old.beat()
    expect(performance.now() - from).toBeLessThan(6_000)
    await dump.end()
  })

  it('take any name for a schema, and touch no other', async () => {
    const odd = `it's "odd"; drop schema public; -- durable.x $1`
    const store = postgresStore({ connectionString: world.url, schema: odd })
    const session = await store.connect({ processId: 'a', leaseMs: 1_000, clock: systemClock })
    try {
      await session.commit([first('run', { opens: [eventWait('order')], next: DUE_NOW })])
      await session.send([{ id: 'evt', name: 'order', data: 'null' }])
      expect((await session.claim({ limit: 1 })).claimed).toHaveLength(1)
      await session.beat()
      expect(await world.sql(`select 1 from pg_namespace where nspname = 'public'`)).toHaveLength(1)
    } finally {
      await session.close()
      await query(world.url, `drop schema "${odd.replaceAll('"', '""')}" cascade`)
    }
  })

  it('need no privilege once they are made: a role that may only use the tables runs everything', async () => {
    await (await world.connect('owner')).close()
    const role = `user_${process.pid}`
    await world.sql(`create role ${role} login`)
    const url = new URL(world.url)
    url.username = role
    try {
      await world.sql(`grant usage on schema "${world.schema}" to ${role}`)
      await world.sql(`grant select, insert, update, delete on all tables in schema "${world.schema}" to ${role}`)
      const session = await world.connect('user', { connectionString: url.href, leaseMs: 100 })
      await session.commit([first('run', { opens: [eventWait('order')], next: DUE_NOW })])
      await session.send([{ id: 'evt', name: 'order', data: 'null' }])
      expect((await session.claim({ limit: 1 })).claimed).toHaveLength(1)
      await session.commit([first('other', { next: COMPLETED })])
      await session.end('run', COMPLETED.ending)
      await session.beat()
      await new Promise((resolve) => setTimeout(resolve, 150))
      await session.reap()
      await session.prune(0)
      await session.delete('other')
      await session.close()
    } finally {
      await world.sql(`drop owned by ${role}; drop role ${role}`)
    }
  })

  it('ask for the privileges that they need', async () => {
    const role = `stranger_${process.pid}`
    await world.sql(`create role ${role} login`)
    const url = new URL(world.url)
    url.username = role
    try {
      const refused = world.connect('stranger', { connectionString: url.href })
      await expect(refused).rejects.toMatchObject({ kind: 'broken', message: expect.stringMatching(/privileges/) })
    } finally {
      await world.sql(`drop owned by ${role}; drop role ${role}`)
    }
  })
})
