import { envelop, useEngine, useSchema } from '@envelop/core'
import { execute, parse, subscribe, validate } from 'graphql'
import { createSchema } from 'graphql-yoga'
import { afterEach, describe, expect, it } from 'vitest'
import { useDurable } from '../../plugins/envelop.ts'
import { durableTypeDefs } from '../../schema/index.ts'
import { createDurable } from '../../src/index.ts'
import { usePostgres } from '../support/standing-postgres.ts'
import { openStore, STORES } from '../support/stores.ts'
import type { StoreName } from '../support/stores.ts'

// What is particular to a plain Envelop server: whoever calls its functions may hand them anything.

usePostgres()

const open: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const each of open.splice(0)) await each.close()
})

async function nap({ n }: any, { step, user }: any): Promise<string> {
  await step.sleep('nap', `${n}m`)
  return step.run('one', () => `${user} ${n}`)
}

const schema = createSchema({
  typeDefs: [
    durableTypeDefs,
    'type Query { nap(n: Int): String, hello: String, later: Later } type Later { nap(n: Int): String }',
  ],
  resolvers: {
    Later: { nap: (_: unknown, args: any, { step, user }: any) => nap(args, { step, user }) },
    Query: {
      later: async () => new Promise((resolve) => setImmediate(resolve, {})),
      hello: () => 'world',
      nap: (_: unknown, args: any, context: any) => nap(args, context),
    },
  },
})

async function serve(name: StoreName, options: { withGetEnveloped?: boolean } = {}) {
  const { store, createClock, dispose } = await openStore(name)
  const clock = createClock()
  const warnings: string[] = []
  const durable = createDurable({
    store,
    clock,
    hot: { ttl: '1d' },
    onWarning: (message) => void warnings.push(message),
  })
  const getEnveloped: any = envelop({
    plugins: [
      useEngine({ parse, validate, execute, subscribe }),
      useSchema(schema),
      useDurable(durable, options.withGetEnveloped === false ? {} : { getEnveloped: () => getEnveloped }),
    ],
  })
  open.push({
    async close() {
      const closed = durable.close()
      await clock.advance('30s')
      await closed
      await dispose()
      expect(clock.pending).toBe(0)
    },
  })
  const run = (contextValue: unknown, query: string): any => {
    const enveloped = getEnveloped({})
    return enveloped.execute({ schema: enveloped.schema, document: enveloped.parse(query), contextValue })
  }
  const ended = async (runId: string): Promise<any> => {
    for (let turn = 0; turn < 50; turn++) {
      await clock.advance('30s')
      const found = await durable.runs.get(runId)
      if (found?.endedAt) return found.result
    }
    throw new Error(`The run did not end: ${warnings.join(' ')}`)
  }
  return { clock, durable, run, ended, warnings }
}

describe.each(STORES)('over %s, the context that a plain Envelop server is given', (name) => {
  it.each([
    ['frozen', Object.freeze({ user: 'ada' }), 'ada'],
    ['without a prototype', Object.assign(Object.create(null), { user: 'ada' }), 'ada'],
    ['undefined', undefined, 'undefined'],
    ['null', null, 'undefined'],
  ])('may be %s', async (_what, context, user) => {
    const { clock, run, ended } = await serve(name)
    await clock.settle()
    expect(await run(context, '{ hello }')).toEqual({ data: { hello: 'world' } })
    const answer = await run(context, '{ nap(n: 1) }')
    expect(await ended(answer.extensions.runId)).toEqual({ data: { nap: `${user} 1` } })
  })

  it('may serve several operations at once', async () => {
    const { clock, run, ended } = await serve(name)
    await clock.settle()
    const context = { user: 'ada' }
    const answers = await Promise.all([1, 2].map((n) => run(context, `{ later { nap(n: ${n}) } }`)))
    expect(new Set(answers.map(({ extensions }) => extensions.runId)).size).toBe(2)
    for (const [index, { extensions }] of answers.entries()) {
      expect(await ended(extensions.runId)).toEqual({ data: { later: { nap: `ada ${index + 1}` } } })
    }
  })

  it('serves the next operation after one that has ended', async () => {
    const { clock, run, ended } = await serve(name)
    await clock.settle()
    const context = { user: 'ada' }
    for (const n of [1, 2]) {
      const answer = await run(context, `{ nap(n: ${n}) }`)
      expect(await ended(answer.extensions.runId)).toEqual({ data: { nap: `ada ${n}` } })
    }
  })
})

it.each(STORES)('says what is missing where it is not told how to make passes, over %s', async (name) => {
  const { clock, run, durable, warnings } = await serve(name, { withGetEnveloped: false })
  await clock.settle()
  const answer = await run({}, '{ nap(n: 1) }')
  await clock.advance('10s')
  expect(warnings.join()).toContain('tried again')
  expect((await durable.runs.get(answer.extensions.runId))?.note).toContain('getEnveloped: () => getEnveloped')
})
