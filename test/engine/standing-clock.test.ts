import { createSchema, createYoga } from 'graphql-yoga'
import { describe, expect, it } from 'vitest'
import { createDurable } from '../../src/index.ts'
import type { DurableContext, Store } from '../../src/index.ts'
import { memoryStore } from '../../src/memory.ts'
import { sqliteStore } from '../../src/sqlite.ts'
import { createTestClock } from '../../src/testing.ts'
import { useDurable } from '../../plugins/yoga.ts'

const STORES: readonly (readonly [string, () => Store])[] = [
  ['memory', () => memoryStore()],
  ['SQLite', () => sqliteStore(':memory:')],
]

/** A server as an application's own tests have it: time stands still, unless they move it. */
function serve(store: Store) {
  const clock = createTestClock()
  const durable = createDurable({ store, clock, context: {} })
  const schema = createSchema<DurableContext>({
    typeDefs: 'type Query { at_once: Int, waits: Int }',
    resolvers: {
      Query: {
        at_once: (_root, _args, { step }) => step.run('count', () => 1),
        waits: async (_root, _args, { step }) => {
          await step.sleep('nap', '3d')
          return 1
        },
      },
    },
  })
  const yoga = createYoga({ schema, plugins: [useDurable(durable)], logging: false })
  const ask = async (field: string): Promise<unknown> => {
    const body = JSON.stringify({ query: `{ ${field} }` })
    const headers = { 'content-type': 'application/json' }
    return (await yoga.fetch('http://localhost/graphql', { method: 'POST', headers, body })).json()
  }
  return { clock, durable, ask }
}

describe.each(STORES)('where time stands still, close (%s)', (_name, store) => {
  it('comes to its end after an operation that was answered at once', async () => {
    const { durable, ask } = serve(store())
    expect(await ask('at_once')).toEqual({ data: { at_once: 1 } })
    await durable.close()
  })

  it('comes to its end while a request waits, which is answered', async () => {
    const { durable, ask } = serve(store())
    const answer = ask('waits')
    await ask('at_once')
    await durable.close()
    expect(await answer).toMatchObject({ extensions: { durable: { status: 'SUSPENDED' } } })
  })

  it('comes to its end with a run that was deferred, and leaves no timer', async () => {
    const { clock, durable, ask } = serve(store())
    const answer = ask('waits')
    await clock.advance('1s')
    expect(await answer).toMatchObject({ data: { waits: null } })
    await durable.close()
    expect(clock.pending).toBe(0)
  })
})
