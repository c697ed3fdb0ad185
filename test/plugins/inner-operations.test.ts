import { execute, parse } from 'graphql'
import { describe, expect, it } from 'vitest'
import { step as importedStep } from '../../src/index.ts'
import { createApp, runIdOf, useApps } from './harness.ts'
import type { App, AppSpec } from './harness.ts'

useApps({ postgres: false })

/*
 * Resolvers and steps may execute operations themselves. Through a server, such an operation is one of its own, with a
 * run of its own. With `execute` and the same context (as stitching does it) it is part of the field whose resolver
 * executes it; within a step it is part of that step.
 */
describe.each(['Yoga', 'Envelop'] as const)('an operation that is executed by another’s code (%s)', (server) => {
  let app: App
  const log: string[] = []
  const items = [{ id: 'a' }, { id: 'b' }]
  const typeDefs = `
    type Item { id: ID! ship: String late: String inner: String }
    type Query { items: [Item] viaStep: String viaResolver: String viaItem: [Item] raw: String rawInStep: String }
    type Mutation { work: String @durable ship: String @durable(id: "shipping") }
  `
  const through = async (query: string, headers?: Record<string, string>) =>
    JSON.stringify((await app.ask(query, headers ? { headers } : {})).body.data)
  const locally = async (query: string, contextValue: unknown, info: any) =>
    JSON.stringify(await execute({ schema: info.schema, document: parse(query), contextValue }))

  const resolvers = {
    Item: {
      ship: ({ id }: any, _args: any, { step }: any) =>
        step.run('ship', () => (log.push(`ship ${id}`), `shipped ${id}`)),
      late: async ({ id }: any) => {
        await Promise.resolve()
        return importedStep.run('late', () => id).catch(({ extensions }) => extensions.code)
      },
      inner: (_source: any, _args: any, context: any, info: any) => locally('{ items { ship } }', context, info),
    },
    Query: {
      items: () => items,
      viaStep: (_source: any, _args: any, { step }: any) => step.run('call', () => through('{ items { ship late } }')),
      viaResolver: async (_source: any, _args: any, { step }: any) => {
        const answer = await through('{ items { ship late } }')
        await step.run('note', () => log.push('noted'))
        return answer
      },
      viaItem: () => items,
      raw: async (_source: any, _args: any, context: any, info: any) => {
        const answers = [
          await locally('{ items { ship } }', context, info),
          await locally('{ items { id } }', context, info),
        ]
        return answers.join()
      },
      rawInStep: (_source: any, _args: any, context: any, info: any) =>
        context.step.run('call', () => locally('{ items { id ship } }', context, info)),
    },
    Mutation: {
      work: (_source: any, _args: any, { step }: any) =>
        step.run('call', () => through('mutation { ship }', { 'idempotency-key': '"inner"' })),
      ship: async (_source: any, _args: any, { step }: any) => {
        await step.run('ship', () => log.push('shipped'))
        return 'ok'
      },
    },
  }
  async function start(changes: Partial<AppSpec> = {}): Promise<void> {
    log.length = 0
    app = await createApp(server, { typeDefs, resolvers, durable: { authorize: () => true }, ...changes })
  }
  const stepsOfRuns = async () =>
    (await app.durable.runs.list()).runs.map(({ steps }) => steps.map(({ id }) => id)).toSorted()

  it('in a step: all its fields are its own, and so is its run', async () => {
    await start()
    const { body } = await app.ask('{ viaStep }')
    const item = (id: string) => ({ ship: `shipped ${id}`, late: 'DURABLE_STEP_MISUSED' })
    expect(JSON.parse(body.data?.['viaStep'] as string)).toEqual({ items: [item('a'), item('b')] })
    await app.clock.settle()
    expect(await stepsOfRuns()).toEqual([['items.[:a].ship>ship', 'items.[:b].ship>ship'], ['viaStep>call']])
  })

  it('in a step of a mutation: both are executed under their own keys', async () => {
    await start()
    const { body } = await app.ask('mutation { work }', { headers: { 'idempotency-key': '"outer"' } })
    expect(body).toEqual({ data: { work: '{"ship":"ok"}' } })
    await app.clock.settle()
    expect(await stepsOfRuns()).toEqual([['@shipping>ship'], ['work>call']])
  })

  it('in a resolver: tools that are found by their surroundings are not the outer field’s', async () => {
    await start()
    const { body } = await app.ask('{ viaResolver }')
    expect(body.data?.['viaResolver']).toContain('"late":"DURABLE_STEP_MISUSED"')
    await app.clock.settle()
    expect(await stepsOfRuns()).toEqual([['items.[:a].ship>ship', 'items.[:b].ship>ship'], ['viaResolver>note']])
  })

  it('by `execute` in a root field: is nested in it', async () => {
    await start()
    const { body } = await app.ask('{ items { ship } raw }')
    const shipped = items.map(({ id }) => ({ ship: `shipped ${id}` }))
    expect(body.data?.['items']).toEqual(shipped)
    expect(body.data?.['raw']).toBe(
      `${JSON.stringify({ data: { items: shipped } })},{"data":{"items":[{"id":"a"},{"id":"b"}]}}`,
    )
    await app.clock.settle()
    expect((await stepsOfRuns()).flat()).toContain('raw/items.[:a].ship>ship')
    expect(log).toHaveLength(4)
  })

  it('by `execute` in any other field: is nested in that, and never given what is kept for the same paths', async () => {
    await start()
    const { body } = await app.ask('{ items { id } viaItem { inner } }')
    const inner = JSON.stringify({ data: { items: items.map(({ id }) => ({ ship: `shipped ${id}` })) } })
    expect(body.data).toEqual({ items, viaItem: [{ inner }, { inner }] })
    await app.clock.settle()
    expect((await stepsOfRuns()).flat().toSorted()).toEqual(
      ['a', 'b'].flatMap((at) => ['a', 'b'].map((id) => `viaItem.[:${at}].inner/items.[:${id}].ship>ship`)),
    )
  })

  it('by `execute` in a step: its fields run, and have no steps', async () => {
    await start()
    const { body } = await app.ask('{ items { ship } rawInStep }')
    const inner = JSON.parse(body.data?.['rawInStep'] as string)
    expect(inner.data).toEqual({ items: items.map(({ id }) => ({ id, ship: null })) })
    expect(inner.errors[0].extensions.code).toBe('DURABLE_STEP_MISUSED')
    expect(log).toEqual(['ship a', 'ship b'])
    await app.clock.settle()
    expect((await stepsOfRuns()).flat()).toEqual(['items.[:a].ship>ship', 'items.[:b].ship>ship', 'rawInStep>call'])
  })

  it('in a step of a run that is carried on elsewhere', async () => {
    const query = '{ viaStep }'
    await start({
      resolvers: {
        ...resolvers,
        Query: {
          ...resolvers.Query,
          viaStep: async (_source: any, _args: any, { step }: any) => {
            await step.sleep('pause', '10s')
            return step.run('call', () => through('{ items { ship } }'))
          },
        },
      },
    })
    const runId = runIdOf(await app.ask(query))
    await app.crash()
    const run = await app.ended(runId)
    expect(run.result).toEqual({
      data: { viaStep: JSON.stringify({ items: items.map(({ id }) => ({ ship: `shipped ${id}` })) }) },
    })
  })
})
