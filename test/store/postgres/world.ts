import { afterAll, afterEach, beforeAll, beforeEach, vi } from 'vitest'
import { systemClock } from '../../../src/core/system-clock.ts'
import { postgresStore, type PostgresSession, type PostgresStoreOptions } from '../../../src/postgres.ts'
import type { NewRun, NewWait, Outcome, RunCommit, StoreSession } from '../../../src/store/store.ts'
import {
  dropSchema,
  nextSchema,
  query,
  type TestServer,
  type TestServerOptions,
  startDatabase,
  startPostgres,
} from '../../support/postgres.ts'

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 })

type Options = Partial<PostgresStoreOptions>

export interface World<Server> {
  readonly server: Server
  readonly url: string
  readonly schema: string
  connect(processId: string, options?: Options & { leaseMs?: number }): Promise<PostgresSession>
  /** The test has crashed it itself, or closed it. */
  forget(session: StoreSession): void
  /** SQL in which `durable.` is the schema of this test. */
  sql<Row extends object>(text: string, values?: unknown[]): Promise<Row[]>
}

/** One server for a file, one schema for a test, and nothing left of it. */
function useServer<Server extends Pick<TestServer, 'url' | 'dispose'>>(start: () => Promise<Server>): World<Server> {
  let server: Server | undefined
  let schema = ''
  let sessions: PostgresSession[] = []

  function current(): Server {
    if (!server) throw new Error('There is no server yet.')
    return server
  }

  beforeAll(async () => {
    server = await start()
  })
  afterAll(() => current().dispose())
  beforeEach(() => {
    schema = nextSchema()
  })
  afterEach(async () => {
    for (const session of sessions) await session.close()
    sessions = []
    await dropSchema(current().url, schema)
  })

  return {
    get server() {
      return current()
    },
    get url() {
      return current().url
    },
    get schema() {
      return schema
    },
    async connect(processId, { leaseMs = 15_000, ...options } = {}) {
      const reached = options.pool === undefined ? { connectionString: current().url } : {}
      const store = postgresStore({ ...reached, schema, ...options })
      const session = await store.connect({ processId, leaseMs, clock: systemClock })
      sessions.push(session)
      return session
    },
    forget(session) {
      sessions = sessions.filter((other) => other !== session)
    },
    sql: (text, values) => query(current().url, text.replaceAll(/\bdurable\./g, `"${schema}".`), values),
  }
}

/** `DATABASE_URL`'s server will do. */
export function useDatabase(options?: TestServerOptions): World<Pick<TestServer, 'url' | 'dispose'>> {
  return useServer(() => startDatabase(options))
}

/** A server that the test restarts, or whose log it reads. */
export function useOwnServer(options?: TestServerOptions): World<TestServer> {
  return useServer(() => startPostgres(options))
}

export function newRun(values: Partial<NewRun> = {}): NewRun {
  const none = { operationName: null, owner: null, version: null, timeoutMs: null, idempotency: null }
  return { server: 'main', beganAgoMs: 0, input: '{}', ...none, ...values }
}

export function outcome(pos: number, values: Partial<Outcome> = {}): Outcome {
  const rest = {
    kind: 'RUN',
    ok: true,
    calls: pos + 1,
    attempts: 1,
    eventId: null,
    eventName: null,
    tookMs: 0,
  } as const
  return { pos, key: `step ${pos}`, body: `"${pos}"`, ...rest, ...values }
}

export function eventWait(event: string, match: object | null = null, key = 'w'): NewWait {
  return { key, kind: 'EVENT', seq: 0, event, match: match && JSON.stringify(match), forMs: null, attempts: 0 }
}

export function part(runId: string, seq: number, values: Partial<RunCommit> = {}): RunCommit {
  return { runId, epoch: 1, seq, create: null, outcomes: [], opens: [], next: { kind: 'hold' }, ...values }
}

export function first(runId: string, values: Partial<RunCommit> = {}): RunCommit {
  return part(runId, 1, { create: newRun(), ...values })
}

export const DUE_NOW = { kind: 'park', wakeInMs: 0 } as const
export const PARKED = { kind: 'park', wakeInMs: null } as const
export const COMPLETED = { kind: 'end', ending: { status: 'completed', result: '{}' } } as const

/** A number from the environment: how much of a stress, or how long. */
export function knob(name: string, otherwise: number): number {
  return Number(process.env[name] ?? otherwise)
}
