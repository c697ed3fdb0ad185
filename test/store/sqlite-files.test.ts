import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { RunCommit, StoreSession } from '../../src/store/store.ts'
import { Database } from '../../src/store/sqlite/database.ts'
import { statement } from '../../src/store/sqlite/sql/statement.ts'
import { APPLICATION_ID, MIGRATIONS } from '../../src/store/sqlite/sql/schema.ts'
import * as claimSql from '../../src/store/sqlite/sql/claim.ts'
import * as eventsSql from '../../src/store/sqlite/sql/events.ts'
import * as livenessSql from '../../src/store/sqlite/sql/liveness.ts'
import * as readSql from '../../src/store/sqlite/sql/read.ts'
import { sqliteStore, type SqliteStoreOptions } from '../../src/sqlite.ts'
import { createTestClock } from '../../src/testing.ts'

let directory: string
let path: string
let sessions: StoreSession[]

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'durable-sqlite-'))
  path = join(directory, 'runs.db')
  sessions = []
})

afterEach(async () => {
  for (const session of sessions) await session.close()
  rmSync(directory, { recursive: true })
})

async function connect(options: Partial<SqliteStoreOptions> = {}): Promise<StoreSession> {
  const processId = `process ${sessions.length}`
  const session = await sqliteStore({ path, ...options }).connect({ processId, leaseMs: 500, clock: createTestClock() })
  sessions.push(session)
  return session
}

describe('a path', () => {
  it('is that of one file, whatever directory the process changes to, and whatever is in its name', async () => {
    const before = process.cwd()
    process.chdir(directory)
    try {
      for (const name of ['runs.db', 'file:runs.db', 'file:x.db?mode=memory', 'q?mode=ro.db', 'ü #%20.db']) {
        const session = await connect({ path: name })
        process.chdir(before)
        await session.commit([firstCommit('run')])
        process.chdir(directory)
        expect(readdirSync(directory)).toContain(name)
        expect((await (await connect({ path: join(directory, name) })).read('run'))?.run.id).toBe('run')
      }
    } finally {
      process.chdir(before)
    }
  })

  it.each(['', 'a\0b', null, undefined, 5, {}, { path: 5 }, new URL('file:///tmp/runs.db')])(
    'that is none is refused at once: %j',
    (path) => {
      expect(() => sqliteStore(path as string)).toThrow(/^sqliteStore expected .*, but got /)
    },
  )
})

function firstCommit(runId: string): RunCommit {
  const create = {
    server: 'main',
    operationName: null,
    owner: null,
    version: null,
    beganAgoMs: 0,
    timeoutMs: null,
    idempotency: null,
    input: '',
  }
  return { runId, epoch: 1, seq: 1, create, outcomes: [], opens: [], next: { kind: 'hold' } }
}

function refusal(message: RegExp): object {
  return { name: 'StoreError', kind: 'broken', message: expect.stringMatching(message) }
}

describe('opening', () => {
  it('takes the path alone', async () => {
    const session = await sqliteStore(path).connect({ processId: 'one', leaseMs: 500, clock: createTestClock() })
    await session.close()
    expect(readdirSync(directory)).toEqual(['runs.db'])
  })

  it('refuses a directory that is not there, and names it', async () => {
    const missing = join(directory, 'missing')
    await expect(connect({ path: join(missing, 'runs.db') })).rejects.toMatchObject(
      refusal(new RegExp(`expected a directory .* none at ${missing}. Create it`)),
    )
  })

  it('refuses a directory in the place of the file', async () => {
    mkdirSync(path)
    await expect(connect()).rejects.toMatchObject(refusal(/expected a file that can be opened.*code 14/))
  })

  it('refuses a file that is no database, and leaves it alone', async () => {
    writeFileSync(path, 'This is a shopping list. '.repeat(100))
    await expect(connect()).rejects.toMatchObject({
      ...refusal(/expected an SQLite database.*code 26.*Give another path/),
      cause: { errcode: 26 },
    })
    expect(readdirSync(directory)).toEqual(['runs.db'])
  })

  it('refuses the database of another application', async () => {
    const other = new DatabaseSync(path)
    other.exec('create table runs (miles integer)')
    other.close()
    await expect(connect()).rejects.toMatchObject(refusal(/belongs to another application/))
  })

  it('takes along what an earlier version has written, whichever that was', async () => {
    for (const version of [...MIGRATIONS.keys()].slice(1)) {
      path = join(directory, `version ${version}.db`)
      const older = new DatabaseSync(path)
      for (const migration of MIGRATIONS.slice(0, version)) older.exec(migration)
      older.exec(`
        pragma application_id = ${APPLICATION_ID};
        pragma user_version = ${version};
        insert into runs (n, id, status, epoch, len, due_at, signalled, server, began_at, created_at, updated_at,
          takeovers, resume_failures) values (1, 'run', 'suspended', 3, 0, 1, 0, 'main', 1, 1, 1, 2, 0);
        insert into inputs (run, body) values (1, 'input');
        insert into waits (run, key, kind, seq, event, match, attempts, since)
          values (1, 'w', 'EVENT', 0, 'order', '{"id":8}', 0, 1);
        insert into events (id, name, data, accepted_at) values ('e', 'order', '{"id":7}', 1);`)
      older.close()
      const session = await connect()
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
    }
  })

  it('refuses a file that a newer version has written, and names both versions', async () => {
    await connect()
    await sessions.pop()?.close()
    const newer = new DatabaseSync(path)
    newer.exec('pragma user_version = 99')
    newer.close()
    const message = new RegExp(`at schema version ${MIGRATIONS.length} or older, but it is at 99.*Upgrade`)
    await expect(connect()).rejects.toMatchObject(refusal(message))
  })

  it('commits to the disk before it answers: write-ahead log, fully synchronous (I1)', async () => {
    await connect()
    const other = new DatabaseSync(path)
    expect(other.prepare('pragma journal_mode').get()).toEqual({ journal_mode: 'wal' })
    other.close()
  })

  it('finds the same processes by whatever link the file was reached', async () => {
    const link = join(directory, 'link.db')
    const session = await connect()
    await session.commit([firstCommit('run')])
    symlinkSync(path, link)
    const other = await connect({ path: link })
    expect(await other.reap()).toBe(0)
    expect(await other.read('run')).toMatchObject({ run: { holder: 'process 0' } })
  })
})

describe('a damaged or full file', () => {
  it('is told as broken when pages are not what they should be', async () => {
    await connect()
    await sessions.pop()?.close()
    const damaged = new DatabaseSync(path, { defensive: false })
    damaged.exec("pragma writable_schema = on; update sqlite_master set rootpage = 1000 where name = 'runs'")
    damaged.close()
    const session = connect().then((opened) => opened.read('run'))
    await expect(session).rejects.toMatchObject(refusal(/expected an intact database.*backup/))
  })

  it('rejects as transient when it is full, writes nothing, and works again when there is space', async () => {
    const connection = new DatabaseSync(path)
    connection.exec('create table t (x text); pragma max_page_count = 10')
    const database = new Database(connection, { path, busyTimeoutMs: 0, onCommit: undefined })
    const insert = statement<[x: string]>('insert into t values (?)')
    const fill = (): Promise<number> =>
      database.write(
        'commit',
        () => {},
        () => database.run(insert, 'small') + database.run(insert, 'x'.repeat(100_000)),
      )
    await expect(fill()).rejects.toMatchObject({
      kind: 'transient',
      message: expect.stringMatching(/expected space left on the disk.*code 13.*Nothing was written/),
      cause: { errcode: 13 },
    })
    expect(connection.prepare('select count(*) as count from t').get()).toEqual({ count: 0 })
    connection.exec('pragma max_page_count = 1000')
    expect(await fill()).toBe(2)
    database.close()
  })
})

describe('onCommit', () => {
  it('is called around each commit, and undoes it by throwing before', async () => {
    const calls: string[] = []
    let failing = ''
    const session = await connect({
      onCommit(phase, what) {
        calls.push(`${phase} ${what}`)
        if (`${phase} ${what}` === failing) throw new Error('on purpose')
      },
    })
    await session.commit([firstCommit('run')])
    expect(calls).toEqual(['before connect', 'after connect', 'before commit', 'after commit'])
    for (const [at, isWritten] of [
      ['before commit', false],
      ['after commit', true],
    ] as const) {
      failing = at
      await expect(session.commit([firstCommit(at)])).rejects.toMatchObject({ kind: 'transient' })
      expect((await session.read(at)) !== null).toBe(isWritten)
    }
  })
})

describe('sessions of one process', () => {
  it('write to one file without waiting for each other', async () => {
    const [one, two] = [await connect(), await connect()]
    const runIds = Array.from({ length: 50 }, (_, index) => `run ${index}`)
    await Promise.all(runIds.map((id, index) => (index % 2 ? one : two).commit([firstCommit(id)])))
    expect(await one.list({ first: 100 })).toHaveLength(50)
  })
})

describe('the statements that are asked all the time', () => {
  it('use an index, and never scan or sort', async () => {
    await connect()
    const connection = new DatabaseSync(path)
    const frequent = [
      claimSql.FIND_DUE,
      claimSql.NEXT_DUE,
      claimSql.READ_JOURNAL,
      eventsSql.FIND_WAITS,
      eventsSql.FIND_EVENTS,
      livenessSql.READ_HELD,
      readSql.LIST,
      readSql.LIST_OF_OWNER,
    ]
    for (const { sql } of frequent) {
      const plan = connection.prepare(`explain query plan ${sql}`).all()
      const steps = plan.map(({ detail }) => String(detail)).join('; ')
      expect(steps, sql).toMatch(/USING (COVERING )?(INDEX|PRIMARY KEY)/)
      expect(steps, sql).not.toMatch(/TEMP B-TREE/)
      expect(steps, sql).not.toMatch(/SCAN (?!json_each|\(subquery|.*USING)/)
    }
    connection.close()
  })
})

describe('files that are deleted or replaced while they are open', () => {
  const gone = (what: string): object => refusal(new RegExp(`but it was ${what} since. Nothing is acknowledged`))

  it.each(['', '-wal', '-shm'])(
    'is noticed at once where runs.db%s is deleted, and nothing is acknowledged (I1)',
    async (part) => {
      const session = await connect()
      await session.commit([firstCommit('before')])
      renameSync(path + part, `${path}.aside`)
      await expect(session.commit([firstCommit('after')])).rejects.toMatchObject(gone('deleted'))
      await expect(session.beat()).rejects.toMatchObject(gone('deleted'))
      await expect(session.claim({ limit: 1 })).rejects.toMatchObject(gone('deleted'))
      expect(readdirSync(directory)).not.toContain(`runs.db${part}`)
      renameSync(`${path}.aside`, path + part)
      expect((await session.beat()).held).toContainEqual({ runId: 'before', epoch: 1, signalled: false })
    },
  )

  it('is noticed at once where another file was put in its place, and that one is left alone (I1)', async () => {
    const session = await connect()
    await session.commit([firstCommit('before')])
    const backup = join(directory, 'backup.db')
    const copy = await connect({ path: backup })
    await copy.close()
    renameSync(path, `${path}.aside`)
    copyFileSync(backup, path)
    await expect(session.commit([firstCommit('after')])).rejects.toMatchObject(gone('replaced'))
    expect(readFileSync(path)).toEqual(readFileSync(backup))
    renameSync(`${path}.aside`, path)
  })

  it('is no matter where the directory takes no new files', async () => {
    const session = await connect()
    await session.commit([firstCommit('before')])
    chmodSync(directory, 0o500)
    try {
      await session.commit([firstCommit('after')])
      expect(await session.read('after')).not.toBeNull()
    } finally {
      chmodSync(directory, 0o700)
    }
  })
})

describe('an onWarning of a store', () => {
  it.each([
    [
      'throws',
      (): void => {
        throw new Error('no logger')
      },
    ],
    ['is asynchronous and rejects', async (): Promise<void> => Promise.reject(new Error('no logger'))],
  ])('that %s keeps nothing from being done', async (_, onWarning) => {
    const told = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const clock = createTestClock()
    const session = await sqliteStore({ path, onWarning }).connect({ processId: 'p', leaseMs: 500, clock })
    sessions.push(session)
    const raw = new DatabaseSync(path)
    for (const [n, data] of [
      [1, '{broken'],
      [2, '{"id":7}'],
    ] as const) {
      raw.prepare('insert into events values (?, ?, ?, ?, ?, 0)').run(n, `event ${n}`, 'order', data, clock.now())
      raw.prepare('insert into undispatched values (?, ?, 0)').run(n, clock.now())
    }
    await clock.advance(3_000)
    await session.reap()
    expect(raw.prepare('select event from undispatched where set_aside = 0').all()).toEqual([])
    raw.close()
    expect(told).toHaveBeenCalledWith(expect.stringMatching(/onWarning.*no logger/), 'DurableWarning')
    told.mockRestore()
  })
})

describe('an event in the file that cannot be read', () => {
  it('is set aside with a warning, and the others are dispatched and found (I4)', async () => {
    const clock = createTestClock()
    const warnings: string[] = []
    const onWarning = (warning: string): void => void warnings.push(warning)
    const session = await sqliteStore({ path, onWarning }).connect({ processId: 'p', leaseMs: 500, clock })
    sessions.push(session)
    const opens = [
      { key: 'w', kind: 'EVENT', seq: 0, event: 'order', match: '{"id":7}', forMs: null, attempts: 0 },
    ] as const
    await session.commit([{ ...firstCommit('run'), opens, next: { kind: 'park', wakeInMs: null } }])
    const raw = new DatabaseSync(path)
    const at = clock.now()
    for (const [n, data] of [
      [1, '{broken'],
      [2, '{"id":7}'],
      [3, '{"id":8}'],
    ] as const) {
      raw.prepare('insert into events values (?, ?, ?, ?, ?, 0)').run(n, `event ${n}`, 'order', data, at)
      raw.prepare('insert into undispatched values (?, ?, 0)').run(n, at)
    }
    raw.close()
    await clock.advance(3_000)
    await session.reap()
    expect((await session.read('run'))?.run.signalled).toBe(true)
    expect(warnings).toEqual([
      expect.stringMatching(/"event 1" of the name "order" could not be dispatched.*not tried again/),
    ])
    const query = { name: 'order', match: null, since: 0, until: null, exclude: new Set<string>() }
    expect((await session.findEvents([query, query, query])).map((event) => event?.id ?? null)).toEqual([
      'event 2',
      'event 3',
      null,
    ])
    await session.reap()
    expect(warnings).toHaveLength(1)
  })
})
