/*
 * An operation of three steps that do nothing, on SQLite with fsync: `node bench/throughput.ts [operations]`.
 *
 * Serial: one after the other, the latency of each. Concurrent: so many requests at a time, operations per second; the
 * writer gathers what their steps commit into one transaction.
 */
import { createSchema, createYoga } from 'graphql-yoga'
import { useDurable } from '../plugins/yoga.ts'
import { createDurable } from '../src/index.ts'
import { sqliteStore } from '../src/sqlite.ts'
import type { DurableContext } from '../src/types.ts'
import { median, numbersFrom, withDatabase } from './shared.ts'

const [OPERATIONS = 0] = numbersFrom(process.argv.slice(2), [2000])
const AT_A_TIME = [1, 8, 64, 256]

const schema = createSchema<DurableContext>({
  typeDefs: 'type Query { _: Int } type Mutation { order: Int }',
  resolvers: {
    Mutation: {
      async order(_root, _args, { step }) {
        const one = await step.run('one', () => 1)
        const two = await step.run('two', () => one + 1)
        return step.run('three', () => two + 1)
      },
    },
  },
})

await withDatabase(async (path) => {
  const durable = createDurable({ store: sqliteStore(path) })
  const yoga = createYoga({ schema, plugins: [useDurable(durable)], logging: false, graphiql: false })
  await durable.start()

  async function operate(): Promise<number> {
    const before = performance.now()
    const response = await yoga.fetch('http://localhost/graphql', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query: 'mutation { order }' }),
    })
    const text = await response.text()
    if (text !== '{"data":{"order":3}}') throw new Error(`Expected the order to be done, but got ${text}.`)
    return performance.now() - before
  }

  const rows: Record<string, unknown>[] = []
  for (let n = 0; n < 200; n++) await operate() // the first ones are compiled
  for (const atATime of AT_A_TIME) {
    const took: number[] = []
    let left = OPERATIONS
    const before = performance.now()
    const client = async (): Promise<void> => {
      while (left-- > 0) took.push(await operate())
    }
    await Promise.all(Array.from({ length: atATime }, client))
    const perSecond = (OPERATIONS * 1000) / (performance.now() - before)
    rows.push({ 'at a time': atATime, 'median ms': median(took).toFixed(2), 'operations/s': Math.round(perSecond) })
  }
  console.table(rows)
  await durable.close()
})
