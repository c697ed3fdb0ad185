import { createSchema, createYoga } from 'graphql-yoga'
import { describe, expect, it } from 'vitest'
import { useDurable } from '../../../plugins/yoga.ts'
import { createDurable, step } from '../../../src/index.ts'
import { postgresStore } from '../../../src/postgres.ts'
import type { Store } from '../../../src/store/store.ts'
import { sleep } from '../../support/postgres.ts'
import { useOwnServer } from './world.ts'

const world = useOwnServer({ settings: { log_statement: 'all', log_line_prefix: '%a|' } })

/** What the server has executed for the store since its log was so long; listening and setting up aside. */
function executed(from: number): string[] {
  const lines = world.server.log().slice(from).split('\n')
  return lines.flatMap((line) => /^graphql-durable (\w+)\|LOG: {2}execute (\w+): /.exec(line)?.slice(1).join(' ') ?? [])
}

/** Holds back the commit that ends a run until it is told to let it through. */
function withheld(store: Store, released: Promise<void>): Store {
  return {
    name: store.name,
    async connect(options) {
      const session = await store.connect(options)
      return {
        ...session,
        async commit(batch) {
          if (batch.some(({ next }) => next.kind === 'end')) await released
          return session.commit(batch)
        },
      }
    },
  }
}

describe('an operation of three steps on an idle server', () => {
  it('takes at most 5 statements in all, of which the client waits for at most 3 (I1)', async () => {
    let release = (): void => {}
    const released = new Promise<void>((resolve) => (release = resolve))
    const store = withheld(postgresStore({ connectionString: world.url, schema: world.schema }), released)
    // Beats, looks for due runs and the like go on by the clock, whatever is executed.
    const durable = createDurable({ store, worker: { pollInterval: '1h', lease: '1h' } })
    const yoga = createYoga({
      schema: createSchema({
        typeDefs: 'type Query { ok: Boolean } type Mutation { three: Int! }',
        resolvers: {
          Mutation: {
            three: async () => {
              const one = await step.run('one', () => 1)
              const two = await step.run('two', () => one + 1)
              return step.run('three', () => two + 1)
            },
          },
        },
      }),
      plugins: [useDurable(durable)],
      logging: false,
    })
    const post = async (): Promise<unknown> => {
      const response = await yoga.fetch('http://test/graphql', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ query: 'mutation { three }' }),
      })
      return response.json()
    }
    try {
      await durable.start()
      await sleep(100)
      const from = world.server.log().length
      // The answer is there, and the end is not committed.
      expect(await post()).toEqual({ data: { three: 3 } })
      await sleep(20)
      const waitedFor = executed(from).filter((statement) => !isByTheClock(statement))
      release()
      await sleep(400)
      const all = executed(from).filter((statement) => !isByTheClock(statement))
      console.log('statements', { waitedFor, all })
      expect(waitedFor.filter((statement) => statement.startsWith('writer'))).toEqual(
        Array.from({ length: 3 }, () => 'writer durable_commit'),
      )
      expect(all.length).toBeLessThanOrEqual(5)
      expect(await world.sql(`select id from durable.runs where status = 'completed' and len = 3`)).toHaveLength(1)
    } finally {
      release()
      await durable.close()
      await yoga.dispose()
    }
  })
})

function isByTheClock(statement: string): boolean {
  return statement === 'liveness durable_beat'
}
