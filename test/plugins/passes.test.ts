import { useDeferStream } from '@graphql-yoga/plugin-defer-stream'
import { execute, parse } from 'graphql'
import { describe, expect, it } from 'vitest'
import { step as importedStep } from '../../src/index.ts'
import { createApp, runIdOf, STACKS, useApps, YOGA_STACKS } from './harness.ts'
import type { AppSpec, Stack } from './harness.ts'

// Operations that are more than one plain execution: in parts, one for each event, or one within another.

useApps()

describe.each(YOGA_STACKS)('an operation with @defer over $store', (stack) => {
  const spec = (calls: string[]): AppSpec => ({
    typeDefs: 'type Query { fast: String, me: Me } type Me { id: ID!, stepped: String, slow: String }',
    resolvers: {
      Query: { fast: () => (calls.push('fast'), 'fast'), me: () => ({ id: 1 }) },
      Me: {
        stepped: (_: unknown, __: unknown, { step }: any) => step.run('one', () => (calls.push('one'), 'stepped')),
        slow: async (_: unknown, __: unknown, { step }: any) => {
          await step.waitForEvent('go', { event: 'go' })
          return step.run('two', () => (calls.push('two'), 'slow'))
        },
      },
    },
    before: [useDeferStream() as any],
  })
  const request = (app: Awaited<ReturnType<typeof createApp>>, query: string, accept: string) =>
    app.fetch('/graphql', {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept },
      body: JSON.stringify({ query }),
    })
  const ask = async (app: Awaited<ReturnType<typeof createApp>>, query: string) => {
    const response = await request(app, query, 'multipart/mixed')
    return { response, text: response.text() }
  }

  it('is sent in parts where its steps do not wait', async () => {
    const calls: string[] = []
    const app = await createApp(stack, spec(calls))
    const { response, text } = await ask(app, '{ fast ... @defer { me { stepped } } }')
    await app.clock.advance('1s')
    expect(response.headers.get('content-type')).toContain('multipart/mixed')
    expect(await text).toContain('"stepped":"stepped"')
    expect(await text).not.toContain('DURABLE')
    expect(calls).toEqual(['fast', 'one'])
    for (const { id } of (await app.durable.runs.list()).runs) {
      expect((await app.ended(id)).result).toEqual({ data: { fast: 'fast', me: { stepped: 'stepped' } } })
    }
    expect(calls.filter((call) => call === 'one')).toHaveLength(1)
  })

  it.each(['hot', 'cold'] as const)(
    'tells of the run in the part that waits, and stores the whole, %s',
    async (how) => {
      const calls: string[] = []
      const app = await createApp(stack, spec(calls))
      const { response, text } = await ask(app, '{ fast me { ... @defer { slow } } }')
      await app.clock.advance('2s')
      expect(response.status).toBe(200)
      const [runId] = (await text).match(/run_\w+/) ?? []
      expect(await text).toContain('DURABLE_DEFERRED')
      expect(runId).toBeDefined()
      if (how === 'cold') await app.restart()
      await app.durable.send({ name: 'go' })
      expect((await app.ended(runId ?? '')).result).toEqual({ data: { fast: 'fast', me: { slow: 'slow' } } })
      expect(calls.filter((call) => call === 'two')).toHaveLength(1)
    },
  )

  it.each([
    ['its client takes no parts', 'application/json', 406, '2s'],
    ['nobody reads its parts', 'multipart/mixed', 200, '27s'],
  ])('comes to its end where %s (I4)', async (_where, accept, status, within) => {
    const calls: string[] = []
    const app = await createApp(stack, spec(calls))
    // Nothing is pending any more when the parts are there.
    const response = await request(app, '{ fast ... @defer { me { stepped } } }', accept)
    expect(response.status).toBe(status)
    await app.clock.advance(within)
    const { runs } = await app.durable.runs.list()
    expect(runs).toMatchObject([
      { status: 'COMPLETED', result: { data: { fast: 'fast', me: { stepped: 'stepped' } } } },
    ])
    expect(calls.filter((call) => call === 'one')).toHaveLength(1)
  })
})

// It runs no step, so over whatever store.
describe('a subscription', () => {
  const subscribe = async (spec: AppSpec, query: string) => {
    const app = await createApp('Yoga', spec)
    const before = [...app.writes]
    const response = await app.fetch(`/graphql?query=${encodeURIComponent(query)}`, {
      headers: { accept: 'text/event-stream' },
    })
    const text = await response.text()
    expect(app.writes).toEqual(before)
    return [...text.matchAll(/^data: (\{.*)$/gm)].map(([, data]) => JSON.parse(data ?? ''))
  }
  const ticks = (
    resolve: (n: number, context: any) => unknown,
    source: (context: any) => unknown = () => {},
  ): AppSpec => ({
    typeDefs: 'type Query { a: String } type Subscription { ticks: Int }',
    resolvers: {
      Subscription: {
        ticks: {
          async *subscribe(_: unknown, __: unknown, context: any) {
            await source(context)
            yield 1
            yield 2
          },
          resolve: (n: number, _args: unknown, context: any) => resolve(n, context),
        },
      },
    },
  })

  it('passes untouched', async () => {
    expect(
      await subscribe(
        ticks((n) => n * 10),
        'subscription { ticks }',
      ),
    ).toEqual([{ data: { ticks: 10 } }, { data: { ticks: 20 } }])
  })

  it.each([
    ['the resolver', ticks((_n, { step }) => step.run('one', () => 1))],
    ['the resolver, by the imported step', ticks(() => importedStep.run('one', () => 1))],
    [
      'the source stream',
      ticks(
        (n) => n,
        ({ step }) => step.sleep('nap', '1s'),
      ),
    ],
  ])('is no place for a tool: in %s it is DURABLE_STEP_MISUSED', async (_where, spec) => {
    const events = await subscribe(spec, 'subscription { ticks }')
    expect(events.length).toBeGreaterThan(0)
    for (const event of events) {
      expect(event).toMatchObject({ errors: [{ extensions: { code: 'DURABLE_STEP_MISUSED' } }] })
      expect(event.errors[0].message).toContain('not in subscriptions')
    }
  })
})

describe.each(STACKS)('with $server over $store, executions within a resolver', (stack) => {
  it.each(['hot', 'cold'] as const)('that use the same paths keep their steps apart (I2), %s', async (how) => {
    const calls: string[] = []
    const app = await createApp(stack, {
      typeDefs: 'type Query { item(n: Int): String, both: String }',
      resolvers: {
        Query: {
          item: async (_: unknown, { n }: any, { step }: any) => {
            const first = await step.run('one', () => (calls.push(`one ${n}`), `item ${n}`))
            await step.waitForEvent('go', { event: 'go', match: { n } })
            return step.run('two', () => (calls.push(`two ${n}`), first))
          },
          // What stitching does: another execution, with the same context.
          both: async (_: unknown, __: unknown, context: any, { schema }: any) => {
            const nested = (n: number): any =>
              execute({ schema, document: parse(`{ item(n: ${n}) }`), contextValue: context, rootValue: undefined })
            const first = nested(1)
            const second = nested(2)
            const here = await context.step.run('one', () => (calls.push('one here'), 'here'))
            return `${here} ${(await first).data.item} ${(await second).data.item}`
          },
        },
      },
    })
    const runId = runIdOf(await app.ask('{ item(n: 0) both }'))
    await app.clock.settle()
    if (how === 'cold') await app.restart()
    for (const n of [2, 0, 1]) await app.durable.send({ name: 'go', data: { n } })
    expect((await app.ended(runId)).result).toEqual({ data: { item: 'item 0', both: 'here item 1 item 2' } })
    expect(calls.toSorted()).toEqual(['one 0', 'one 1', 'one 2', 'one here', 'two 0', 'two 1', 'two 2'])
  })
})

describe('a context', () => {
  const serve = (stack: Stack, spec: Partial<AppSpec>) =>
    createApp(stack, {
      typeDefs: 'type Query { nap(n: Int): String, user: String }',
      resolvers: {
        Query: {
          user: (_: unknown, __: unknown, { user }: any) => user,
          nap: async (_: unknown, { n }: any, context: any) => {
            await context.step.sleep('nap', `${n}m`)
            return context.step.run('one', () => `${context.user} ${n}`)
          },
        },
      },
      ...spec,
    })

  it.each(STACKS)('of $server may be one frozen object for all requests, over $store', async (stack) => {
    const shared = Object.freeze({ user: 'ada' })
    const server = await serve(stack, { context: () => shared })
    const [first, second] = await Promise.all([server.ask('{ nap(n: 1) }'), server.ask('{ nap(n: 2) user }')])
    expect(second?.body.data).toEqual({ nap: null, user: 'ada' })
    expect((await server.ended(runIdOf(first!))).result).toEqual({ data: { nap: 'ada 1' } })
    expect((await server.ended(runIdOf(second!))).result).toEqual({ data: { nap: 'ada 2', user: 'ada' } })
    expect(Object.keys(shared)).toEqual(['user'])
  })

  it.each(YOGA_STACKS)(
    'object may serve several operations at once, each with its own run, over $store',
    async (stack) => {
      const server = await serve(stack, { batching: true })
      const response = await server.fetch('/graphql', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify([1, 2, 3].map((n) => ({ query: `{ nap(n: ${n}) }` }))),
      })
      const ids = ((await response.json()) as any[]).map((body) => body.extensions.runId)
      expect(new Set(ids).size).toBe(3)
      for (const [index, id] of ids.entries()) {
        expect((await server.ended(id)).result).toEqual({ data: { nap: `undefined ${index + 1}` } })
      }
    },
  )
})
