/*
 * What the plugin costs operations that use no step (I8): `node bench/overhead.ts [rounds]`.
 *
 * Two Yoga servers over the same schema, one with the plugin, answer the same request in turns in one process, each
 * round beginning with the other one. The ratio is that of the medians; the third column, two servers without the
 * plugin, says how far the ratio moves by itself.
 */
import { createSchema, createYoga } from 'graphql-yoga'
import { useDurable } from '../plugins/yoga.ts'
import { createDurable } from '../src/index.ts'
import { memoryStore } from '../src/memory.ts'
import { median, numbersFrom } from './shared.ts'

const [ROUNDS = 0] = numbersFrom(process.argv.slice(2), [400])
const ITEMS = 1000
const items = Array.from({ length: ITEMS }, (_, id) => ({ id, name: `item ${id}` }))

const typeDefs = /* GraphQL */ `
  type Query {
    hello: String
    items: [Item!]!
  }
  type Item {
    id: ID!
    name: String
    sync: Int
    async: Int
  }
`
const resolvers = {
  Query: { hello: () => 'world', items: () => items },
  Item: {
    sync: (item: { id: number }) => item.id,
    async: async (item: { id: number }) => item.id,
  },
}

type Serve = (query: string) => Promise<void>

function server(plugins: object[]): Serve {
  const yoga = createYoga({ schema: createSchema({ typeDefs, resolvers }), plugins, logging: false, graphiql: false })
  return async (query) => {
    const response = await yoga.fetch('http://localhost/graphql', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query }),
    })
    const text = await response.text()
    if (!response.ok || text.includes('"errors"')) throw new Error(text.slice(0, 200))
  }
}

/** Mean time of one request, over enough of them to be measured. */
async function time(serve: Serve, query: string, requests: number): Promise<number> {
  const before = performance.now()
  for (let n = 0; n < requests; n++) await serve(query)
  return (performance.now() - before) / requests
}

async function compare(
  one: Serve,
  other: Serve,
  query: string,
  requests: number,
): Promise<{ one: number; other: number }> {
  const times = { one: [] as number[], other: [] as number[] }
  for (let round = 0; round < ROUNDS + 20; round++) {
    const order = round % 2 === 0 ? (['one', 'other'] as const) : (['other', 'one'] as const)
    for (const name of order) {
      const took = await time(name === 'one' ? one : other, query, requests)
      if (round >= 20) times[name].push(took) // the first ones are compiled
    }
  }
  return { one: median(times.one), other: median(times.other) }
}

const durable = createDurable({ store: memoryStore() })
const without = server([])
const again = server([])
const withPlugin = server([useDurable(durable)])

const rows: Record<string, unknown>[] = []
for (const [name, query, requests] of [
  ['a tiny query', '{ hello }', 20],
  [`${ITEMS} default resolvers`, '{ items { name } }', 2],
  [`${ITEMS} synchronous resolvers`, '{ items { sync } }', 2],
  [`${ITEMS} asynchronous resolvers`, '{ items { async } }', 2],
] as const) {
  const plugin = await compare(without, withPlugin, query, requests)
  const noise = await compare(without, again, query, requests)
  rows.push({
    operation: name,
    'without ms': plugin.one.toFixed(3),
    'with ms': plugin.other.toFixed(3),
    ratio: (plugin.other / plugin.one).toFixed(3),
    'noise ratio': (noise.other / noise.one).toFixed(3),
  })
}
console.table(rows)
await durable.close()
