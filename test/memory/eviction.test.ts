import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createSchema, createYoga } from 'graphql-yoga'
import { describe, expect, it } from 'vitest'
import { useDurable } from '../../plugins/yoga.ts'
import { createDurable } from '../../src/index.ts'
import type { DurableContext, DurableOptions } from '../../src/index.ts'
import { memoryStore } from '../../src/memory.ts'

setFlagsFromString('--expose_gc')
const collectGarbage = runInNewContext('gc') as () => void

const RUNS = 300
type HotOptions = NonNullable<DurableOptions['hot']>

/** Promises that never settle are collected, unless user code holds them: what is evicted must not be held by us. */
async function collectedOf(hot: HotOptions): Promise<number> {
  let collected = 0
  const registry = new FinalizationRegistry<null>(() => collected++)
  const durable = createDurable({ store: memoryStore(), hot, onWarning: () => {} })
  const schema = createSchema<DurableContext>({
    typeDefs: /* GraphQL */ `
      type Query {
        waiting: String
      }
    `,
    resolvers: {
      Query: {
        waiting: async (_root, _args, { step }) => {
          const held = { bytes: new Uint8Array(10_000) }
          registry.register(held, null)
          await step.run('first', () => 1)
          await Promise.race([
            step.waitForEvent('event', { event: 'never' }),
            step.sleep('sleep', '1h').finally(() => held.bytes.fill(1)),
          ])
          return String(held.bytes.length)
        },
      },
    },
  })
  const yoga = createYoga({ schema, plugins: [useDurable(durable)], logging: false })
  const request = async (): Promise<void> => {
    const response = await yoga.fetch('http://localhost/graphql?query={waiting}')
    expect(response.status).toBe(202)
    await response.text()
  }
  for (let i = 0; i < RUNS / 50; i++) await Promise.all(Array.from({ length: 50 }, request))
  for (let i = 0; i < 20 && collected < RUNS; i++) {
    await new Promise((resolve) => setTimeout(resolve, 30))
    collectGarbage()
  }
  const before = collected
  await durable.close()
  return before
}

describe('parked executions', () => {
  it('are collected with all that they hold once they are evicted', async () => {
    expect(await collectedOf({ runs: 0, ttl: '1m' })).toBe(RUNS)
  })

  it('are kept while they are hot', async () => {
    expect(await collectedOf({ runs: 10_000, ttl: '1m' })).toBe(0)
  })

  it('are let go, the oldest first, when they may hold more than hot.bytes', async () => {
    expect(await collectedOf({ bytes: 100 * 10_500 })).toBeGreaterThan(RUNS / 2)
    expect(await collectedOf({ bytes: 100 * 10_500 })).toBeLessThan(RUNS)
  })

  it('hold nothing of outcomes that they have used', async () => {
    const heldMb = await heldByRuns('outcome', '', { bytes: 1024 ** 3 })
    expect(heldMb).toBeLessThan(LARGE_RUNS / 5)
  })

  it.each(['held', 'variable'])('hold no more than hot.bytes, whatever they are (%s)', async (field) => {
    const argument = field === 'variable' ? '(text: $text)' : ''
    expect(await heldByRuns(field, argument, {})).toBeLessThan(100)
  })

  it('go on and end as they should when they were let go', async () => {
    const server = serve({ bytes: 0 })
    const { runId } = await server.send('{ held }')
    await server.durable.send({ name: 'event' })
    const run = await server.durable.runs.wait(runId, { timeout: '10s' })
    expect(run?.result?.data).toEqual({ held: LARGE })
    await server.durable.close()
  })
})

const LARGE = 1_000_000
const LARGE_RUNS = 150

function serve(hot: HotOptions) {
  const durable = createDurable({
    store: memoryStore(),
    hold: 0,
    hot,
    limits: { inputBytes: 2_000_000 },
    onWarning: () => {},
  })
  const large = (): string => Math.random().toString(36).repeat(LARGE).slice(0, LARGE)
  const schema = createSchema<DurableContext>({
    typeDefs: /* GraphQL */ `
      type Query {
        outcome: Int
        held: Int
        variable(text: String!): Int
      }
    `,
    resolvers: {
      Query: {
        outcome: async (_root, _args, { step }) => {
          await step.run('large', large)
          await step.waitForEvent('event', { event: 'event' })
          return 1
        },
        held: async (_root, _args, { step }) => {
          const text = await step.run('large', large)
          await step.waitForEvent('event', { event: 'event' })
          return text.length
        },
        variable: async (_root, { text }: { text: string }, { step }) => {
          await step.waitForEvent('event', { event: 'event' })
          return text.length
        },
      },
    },
  })
  const yoga = createYoga({ schema, plugins: [useDurable(durable)], logging: false })
  const send = async (query: string, variables = {}): Promise<{ runId: string }> => {
    const response = await yoga.fetch('http://localhost/graphql', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query, variables }),
    })
    return ((await response.json()) as { extensions: { runId: string } }).extensions
  }
  return { durable, send, large }
}

/** In MB, beside what the store keeps: it is in memory as well. */
async function heldByRuns(field: string, argument: string, hot: HotOptions): Promise<number> {
  const server = serve(hot)
  const query = argument ? `query ($text: String!) { ${field}${argument} }` : `{ ${field} }`
  const before = await settledMb()
  for (let n = 0; n < LARGE_RUNS; n++) await server.send(query, argument ? { text: server.large() } : {})
  const held = (await settledMb()) - before - (LARGE_RUNS * LARGE) / 1e6
  await server.durable.close()
  return held
}

/** What requests and their bodies leave behind is collected over some turns, not in one. */
async function settledMb(): Promise<number> {
  let lowest = Infinity
  for (let unchanged = 0; unchanged < 5;) {
    await new Promise((resolve) => setTimeout(resolve, 100))
    collectGarbage()
    const { heapUsed, external } = process.memoryUsage()
    const now = (heapUsed + external) / 1e6
    unchanged = now < lowest - 1 ? 0 : unchanged + 1
    lowest = Math.min(lowest, now)
  }
  return lowest
}
