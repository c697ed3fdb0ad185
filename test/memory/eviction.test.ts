import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createSchema, createYoga } from 'graphql-yoga'
import { describe, expect, it } from 'vitest'
import { useDurable } from '../../plugins/yoga.ts'
import { createDurable } from '../../src/index.ts'
import type { DurableContext } from '../../src/index.ts'
import { memoryStore } from '../../src/memory.ts'

setFlagsFromString('--expose_gc')
const collectGarbage = runInNewContext('gc') as () => void

const RUNS = 300

/** Promises that never settle are collected, unless user code holds them: what is evicted must not be held by us. */
async function collectedOf(hot: { runs: number; ttl: string }): Promise<number> {
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
})
