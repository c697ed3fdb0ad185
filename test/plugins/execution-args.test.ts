import { defaultFieldResolver } from 'graphql'
import { describe, expect, it } from 'vitest'
import { resumeInfo } from '../../src/index.ts'
import { createApp, runIdOf, useApps } from './harness.ts'
import type { App, AppSpec } from './harness.ts'

useApps({ postgres: false })

/** What a server passes to `execute` for a request: a pass in another process has none of it. */
describe.each(['Yoga', 'Envelop'] as const)('arguments of the executor (%s)', (server) => {
  const typeDefs = `
    interface Named { name: String }
    type Person implements Named { name: String }
    type Query { slow: String quick: String named: Named plain: String wait: String @durable }
  `
  const waits = (value: unknown) => async (_args: unknown, context: any) => {
    await context.step.sleep('pause', '10s')
    return value
  }
  const resolvers = {
    Query: {
      named: async (_source: unknown, _args: unknown, { step }: any) => {
        await step.sleep('pause', '10s')
        return { name: 'Ada' }
      },
    },
  }
  /** The server's own, for requests that clients send. */
  const passing = (extra: object) => ({
    onExecute({ args }: any) {
      if (!resumeInfo(args.contextValue)) Object.assign(args, extra)
    },
  })
  async function appOf(extra: object, changes: Partial<AppSpec> = {}): Promise<App> {
    return createApp(server, { typeDefs, resolvers, before: [passing(extra)], durable: { hold: 0 }, ...changes })
  }
  const rootValue = {
    slow: waits('root'),
    wait: waits('root'),
    quick: (_args: unknown, { step }: any) => step.run('a', () => 'A'),
  }
  const fieldResolver = (source: any, args: any, context: any, info: any) =>
    info.fieldName === 'wait' ? waits('resolved')(args, context) : defaultFieldResolver(source, args, context, info)
  const typeResolver = () => 'Person'

  it.each([
    ['rootValue', { rootValue }, '{ slow }', { slow: 'root' }],
    ['rootValue, of a field with a policy', { rootValue }, '{ wait }', { wait: 'root' }],
    ['fieldResolver', { fieldResolver }, '{ wait }', { wait: 'resolved' }],
    ['typeResolver', { typeResolver }, '{ named { name } }', { named: { name: 'Ada' } }],
  ])('are there in every pass: %s', async (_name, extra, query, data) => {
    const app = await appOf(extra, { pluginOptions: { executionArgs: () => extra } })
    const hot = runIdOf(await app.ask(query))
    expect((await app.ended(hot)).result).toEqual({ data })
    const cold = runIdOf(await app.ask(query))
    await app.crash()
    expect((await app.ended(cold)).result).toEqual({ data })
  })

  it('are an error at the first wait where nothing makes them again', async () => {
    const app = await appOf({ rootValue, typeResolver })
    const { body, status } = await app.ask('{ slow }')
    expect(status).toBe(200)
    expect(body).toMatchObject({
      data: { slow: null },
      errors: [{ path: ['slow'], extensions: { code: 'DURABLE_NOT_SERIALIZABLE' } }],
    })
    expect(body.errors?.[0]?.message).toMatch(/rootValue and typeResolver.*executionArgs/)
    const run = await app.ended(runIdOf({ status, body, headers: new Headers() }))
    expect(run).toMatchObject({
      status: 'FAILED',
      result: { errors: [{ extensions: { code: 'DURABLE_NOT_SERIALIZABLE' } }] },
    })
  })

  it('are no obstacle to what is answered without a wait', async () => {
    const app = await appOf({ rootValue })
    expect((await app.ask('{ quick }')).body).toEqual({ data: { quick: 'A' } })
  })

  it('are never missing without a word: a resume that lacks them is refused, and tried again', async () => {
    const app = await appOf({ rootValue }, { pluginOptions: { executionArgs: () => ({ rootValue }) } })
    const runId = runIdOf(await app.ask('{ slow }'))
    await app.crash({ pluginOptions: undefined as never })
    await app.clock.advance('1m')
    expect(app.warnings.some(({ details }) => /executionArgs/.test(String(details.reason)))).toBe(true)
    expect((await app.durable.runs.get(runId))?.endedAt).toBeNull()
    await app.restart({ pluginOptions: { executionArgs: () => ({ rootValue }) } })
    expect((await app.ended(runId)).result).toEqual({ data: { slow: 'root' } })
  })

  it('that have nothing in them, or are what graphql takes anyway, are nothing', async () => {
    const app = await appOf({ rootValue: {}, fieldResolver: defaultFieldResolver })
    const runId = runIdOf(await app.ask('{ named { __typename } plain }'))
    await app.crash({ resolvers: { ...resolvers, Named: { __resolveType: typeResolver } } })
    expect((await app.ended(runId)).result).toEqual({ data: { named: { __typename: 'Person' }, plain: null } })
  })
})
