import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createSchema, createYoga } from 'graphql-yoga'
import { afterEach, describe, expect, it } from 'vitest'
import { useDurable } from '../../plugins/yoga.ts'
import { durableTypeDefs } from '../../schema/index.ts'
import { createDurable } from '../../src/index.ts'
import type { DurableOptions, Store } from '../../src/index.ts'
import { memoryStore } from '../../src/memory.ts'
import { createTestClock } from '../../src/testing.ts'
import type { TestClock } from '../../src/testing.ts'
import { usePostgres } from '../support/standing-postgres.ts'
import { openStore, STORES } from '../support/stores.ts'
import type { StoreName } from '../support/stores.ts'

usePostgres()

const opened: { dispose(): Promise<void> }[] = []
afterEach(async () => {
  for (const each of opened.splice(0)) await each.dispose()
})

const schema = () =>
  createSchema({
    typeDefs: [durableTypeDefs, 'type Query { hello: String, nap: String, work: String }'],
    resolvers: {
      Query: {
        hello: () => 'world',
        nap: async (_: unknown, __: unknown, { step }: any) => (await step.sleep('nap', '1h'), 'rested'),
        work: async (_: unknown, __: unknown, { step }: any) => step.run('work', () => gate),
      },
    },
  })
const quiet = { onWarning: () => {} }
let gate: unknown = 'worked'

const ask = async (yoga: any, query: string): Promise<any> => {
  const response = await yoga.fetch('http://localhost/graphql', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query }),
  })
  return response.json()
}

/** A store that counts its sessions, and its clock. */
async function counted(name: StoreName): Promise<{ store: Store; clock: TestClock; sessions: () => number }> {
  const { store: inner, createClock, dispose } = await openStore(name)
  opened.push({ dispose })
  let open = 0
  return {
    clock: createClock(),
    sessions: () => open,
    store: {
      name: 'counted',
      async connect(options) {
        const session = await inner.connect(options)
        open++
        return { ...session, close: () => (open--, session.close()) }
      },
    },
  }
}

/** Whatever waits for time in it gets it. */
async function within<T>(clock: TestClock, work: () => T | Promise<T>): Promise<T> {
  await clock.settle()
  const done = Promise.resolve(work())
  await clock.advance('15s')
  return done
}

function serve(options: DurableOptions | ReturnType<typeof createDurable>) {
  return createYoga({ schema: schema(), plugins: [useDurable(options as any)], logging: false })
}

describe.each(STORES)('disposing a server over %s', (name) => {
  it('closes a durable that the plugin made itself, and leaves no timer', async () => {
    const { store, clock, sessions } = await counted(name)
    const yoga = serve({ store, clock, ...quiet })
    await clock.settle()
    expect((await ask(yoga, '{ nap }')).extensions.runId).toMatch(/^run_/)
    expect(sessions()).toBe(1)
    await within(clock, () => yoga.dispose())
    expect([sessions(), clock.pending]).toEqual([0, 0])
    await within(clock, () => yoga.dispose())
  })

  it('leaves a durable alone that was given to it', async () => {
    const { store, clock, sessions } = await counted(name)
    const durable = createDurable({ store, clock, ...quiet })
    const yoga = serve(durable)
    await clock.settle()
    const { runId } = (await ask(yoga, '{ nap }')).extensions
    await within(clock, () => yoga.dispose())
    expect(sessions()).toBe(1)
    expect((await durable.runs.get(runId))?.status).toBe('SUSPENDED')
    await within(clock, () => durable.close())
    expect([sessions(), clock.pending]).toEqual([0, 0])
  })

  it('lets a running step end first, and commits it', async () => {
    const { store, clock } = await counted(name)
    let open = (): void => {}
    gate = new Promise((resolve) => (open = () => resolve('worked')))
    const yoga = serve({ store, clock, ...quiet })
    await clock.settle()
    const asking = ask(yoga, '{ work }')
    await clock.settle()
    const disposing = yoga.dispose()
    await clock.advance('1s')
    open()
    await clock.advance('1s')
    const body = await asking
    await disposing
    expect(clock.pending).toBe(0)
    const runId = body.extensions?.runId
    if (runId === undefined) return expect(body).toEqual({ data: { work: 'worked' } })
    const next = createDurable({ store, clock, ...quiet })
    const run = await next.runs.get(runId)
    expect(run?.steps).toMatchObject([{ step: 'work', status: 'COMPLETED', output: 'worked' }])
    await within(clock, () => next.close())
  })
})

// In a process of its own, over a SQLite file.
it('disposing a server leaves nothing that keeps a process alive, and no file but the database', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'graphql-durable-dispose-'))
  const fixture = fileURLToPath(new URL('fixtures/dispose.ts', import.meta.url))
  const child = spawn(process.execPath, [fixture, join(directory, 'runs.db')], {
    env: { ...process.env, NODE_NO_WARNINGS: '1' },
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 15_000,
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const code = await new Promise((resolve) => child.once('close', resolve))
  expect([code, output]).toEqual([0, '202'])
  expect(readdirSync(directory)).toEqual(['runs.db'])
  rmSync(directory, { recursive: true })
})

// Over memory alone, which opens at last: the store that does not open is the test's own.
describe('a store that does not open', () => {
  it('is a warning at the start, and an error where a step needs it; the rest of the server works', async () => {
    const clock = createTestClock()
    const warnings: string[] = []
    const inner = memoryStore()
    let broken = true
    const store: Store = {
      name: 'broken at first',
      connect: (options) => (broken ? Promise.reject(new Error('no such directory')) : inner.connect(options)),
    }
    const yoga = serve({ store, clock, onWarning: (message) => void warnings.push(message) })
    await clock.settle()
    expect(warnings.join()).toContain('The store could not be opened')
    expect(await ask(yoga, '{ hello }')).toEqual({ data: { hello: 'world' } })
    expect(await within(clock, () => ask(yoga, '{ nap }'))).toMatchObject({
      data: { nap: null },
      errors: [{ path: ['nap'], extensions: { code: 'DURABLE_STORE_UNAVAILABLE' } }],
    })
    broken = false
    expect((await within(clock, () => ask(yoga, '{ nap }'))).extensions.runId).toMatch(/^run_/)
    await within(clock, () => yoga.dispose())
    expect(clock.pending).toBe(0)
  })
})

describe.each(STORES)('two servers that share one durable over %s', (name) => {
  it('resume the runs of their own, by their names', async () => {
    const { store, clock } = await counted(name)
    const start = () => {
      const durable = createDurable({ store, clock, hot: { runs: 0 }, ...quiet })
      const servers = ['shop', 'admin'].map((name) =>
        createYoga({
          schema: createSchema({
            typeDefs: 'type Query { who: String }',
            resolvers: {
              Query: { who: async (_: unknown, __: unknown, { step }: any) => (await step.sleep('nap', '1m'), name) },
            },
          }),
          plugins: [useDurable(durable, { name })],
          logging: false,
        }),
      )
      return { durable, servers }
    }
    const first = start()
    await clock.settle()
    const ids = []
    for (const server of first.servers) ids.push((await ask(server, '{ who }')).extensions.runId)
    await within(clock, () => first.durable.close())
    const { durable } = start()
    await clock.advance('2m')
    const results = await Promise.all(ids.map(async (id) => (await durable.runs.get(id))?.result))
    expect(results).toEqual([{ data: { who: 'shop' } }, { data: { who: 'admin' } }])
    await within(clock, () => durable.close())
    expect(clock.pending).toBe(0)
  })
})
