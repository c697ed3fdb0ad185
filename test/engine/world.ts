import { createSchema, createYoga } from 'graphql-yoga'
import type { Plugin } from 'graphql-yoga'
import { afterEach, beforeEach, describe, expect } from 'vitest'
import { useDurable } from '../../plugins/yoga.ts'
import { durableTypeDefs } from '../../schema/index.ts'
import { createDurable } from '../../src/index.ts'
import type { Durable, DurableOptions, RunSnapshot, Step } from '../../src/index.ts'
import { toMs } from '../../src/core/duration.ts'
import type { Duration } from '../../src/core/duration.ts'
import type { RunCommit, Store, StoreSession } from '../../src/store/store.ts'
import type { TestClock } from '../../src/testing.ts'
import { crashSession, openStore, STORES } from '../support/stores.ts'
import type { StoreName } from '../support/stores.ts'

/*
 * What the engine's tests stand on: a world has one store, and servers on it that play processes. Each server is a
 * real Yoga with the plugin, and has a clock of its own, so that one of them can be frozen, or killed, while time goes
 * on for the others.
 */

export interface Tools {
  readonly step: Step
  readonly [key: string]: unknown
}
// Resolvers are written without annotations in these tests: what a field's source and arguments are, the schema says.
export type Resolver = (source: any, args: any, context: Tools, info: any) => unknown
export type Resolvers = Record<string, Record<string, Resolver>>

export interface ServerOptions {
  readonly typeDefs: string
  readonly resolvers: Resolvers
  readonly durable?: DurableOptions
  readonly context?: (initial: { request: Request }) => object
  readonly maskedErrors?: boolean
  /** Before the plugin under test. */
  readonly plugins?: Plugin[]
  /** It gets no hints from the store: they may be lost. */
  readonly deaf?: boolean
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly data: any
  readonly errors: any[] | undefined
  readonly extensions: any
  readonly runId: string
}

export interface Server {
  readonly durable: Durable
  readonly clock: TestClock
  /** What it has written: each part of each commit. */
  readonly commits: RunCommit[]
  readonly warnings: string[]
  /** Sends an operation; time does not move by itself. */
  send(query: string, variables?: Record<string, unknown>, headers?: Record<string, string>): Promise<Answer>
  /** Sends an operation, and moves time until it is answered. */
  ask(query: string, variables?: Record<string, unknown>, headers?: Record<string, string>): Promise<Answer>
  /** Moves time until the run has ended. */
  finish(runId: string, within?: Duration): Promise<RunSnapshot>
  get(runId: string): Promise<RunSnapshot>
  /** What SIGKILL is to a process: nothing more of it happens, in the store or on its clock. */
  kill(): void
  /** SIGSTOP and SIGCONT: its clock stands still, and catches up. Calls already made still end. */
  freeze(): void
  thaw(): Promise<void>
  close(): Promise<void>
}

export interface World {
  readonly store: Store
  /** What resolvers note: the order of what really happened. */
  readonly log: string[]
  serve(options: ServerOptions): Server
  now(): number
  advance(duration: Duration): Promise<void>
  settle(): Promise<void>
  /** Moves time until the promise has settled. */
  until<T>(promise: Promise<T>, within?: Duration): Promise<T>
  /** Makes the store's commits fail as told: thrown before, nothing is written; thrown after, only the answer is lost. */
  onCommit(hook: ((phase: 'before' | 'after', what: string) => void) | null): void
  close(): Promise<void>
}

async function createWorld(storeName: StoreName): Promise<World> {
  let hook: ((phase: 'before' | 'after', what: string) => void) | null = null
  const { store, createClock, dispose } = await openStore(storeName, {
    onCommit: (phase, what) => hook?.(phase, what),
  })
  const running = new Set<TestClock>()
  const servers: Server[] = []
  let now = 1_767_225_600_000
  let seed = 0

  async function settle(): Promise<void> {
    for (const clock of running) await clock.settle()
  }

  async function moveTo(target: number): Promise<void> {
    for (;;) {
      const next = Math.min(target, ...[...running].map((clock) => clock.nextAt ?? Infinity))
      now = Math.max(now, next)
      for (const clock of running) await clock.advance(Math.max(0, now - clock.now()))
      if (next >= target) return
    }
  }

  async function until<T>(promise: Promise<T>, within: Duration = '30m'): Promise<T> {
    const giveUpAt = now + toMs(within)
    let over = false
    const ended = (): void => void (over = true)
    promise.then(ended, ended)
    for (;;) {
      await settle()
      if (!over) await settle() // what needs more turns of the event loop than one settling takes
      if (over) return promise
      const next = Math.min(...[...running].map((clock) => clock.nextAt ?? Infinity))
      if (next > giveUpAt) throw new Error(`Nothing came within ${within} of the world's time.`)
      await moveTo(next)
    }
  }

  function serve(options: ServerOptions): Server {
    const { typeDefs, resolvers, durable: durableOptions, context, maskedErrors, plugins = [], deaf = false } = options
    const clock = createClock({ now, seed: ++seed * 7919 })
    const commits: RunCommit[] = []
    const warnings: string[] = []
    const captured = capturing(store, commits, deaf)
    const durable = createDurable({
      store: captured.store,
      clock,
      onWarning: (message) => void warnings.push(message),
      ...durableOptions,
    })
    const yoga = createYoga({
      schema: createSchema({ typeDefs: [durableTypeDefs, typeDefs], resolvers: resolvers as never }),
      plugins: [...plugins, useDurable(durable)],
      logging: false,
      ...(context && { context }),
      ...(maskedErrors !== undefined && { maskedErrors }),
    })
    let state: 'up' | 'gone' = 'up'
    running.add(clock)

    async function send(query: string, variables?: Record<string, unknown>, headers?: Record<string, string>) {
      const response = await yoga.fetch('http://test/graphql', {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify({ query, variables }),
      })
      const body = JSON.parse(firstPart(await response.text())) as Answer
      return {
        status: response.status,
        headers: response.headers,
        data: body.data,
        errors: body.errors,
        extensions: body.extensions,
        runId: (body.extensions?.runId ?? body.errors?.[0]?.extensions?.runId) as string,
      }
    }

    const server: Server = {
      durable,
      clock,
      commits,
      warnings,
      send,
      ask: (query, variables, headers) => until(send(query, variables, headers)),
      async finish(runId, within) {
        const run = await until(durable.runs.wait(runId), within)
        if (!run) throw new Error(`There is no run ${runId}.`)
        return run
      },
      async get(runId) {
        const run = await until(durable.runs.get(runId))
        if (!run) throw new Error(`There is no run ${runId}.`)
        return run
      },
      kill() {
        state = 'gone'
        running.delete(clock)
        captured.crash()
      },
      freeze: () => void running.delete(clock),
      async thaw() {
        running.add(clock)
        await clock.advance(now - clock.now())
      },
      async close() {
        if (state === 'gone') return
        await until(durable.close())
        state = 'gone'
        await settle()
        running.delete(clock)
        expect(clock.pending, 'timers that a closed server has left').toBe(0)
      },
    }
    servers.push(server)
    return server
  }

  return {
    store,
    log: [],
    serve,
    now: () => now,
    async advance(duration) {
      await settle()
      await moveTo(now + toMs(duration))
    },
    settle,
    until,
    onCommit: (next) => void (hook = next),
    async close() {
      hook = null
      try {
        for (const server of servers) await server.close()
      } finally {
        await dispose()
      }
    },
  }
}

/** Of a response that is delivered incrementally, what came first; else the response. */
function firstPart(body: string): string {
  return body.trimStart().startsWith('---') ? (/\{.*\}/.exec(body)?.[0] ?? '') : body
}

/** The store with what is committed through it noted, and a handle to play a crash. */
function capturing(store: Store, commits: RunCommit[], deaf: boolean): { readonly store: Store; crash(): void } {
  let session: StoreSession | null = null
  return {
    crash: () => session && crashSession(session),
    store: {
      name: store.name,
      async connect(options) {
        const opened = await store.connect(options)
        session = opened
        return {
          ...opened,
          ...(deaf && { watch: () => () => {} }),
          commit: (batch) => {
            commits.push(...batch)
            return opened.commit(batch)
          },
        }
      },
    },
  }
}

/** A store with some of its sessions' calls replaced. */
export function wrapped(store: Store, wrap: (session: StoreSession) => Partial<StoreSession>): Store {
  return {
    name: store.name,
    async connect(options) {
      const session = await store.connect(options)
      return { ...session, ...wrap(session) }
    },
  }
}

/** The same tests over each store that lives in this process. `world()` is the current test's. */
export function overStores(title: string, tests: (world: () => World) => void): void {
  over(title, ['memory', 'SQLite'], tests)
}

/** Over PostgreSQL as well, where calls overlap and the server's clock decides. The file says `usePostgres()`. */
export function overAllStores(title: string, tests: (world: () => World) => void): void {
  over(title, STORES, tests)
}

/** A process that stands still loses its lease in these; a SQLite file sees a process's real death instead. */
const WITH_LEASES: readonly StoreName[] = ['memory', 'SQLite in memory']

export function overStoresWithLeases(title: string, tests: (world: () => World) => void): void {
  over(title, WITH_LEASES, tests)
}

/** PostgreSQL sees both. The file says `usePostgres()`. */
export function overAllStoresWithLeases(title: string, tests: (world: () => World) => void): void {
  over(title, [...WITH_LEASES, 'PostgreSQL'], tests)
}

function over(title: string, stores: readonly StoreName[], tests: (world: () => World) => void): void {
  describe.each(stores)(`${title} (%s)`, (store) => {
    let world: World
    beforeEach(async () => {
      world = await createWorld(store)
    })
    afterEach(() => world.close())
    tests(() => world)
  })
}

/** A resolver's promise that a test settles by hand: what is no tool. */
export function deferred<T = void>(): {
  readonly promise: Promise<T>
  resolve(value: T): void
  reject(error: unknown): void
} {
  return Promise.withResolvers<T>()
}

/** One field, `go`, that answers anything. */
export function oneField(go: Resolver, durable?: DurableOptions): ServerOptions {
  return {
    typeDefs: 'scalar Any type Query { go(n: Int): Any }',
    resolvers: { Query: { go } },
    ...(durable && { durable }),
  }
}
