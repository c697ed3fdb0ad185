import { envelop, useEngine, useMaskedErrors, useSchema } from '@envelop/core'
import type { Plugin as EnvelopPlugin } from '@envelop/core'
import { execute, parse, subscribe, validate } from 'graphql'
import type { FormattedExecutionResult, GraphQLSchema } from 'graphql'
import { createSchema, createYoga } from 'graphql-yoga'
import type { Plugin as YogaPlugin } from 'graphql-yoga'
import { afterEach, expect } from 'vitest'
import { useDurable as useDurableInEnvelop } from '../../plugins/envelop.ts'
import type { ExecutionArgsOption } from '../../plugins/envelop-host.ts'
import { useDurable as useDurableInYoga } from '../../plugins/yoga.ts'
import { durableTypeDefs } from '../../schema/index.ts'
import { createDurable } from '../../src/index.ts'
import type { Durable, DurableOptions, RunSnapshot } from '../../src/index.ts'
import type { TestClock } from '../../src/testing.ts'
import type { Store } from '../../src/index.ts'
import { crashSession, openStore, STORES } from '../support/stores.ts'
import type { StoreName } from '../support/stores.ts'
import { usePostgres } from '../support/standing-postgres.ts'

/** What a response comes to; a server without HTTP has status 200 and no headers. */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: FormattedExecutionResult & { extensions?: Record<string, any> }
}

export interface AskOptions {
  readonly variables?: Record<string, unknown>
  readonly operationName?: string
  readonly headers?: Record<string, string>
  readonly signal?: AbortSignal
  /** Envelop: in place of the context that its pipeline makes. */
  readonly contextValue?: () => unknown
}

/** What every kind of server can be asked. */
export interface TestServer {
  ask(query: string, options?: AskOptions): Promise<Answer>
  /** Over plain HTTP; throws where the server has none. */
  fetch(path: string, init?: RequestInit): Promise<Response>
  dispose(): Promise<void>
}

export type MaskError = (error: unknown, message: string) => Error

export interface AppSpec {
  readonly typeDefs?: string
  readonly resolvers?: any
  readonly schema?: any
  /** In the order of registration; the plugin itself stands where `durable` says. */
  readonly before?: readonly (EnvelopPlugin | YogaPlugin)[]
  readonly after?: readonly (EnvelopPlugin | YogaPlugin)[]
  readonly context?: (initial: any) => any
  readonly maskedErrors?: false | { maskError: MaskError }
  /** Envelop: what its plugin is told of the masking. */
  readonly maskSteps?: MaskError
  readonly durable?: DurableOptions
  readonly batching?: boolean
  /** The plugin's second argument. */
  readonly pluginOptions?: { readonly executionArgs: ExecutionArgsOption }
  /** Registers the plugin this often. */
  readonly times?: number
}

type Serve = (spec: AppSpec, durable: Durable) => TestServer

export function schemaOf({ typeDefs = '', resolvers = {}, schema }: AppSpec): any {
  return schema ?? createSchema({ typeDefs: [durableTypeDefs, typeDefs], resolvers })
}

function serveYoga(spec: AppSpec, durable: Durable): TestServer {
  const own = Array.from({ length: spec.times ?? 1 }, () => useDurableInYoga(durable, spec.pluginOptions))
  const yoga = createYoga<any>({
    schema: schemaOf(spec),
    plugins: [...(spec.before ?? []), ...own, ...(spec.after ?? [])] as YogaPlugin[],
    logging: false,
    ...(spec.context && { context: spec.context }),
    ...(spec.maskedErrors !== undefined && { maskedErrors: spec.maskedErrors as any }),
    batching: spec.batching ?? false,
  })
  return {
    async ask(query, { variables, operationName, headers, signal } = {}) {
      const response = await yoga.fetch('http://localhost/graphql', {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify({ query, variables, operationName }),
        ...(signal && { signal }),
      })
      return { status: response.status, headers: response.headers, body: await response.json() }
    },
    fetch: async (path, init) => yoga.fetch(`http://localhost${path}`, init),
    dispose: async () => yoga.dispose(),
  }
}

function serveEnvelop(spec: AppSpec, durable: Durable): TestServer {
  const own = Array.from({ length: spec.times ?? 1 }, () =>
    useDurableInEnvelop(durable, {
      ...spec.pluginOptions,
      getEnveloped: () => getEnveloped,
      ...(spec.maskSteps && { maskError: spec.maskSteps as (error: unknown, message: string) => unknown }),
    }),
  )
  const { context, maskedErrors } = spec
  const plugins: EnvelopPlugin[] = [
    useEngine({ parse, validate, execute, subscribe }),
    useSchema(schemaOf(spec) as GraphQLSchema),
    ...(context
      ? [{ onContextBuilding: ({ context: built, extendContext }: any) => extendContext(context(built)) }]
      : []),
    ...(maskedErrors === false ? [] : [useMaskedErrors(maskedErrors ?? {})]),
    ...((spec.before ?? []) as EnvelopPlugin[]),
    ...own,
    ...((spec.after ?? []) as EnvelopPlugin[]),
  ]
  const getEnveloped: any = envelop({ plugins })
  return {
    async ask(query, { variables, operationName, headers, contextValue } = {}) {
      const request = new Request('http://localhost/graphql', { method: 'POST', headers: headers ?? {}, body: query })
      const enveloped = getEnveloped({ request })
      const document = enveloped.parse(query)
      const errors = enveloped.validate(enveloped.schema, document)
      const result =
        errors.length > 0
          ? { errors }
          : await enveloped.execute({
              schema: enveloped.schema,
              document,
              contextValue: contextValue ? contextValue() : await enveloped.contextFactory(),
              variableValues: variables,
              operationName,
            })
      return { status: 200, headers: new Headers(), body: JSON.parse(JSON.stringify(result)) }
    },
    fetch: () => Promise.reject(new Error('A plain Envelop server has no HTTP.')),
    dispose: async () => {},
  }
}

export type ServerKind = 'Yoga' | 'Envelop'
const SERVERS: Record<ServerKind, Serve> = { Yoga: serveYoga, Envelop: serveEnvelop }

/** A kind of server over a kind of store. */
export interface Stack {
  readonly server: ServerKind
  readonly store: StoreName
}

export const YOGA_STACKS: readonly Stack[] = STORES.map((store) => ({ server: 'Yoga', store }))
export const STACKS: readonly Stack[] = [
  ...YOGA_STACKS,
  ...STORES.map((store): Stack => ({ server: 'Envelop', store })),
]

/** A server over a store that outlives it, driven by a clock that stands still. */
export interface App extends TestServer {
  readonly clock: TestClock
  readonly durable: Durable
  readonly warnings: { message: string; details: any }[]
  /** Whether the store fails with this transition. */
  failing: (what: string) => boolean
  /** Commits and other transitions so far, without what an idle process does. */
  readonly writes: string[]
  /** A deploy: the server closes, and another one comes up over the same store. */
  restart(changes?: Partial<AppSpec>): Promise<void>
  /** As `restart`, but the old one dies without giving anything back: its runs are free once its lease has run out. */
  crash(changes?: Partial<AppSpec>): Promise<void>
  /** Moves time until the run has ended. */
  ended(runId: string, stepsOf?: string): Promise<RunSnapshot>
}

/** It says that it lives, and looks for work and for the dead. */
const ROUTINE = new Set(['beat', 'claim', 'reap'])

const apps = new Set<{ close(): Promise<void> }>()

/** A server alone stands on memory: for what cannot depend on the store. */
export async function createApp(on: Stack | ServerKind, given: AppSpec): Promise<App> {
  const stack: Stack = typeof on === 'string' ? { server: on, store: 'memory' } : on
  const writes: string[] = []
  const { store, createClock, dispose } = await openStore(stack.store, {
    onCommit: (phase, what) => {
      if (phase === 'before') {
        if (app.failing(what)) throw new Error('The disk is full')
      } else if (!ROUTINE.has(what)) writes.push(what)
    },
  })
  const clock = createClock()
  const warnings: { message: string; details: any }[] = []
  let spec = given
  let crashed: Durable[] = []

  const start = async (): Promise<{ durable: Durable; server: TestServer; crash: () => void }> => {
    let crash = (): void => {}
    const recording: Store = {
      name: store.name,
      connect: async (options) => {
        const session = await store.connect(options)
        crash = () => crashSession(session)
        return session
      },
    }
    const durable = createDurable({
      store: recording,
      clock,
      onWarning: (message, details) => void warnings.push({ message, details }),
      ...spec.durable,
    })
    const server = SERVERS[stack.server](spec, durable)
    await clock.settle()
    return { durable, server, crash: () => crash() }
  }

  let now: Awaited<ReturnType<typeof start>>
  const close = async (): Promise<void> => {
    await now.server.dispose()
    const closed = now.durable.close()
    await clock.advance('30s')
    await closed
  }
  const app: App = {
    clock,
    warnings,
    writes,
    failing: () => false,
    get durable() {
      return now.durable
    },
    ask: (query, options) => now.server.ask(query, options),
    fetch: (path, init) => now.server.fetch(path, init),
    dispose: () => now.server.dispose(),
    async restart(changes = {}) {
      await close()
      spec = { ...spec, ...changes }
      now = await start()
    },
    async crash(changes = {}) {
      now.crash()
      crashed = [...crashed, now.durable]
      spec = { ...spec, ...changes }
      now = await start()
    },
    async ended(runId, step = '5s') {
      for (let turn = 0; turn < 300; turn++) {
        await clock.settle()
        const run = await now.durable.runs.get(runId)
        if (run?.endedAt) return run
        await clock.advance(step)
      }
      const run = await now.durable.runs.get(runId)
      throw new Error(`The run did not end: ${JSON.stringify({ ...run, warnings }, null, 2)}`)
    },
  }
  apps.add({
    async close() {
      for (const durable of crashed) {
        const closed = durable.close()
        await clock.advance('30s')
        void closed.catch(() => {})
      }
      await close()
      await dispose()
      expect(clock.pending, 'timers left behind').toBe(0)
    },
  })
  now = await start()
  return app
}

/** For a test file: what a test opened is closed after it, and nothing may be left of it. */
export function useApps({ postgres = true } = {}): void {
  if (postgres) usePostgres()
  afterEach(closeApps)
}

async function closeApps(): Promise<void> {
  const all = [...apps]
  apps.clear()
  for (const app of all) await app.close()
}

export function runIdOf({ body }: Answer): string {
  const runId: unknown = body.extensions?.['runId']
  expect(runId, JSON.stringify(body)).toMatch(/^run_/)
  return runId as string
}
