import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSchema, createYoga } from 'graphql-yoga'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { useDurable } from '../../plugins/yoga.ts'
import { durableTypeDefs } from '../../schema/index.ts'
import { createDurable } from '../../src/index.ts'
import type { Durable, Store } from '../../src/index.ts'
import { postgresStore } from '../../src/postgres.ts'
import { sqliteStore } from '../../src/sqlite.ts'
import { nextSchema, startDatabase } from '../support/postgres.ts'

/*
 * Processes that are closed while events wake runs, again and again: whatever is on its way into a closing process (a
 * claim, a new run) is somebody's at once when the next one is there, and does not wait for a lease.
 */

const ROUNDS = 50
const RUNS = 6
/** Far below a lease, which is what a run that nobody gave back would wait for. */
const WITHIN_MS = 2_000

let database: { readonly url: string; dispose(): Promise<void> }
let directory: string
beforeAll(async () => {
  database = await startDatabase({ settings: { fsync: 'off' } })
  directory = mkdtempSync(join(tmpdir(), 'graphql-durable-'))
}, 60_000)
afterAll(async () => {
  await database.dispose()
  rmSync(directory, { recursive: true })
})

const STORES: Record<string, () => Store> = {
  PostgreSQL: () => postgresStore({ connectionString: database.url, schema, onWarning: () => {} }),
  SQLite: () => sqliteStore(join(directory, 'runs.db')),
}
const schema = nextSchema()

interface App {
  readonly durable: Durable
  begin(n: number): Promise<string>
}

function open(store: Store): App {
  const durable = createDurable({ store, hold: 0, onWarning: () => {}, context: { capture: () => null } })
  const yoga = createYoga({
    logging: false,
    plugins: [useDurable(durable)],
    schema: createSchema<any>({
      typeDefs: [durableTypeDefs, 'type Query { go(n: Int!): Int }'],
      resolvers: {
        Query: {
          go: async (_s: unknown, { n }: { n: number }, { step }) => {
            for (const turn of [1, 2, 3])
              await step.waitForEvent(`turn ${turn}`, { event: `turn ${turn}`, match: { n } })
            return n
          },
        },
      },
    }),
  })
  return {
    durable,
    async begin(n) {
      const response = await yoga.fetch('http://test/graphql', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ query: `{ go(n: ${n}) }` }),
      })
      const body = (await response.json()) as { extensions: { runId: string } }
      return body.extensions.runId
    },
  }
}

describe.each(Object.keys(STORES))('a process that is closed and opened again under load (%s)', (name) => {
  const storeOf = STORES[name] as () => Store // it is one of its keys
  it(`leaves no run that nobody goes on with for ${WITHIN_MS} ms`, { timeout: 120_000 }, async () => {
    const sender = createDurable({ store: storeOf(), worker: false, onWarning: () => {} })
    let app = open(storeOf())
    const tookMs: number[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const numbers = Array.from({ length: RUNS }, (_, index) => round * RUNS + index)
      const ids = await Promise.all(numbers.map((n) => app.begin(n)))
      const sent = (async () => {
        for (const turn of [1, 2, 3]) for (const n of numbers) await sender.send({ name: `turn ${turn}`, data: { n } })
      })()
      // Each round closes at another moment of what is under way.
      await new Promise((resolve) => setTimeout(resolve, round % 17))
      await app.durable.close()
      await sent
      app = open(storeOf())
      const from = performance.now()
      for (const id of ids) expect((await app.durable.runs.wait(id, { timeout: '30s' }))?.status).toBe('COMPLETED')
      tookMs.push(performance.now() - from)
    }
    await app.durable.close()
    await sender.close()
    expect(Math.max(...tookMs)).toBeLessThan(WITHIN_MS)
  })
})
