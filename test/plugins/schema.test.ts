import { createSchema } from 'graphql-yoga'
import { describe, expect, it } from 'vitest'
import { durableTypeDefs } from '../../schema/index.ts'
import { createApp, runIdOf, useApps } from './harness.ts'
import type { AppSpec } from './harness.ts'

// What a schema makes of a run does not depend on where the run is: over memory alone.
useApps({ postgres: false })

const schema = (result: string, type = 'String', field = 'work') =>
  createSchema({
    typeDefs: [durableTypeDefs, `type Query { ${field}(n: Int): ${type}, version: String }`],
    resolvers: {
      Query: {
        version: () => result,
        [field]: async (_: unknown, __: unknown, { step }: any) => {
          await step.waitForEvent('go', { event: 'go' })
          return result
        },
      },
    },
  })

const started = async (spec: AppSpec, query = '{ work }') => {
  const app = await createApp('Yoga', spec)
  const runId = runIdOf(await app.ask(query))
  return { app, runId }
}

describe('a schema that is', () => {
  it.each([
    ['a promise', () => Promise.resolve(schema('promised'))],
    ['a factory', () => () => schema('promised')],
    ['an asynchronous factory', () => async () => schema('promised')],
  ])('%s is extended, and resumes runs before its server has seen a request', async (_what, make) => {
    const { app, runId } = await started({ schema: make() })
    await app.restart({ schema: make() })
    await app.durable.send({ name: 'go' })
    expect((await app.ended(runId)).result).toEqual({ data: { work: 'promised' } })
    expect((await app.ask(`{ durableRun(id: "${runId}") { status } }`)).body).toEqual({
      data: { durableRun: { status: 'COMPLETED' } },
    })
  })

  it('another one for each request is extended each time', async () => {
    let version = 0
    const { app, runId } = await started({ schema: () => schema(`version ${version}`) })
    version = 1
    expect((await app.ask('{ version }')).body).toEqual({ data: { version: 'version 1' } })
    version = 2
    await app.restart()
    await app.durable.send({ name: 'go' })
    expect((await app.ended(runId)).result).toEqual({ data: { work: 'version 2' } })
  })

  it('replaced at run time resumes what the earlier one began', async () => {
    let replace: (next: unknown) => void = () => {}
    const { app, runId } = await started({
      schema: schema('first'),
      before: [{ onPluginInit: ({ setSchema }: any) => void (replace = setSchema) }],
      durable: { hot: { runs: 0 } },
    })
    await app.clock.settle()
    replace(schema('second'))
    await app.durable.send({ name: 'go' })
    expect((await app.ended(runId)).result).toEqual({ data: { work: 'second' } })
    expect((await app.ask('{ version }')).body).toEqual({ data: { version: 'second' } })
  })
})

describe('a run whose operation is not valid any more', () => {
  it.each([
    ['the field is gone', '{ work }', schema('x', 'String', 'other'), 'Cannot query field "work" on type "Query"'],
    ['the field got a selection', '{ work }', schema('x', 'Query'), 'must have a selection of subfields'],
    [
      'an argument is gone',
      '{ work(n: 1) }',
      createSchema({ typeDefs: 'type Query { work: String }' }),
      'Unknown argument "n"',
    ],
  ])('fails with the reason: %s', async (_what, query, next, reason) => {
    const { app, runId } = await started({ schema: schema('first') }, query)
    await app.restart({ schema: next })
    await app.durable.send({ name: 'go' })
    const run = await app.ended(runId)
    expect(run.status).toBe('FAILED')
    expect(run.result).toMatchObject({ data: null, errors: [{ extensions: { code: 'DURABLE_RESUME_FAILED', runId } }] })
    expect(run.result?.errors?.[0]?.message).toContain(reason)
    expect(run.note).toContain(reason)
  })

  it('fails because of a step of another kind under the same key, and nobody catches it (I12)', async () => {
    const caught: unknown[] = []
    const resolvers = (second: (step: any) => Promise<unknown>) => ({
      Query: {
        work: async (_: unknown, __: unknown, { step }: any) => {
          try {
            await second(step)
            await step.waitForEvent('go', { event: 'go' })
          } catch (error) {
            caught.push(error)
          }
        },
      },
    })
    const typeDefs = 'type Query { work: String }'
    const { app, runId } = await started({ typeDefs, resolvers: resolvers((step) => step.run('one', () => 1)) })
    await app.restart({ resolvers: resolvers((step) => step.sleep('one', '1s')) })
    const run = await app.ended(runId)
    expect(run.result?.errors?.[0]?.extensions?.['code']).toBe('DURABLE_NONDETERMINISM')
    expect(run.note).toContain('RUN for "work>one"')
    expect(caught).toEqual([])
  })
})

it('leaves the schema alone where it is told to, and steps work all the same', async () => {
  const app = await createApp('Yoga', { schema: schema('done'), durable: { schema: false } })
  const runId = runIdOf(await app.ask('{ work }'))
  const { body } = await app.ask(`{ durableRun(id: "${runId}") { id } }`)
  expect(body.errors?.[0]?.message).toContain('Cannot query field "durableRun"')
  await app.durable.send({ name: 'go' })
  expect((await app.ended(runId)).result).toEqual({ data: { work: 'done' } })
})

it('renames what is added by a prefix', async () => {
  const app = await createApp('Yoga', { schema: schema('done'), durable: { schema: { prefix: 'Shop' } } })
  const runId = runIdOf(await app.ask('{ work }'))
  expect((await app.ask(`{ shopDurableRun(id: "${runId}") { id __typename } }`)).body).toEqual({
    data: { shopDurableRun: { id: runId, __typename: 'ShopDurableRun' } },
  })
})
