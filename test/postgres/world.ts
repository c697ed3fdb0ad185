import { createSchema, createYoga } from 'graphql-yoga'
import { afterAll, afterEach, beforeAll, beforeEach, expect, vi } from 'vitest'
import { useDurable } from '../../plugins/yoga.ts'
import { durableTypeDefs } from '../../schema/index.ts'
import { createDurable } from '../../src/index.ts'
import type { Durable, DurableContext, DurableOptions } from '../../src/index.ts'
import { postgresStore, type PostgresStoreOptions } from '../../src/postgres.ts'
import {
  dropSchema,
  nextSchema,
  query,
  sleep,
  startPostgres,
  type TestServer,
  type TestServerOptions,
} from '../support/postgres.ts'
import { type Proxy, startProxy } from '../support/proxy.ts'

/*
 * A server's whole path, from the request to PostgreSQL and back, with a PostgreSQL that the test may break.
 */

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

/** The tests break the server: they need one of their own. */
export const reason =
  process.env['DATABASE_URL'] === undefined ? null : 'DATABASE_URL names a server, and this test has to break its own'

export interface Answer {
  readonly status: number
  readonly location: string | null
  readonly body: any
  readonly tookMs: number
}

/** One process, as the others see it. */
export interface App {
  readonly durable: Durable
  readonly warnings: string[]
  /** Commits that were sent, successful or not: when. */
  readonly commits: number[]
  ask(text: string, headers?: Readonly<Record<string, string>>): Promise<Answer>
  /** The stored response of a run that this process is told of; throws where it does not end. */
  result(runId: string): Promise<any>
  close(): Promise<void>
}

export interface AppOptions extends DurableOptions {
  /** Default: the test's server. */
  readonly connectionString?: string
  readonly pool?: PostgresStoreOptions['pool']
  readonly onCommit?: NonNullable<PostgresStoreOptions['onCommit']>
  readonly resolvers?: Record<string, (args: any, context: DurableContext) => unknown>
}

export interface World {
  readonly server: TestServer
  readonly schema: string
  /** Steps whose function was called, in order. */
  readonly calls: string[]
  /** Steps that were called again after their outcome had been released, and so acknowledged. */
  readonly repeated: string[]
  /** What holds a step until the test lets it go on; none does by default. */
  gate: (call: string) => Promise<void>
  start(options?: AppOptions): App
  /** Something between a process and the server, which the test may cut. */
  between(): Promise<{ readonly proxy: Proxy; readonly connectionString: string }>
  /** What a test has set up besides, and what its processes need until they are closed. */
  whenClosed(dispose: () => Promise<void>): void
  sql<Row extends object>(text: string, values?: unknown[]): Promise<Row[]>
}

const TYPE_DEFS = `
  type Query { ok: Boolean }
  type Mutation {
    order(n: Int!): String
    parcel(n: Int!): String
    approval(n: Int!): String
    custom(n: Int!): String
  }`

const PATIENCE_MS = 30_000

export function useWorld(options?: TestServerOptions): World {
  let server: TestServer | undefined
  let schema = ''
  const calls: string[] = []
  const repeated: string[] = []
  const released = new Set<string>()
  const apps = new Set<App>()
  const proxies: Proxy[] = []
  const disposals: (() => Promise<void>)[] = []
  const open = (): Promise<void> => Promise.resolve()

  function current(): TestServer {
    if (!server) throw new Error('There is no server yet.')
    return server
  }

  beforeAll(async () => {
    server = await startPostgres(options)
  })
  afterAll(() => current().dispose())
  beforeEach(() => {
    schema = nextSchema()
    world.gate = open
    calls.length = repeated.length = 0
    released.clear()
  })
  afterEach(async () => {
    for (const proxy of proxies) proxy.setDown(false)
    for (const app of apps) await app.close()
    for (const proxy of proxies.splice(0)) await proxy.close()
    for (const dispose of disposals.splice(0)) await dispose()
    await expectNothingLeft()
    await dropSchema(current().url, schema)
  })

  /** Whoever closed has gone from the database: no connection, no lock, no process, no lease. */
  async function expectNothingLeft(): Promise<void> {
    const held = `select 'connection' as what from pg_stat_activity where application_name like 'graphql-durable %'
      union all select 'lock' from pg_locks where locktype = 'advisory'`
    await expect.poll(() => query(current().url, held), { timeout: 5_000 }).toEqual([])
    const [tables] = await world.sql<{ there: boolean }>(`select to_regclass('durable.runs') is not null as there`)
    if (!tables?.there) return
    expect(await world.sql('select id from durable.processes')).toEqual([])
    expect(await world.sql('select id, holder from durable.runs where holder is not null')).toEqual([])
  }

  /** A step that notes its calls; whatever comes after it knows that it was acknowledged. */
  async function note(step: DurableContext['step'], n: number, name: string): Promise<void> {
    const call = `${n} ${name}`
    await step.run(name, async () => {
      calls.push(call)
      if (released.has(call)) repeated.push(call)
      await world.gate(call)
    })
    released.add(call)
  }

  const resolvers: Required<AppOptions>['resolvers'] = {
    /** Three steps in the request. */
    async order({ n }: { n: number }, { step }) {
      for (const name of ['reserve', 'charge', 'ship']) await note(step, n, name)
      return `order ${n}`
    },
    /** Parks between two steps. */
    async parcel({ n }: { n: number }, { step }) {
      await note(step, n, 'pack')
      await step.sleep('transit', 1_500)
      await note(step, n, 'deliver')
      return `parcel ${n}`
    },
    /** Parks until somebody approves. */
    async approval({ n }: { n: number }, { step }) {
      await note(step, n, 'ask')
      const event = await step.waitForEvent<{ by: string }>('approved', { event: 'approved', match: { n } })
      await note(step, n, 'book')
      return `${n} by ${event?.data.by}`
    },
  }

  function start({ connectionString, pool, onCommit, resolvers: own = {}, ...options }: AppOptions = {}): App {
    const warnings: string[] = []
    const commits: number[] = []
    const durable = createDurable({
      store: postgresStore({
        ...(pool ? { pool } : { connectionString: connectionString ?? current().url }),
        schema,
        onWarning: (message) => warnings.push(message),
        onCommit(phase, what) {
          if (phase === 'before' && what === 'commit') commits.push(performance.now())
          onCommit?.(phase, what)
        },
      }),
      worker: { pollInterval: '200ms', lease: '5s' },
      context: { capture: () => null },
      onWarning: (message, details) => warnings.push(`${message} ${JSON.stringify(details)}`),
      ...options,
    })
    const yoga = createYoga({
      schema: createSchema<DurableContext>({
        typeDefs: [durableTypeDefs, TYPE_DEFS],
        resolvers: {
          Mutation: Object.fromEntries(
            Object.entries({ ...resolvers, ...own }).map(([name, resolve]) => [
              name,
              (_source: unknown, args: unknown, context: DurableContext) => resolve(args, context),
            ]),
          ),
        },
      }),
      plugins: [useDurable(durable)],
      logging: false,
    })
    const app: App = {
      durable,
      warnings,
      commits,
      async ask(text, headers = {}) {
        const from = performance.now()
        const response = await yoga.fetch('http://localhost/graphql', {
          method: 'POST',
          headers: { 'content-type': 'application/json', ...headers },
          body: JSON.stringify({ query: text }),
        })
        const body: unknown = await response.json()
        const { status } = response
        return { status, location: response.headers.get('location'), body, tookMs: performance.now() - from }
      },
      async result(runId) {
        const giveUpAt = performance.now() + PATIENCE_MS
        for (;;) {
          // A database that is away for longer than the library is patient is the test's doing.
          const run = await durable.runs.wait(runId, { timeout: '5s' }).catch(() => null)
          if (run?.result) return run.result
          if (performance.now() > giveUpAt) throw new Error(`${runId} has not ended: ${JSON.stringify(run)}`)
          await sleep(20)
        }
      },
      async close() {
        apps.delete(app)
        await durable.close({ timeout: '2s' })
      },
    }
    apps.add(app)
    return app
  }

  const world: World = {
    get server() {
      return current()
    },
    get schema() {
      return schema
    },
    calls,
    repeated,
    gate: open,
    start,
    async between() {
      const proxy = await startProxy(current().url)
      proxies.push(proxy)
      const url = new URL(current().url)
      url.port = String(proxy.port)
      return { proxy, connectionString: url.href }
    },
    whenClosed: (dispose) => void disposals.push(dispose),
    sql: (text, values) => query(current().url, text.replaceAll(/\bdurable\./g, `"${schema}".`), values),
  }
  return world
}

export function codesOf({ body }: Answer): unknown[] {
  return (body.errors ?? []).map((error: any) => error.extensions?.code)
}

/** Cuts every connection of the store's, as an administrator does. */
export async function terminateAll(url: string): Promise<number> {
  const rows = await query(
    url,
    `select pg_terminate_backend(pid) from pg_stat_activity
    where application_name like 'graphql-durable %' and pid <> pg_backend_pid()`,
  )
  return rows.length
}
