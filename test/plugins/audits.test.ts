import { serverAudits } from 'graphql-http'
import { createSchema, createYoga } from 'graphql-yoga'
import { afterEach, expect, it } from 'vitest'
import { useDurable } from '../../plugins/yoga.ts'
import { createDurable } from '../../src/index.ts'
import { memoryStore } from '../../src/memory.ts'

const durable = createDurable({ store: memoryStore(), worker: { pollInterval: '1h' } })
afterEach(() => durable.close())

/** Name by name, what the audits of GraphQL over HTTP say. */
async function audit(plugins: readonly any[]): Promise<Record<string, string>> {
  const schema = createSchema({ typeDefs: 'type Query { hello: String }' })
  const yoga = createYoga({ schema, plugins: [...plugins], logging: false })
  const audits = serverAudits({
    url: 'http://localhost/graphql',
    fetchFn: (url: any, init: any) => yoga.fetch(url, init),
  })
  const results = await Promise.all(audits.map((each) => each.fn()))
  await yoga.dispose()
  return Object.fromEntries(results.map((result) => [result.name, result.status]))
}

it("graphql-http's 61 audits say of a server what they said without the plugin (I8)", async () => {
  const without = await audit([])
  const withPlugin = await audit([useDurable(durable)])
  expect(withPlugin).toEqual(without)
  expect(Object.values(withPlugin)).toEqual(Array.from({ length: 61 }, () => 'ok'))
})
