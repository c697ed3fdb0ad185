import { describe, expect, it } from 'vitest'
import { step as importedStep } from '../../src/index.ts'
import { createApp, runIdOf, STACKS, useApps } from './harness.ts'
import type { AppSpec } from './harness.ts'

// What holds for every server plugin, over every store.

useApps()

const approval = (log: string[] = []): AppSpec => ({
  typeDefs: `
    type Query { hello: String, orders: [Order!]!, me: User, slow: String! }
    type User { name: String, report: String, must: Strict }
    type Strict { value: String! }
    type Order { id: ID!, label: String, carrier: String }
    type Mutation { checkout(cart: ID!): String @durable, plain: String }
  `,
  resolvers: {
    Query: {
      hello: () => 'world',
      me: () => ({ name: 'Ada' }),
      slow: async (_: unknown, __: unknown, { step }: any) => (await step.sleep('a minute', '1m'), 'slept'),
      orders: () => [{ id: '1' }, { id: '2' }],
    },
    User: {
      report: async (_: unknown, __: unknown, { step }: any) => (await step.sleep('a minute', '1m'), 'report'),
      must: () => ({}),
    },
    Strict: {
      value: async (_: unknown, __: unknown, { step }: any) => (await step.sleep('two minutes', '2m'), 'strict'),
    },
    Order: {
      label: ({ id }: any, __: unknown, { step }: any) =>
        step.run('label', () => (log.push(`label ${id}`), `label-${id}`)),
      carrier: async ({ id }: any, __: unknown, { step }: any) =>
        (await step.waitForEvent('carrier', { event: 'carrier', match: { id } })).data.name,
    },
    Mutation: {
      plain: () => 'plain',
      checkout: async (_: unknown, { cart }: any, { step }: any) => {
        const order = await step.run('order', () => (log.push('order'), `order-${cart}`))
        const event = await step.waitForEvent('approval', { event: 'approved', match: { order } })
        const paid = await step.run('pay', () => (log.push('pay'), 'paid'))
        return `${order} ${event.data.by} ${paid}`
      },
    },
  },
})

describe.each(STACKS)('a server with $server over $store', (stack) => {
  it.each(['hot', 'cold', 'crashed'] as const)('goes on after an event, and repeats no step (I2), %s', async (how) => {
    const log: string[] = []
    const app = await createApp(stack, approval(log))
    const answer = await app.ask('mutation M($c: ID!) { checkout(cart: $c) }', { variables: { c: '7' } })
    const runId = runIdOf(answer)
    expect(answer.body).toEqual({
      data: { checkout: null },
      errors: [
        {
          message: expect.stringContaining('still running'),
          path: ['checkout'],
          extensions: { code: 'DURABLE_DEFERRED', runId },
        },
      ],
      extensions: {
        runId,
        durable: {
          status: 'SUSPENDED',
          retryAfterMs: 1000,
          waitingOn: [
            { path: ['checkout'], responsePath: ['checkout'], step: 'approval', kind: 'EVENT', event: 'approved' },
          ],
        },
      },
    })
    if (how === 'cold') await app.restart()
    if (how === 'crashed') await app.crash()
    await app.durable.send({ name: 'approved', data: { order: 'order-7', by: 'Bob' } })
    const run = await app.ended(runId)
    expect(run.status).toBe('COMPLETED')
    expect(run.operationName).toBe('M')
    expect(run.result).toEqual({ data: { checkout: 'order-7 Bob paid' } })
    expect(log).toEqual(['order', 'pay'])
  })

  it('answers at once, without extensions, where nothing has to wait', async () => {
    const log: string[] = []
    const app = await createApp(stack, approval(log))
    const { body, status } = await app.ask('{ orders { id label } }')
    expect(status).toBe(200)
    expect(body).toEqual({
      data: {
        orders: [
          { id: '1', label: 'label-1' },
          { id: '2', label: 'label-2' },
        ],
      },
    })
  })

  it('writes nothing and adds nothing for an operation without steps (I8)', async () => {
    const app = await createApp(stack, approval())
    const before = [...app.writes]
    expect((await app.ask('{ hello me { name } }')).body).toEqual({ data: { hello: 'world', me: { name: 'Ada' } } })
    expect((await app.ask('mutation { plain }')).body).toEqual({ data: { plain: 'plain' } })
    expect((await app.ask('{ nothing }')).body.extensions).toBeUndefined()
    await app.clock.advance('10s')
    expect(app.writes).toEqual(before)
    expect((await app.durable.runs.list()).runs).toEqual([])
  })

  it('gives the fields that do not wait, and an entry for each that does, at any depth', async () => {
    const app = await createApp(stack, approval())
    const answer = await app.ask(
      '{ hello me { name first: report ...Again } } fragment Again on User { second: report }',
    )
    const runId = runIdOf(answer)
    expect(answer.body.data).toEqual({ hello: 'world', me: { name: 'Ada', first: null, second: null } })
    expect(answer.body.errors?.map(({ path, extensions }) => ({ path, extensions }))).toEqual(
      ['first', 'second'].map((key) => ({ path: ['me', key], extensions: { code: 'DURABLE_DEFERRED', runId } })),
    )
    expect(answer.body.extensions?.['durable'].waitingOn.map(({ path }: any) => path)).toEqual([
      ['me', 'first'],
      ['me', 'second'],
    ])
    const run = await app.ended(runId)
    expect(run.result).toEqual({ data: { hello: 'world', me: { name: 'Ada', first: 'report', second: 'report' } } })
  })

  it('lets the executor propagate the nulls of pending non-null fields', async () => {
    const app = await createApp(stack, approval())
    const answer = await app.ask('{ hello me { name must { value } } }')
    expect(answer.body.data).toEqual({ hello: 'world', me: { name: 'Ada', must: null } })
    expect(answer.body.errors?.map(({ path }) => path)).toEqual([['me', 'must', 'value']])
    const run = await app.ended(runIdOf(answer))
    expect(run.result).toEqual({ data: { hello: 'world', me: { name: 'Ada', must: { value: 'strict' } } } })
    const nulled = await app.ask('{ hello slow }')
    expect(nulled.body.data).toBeNull()
    expect((await app.ended(runIdOf(nulled))).result).toEqual({ data: { hello: 'world', slow: 'slept' } })
  })

  it.each(['hot', 'cold'] as const)("tells a list's items apart by their identity, %s", async (how) => {
    const log: string[] = []
    const spec = approval(log)
    const app = await createApp(stack, spec)
    const runId = runIdOf(await app.ask('{ orders { id label carrier } }'))
    await app.durable.send({ name: 'carrier', data: { id: '2', name: 'Hermes' } })
    await app.clock.advance('1s')
    const query = { ...spec.resolvers.Query, orders: () => [{ id: '2' }, { id: '1' }] }
    if (how === 'cold') await app.restart({ resolvers: { ...spec.resolvers, Query: query } })
    await app.durable.send({ name: 'carrier', data: { id: '1', name: 'Iris' } })
    const { result } = await app.ended(runId)
    const orders = [
      { id: '1', label: 'label-1', carrier: 'Iris' },
      { id: '2', label: 'label-2', carrier: 'Hermes' },
    ]
    expect(result).toEqual({ data: { orders: how === 'cold' ? orders.toReversed() : orders } })
    expect(log).toEqual(['label 1', 'label 2'])
  })

  it('answers a polled durableRun with what a synchronous client would have got', async () => {
    const app = await createApp(stack, approval())
    const runId = runIdOf(await app.ask('mutation { checkout(cart: 1) }'))
    await app.clock.settle()
    const poll = `{ durableRun(id: "${runId}") { status result waitingOn { path step kind event } steps { step status } } }`
    expect((await app.ask(poll)).body).toEqual({
      data: {
        durableRun: {
          status: 'SUSPENDED',
          result: null,
          waitingOn: [{ path: ['checkout'], step: 'approval', kind: 'EVENT', event: 'approved' }],
          steps: [
            { step: 'order', status: 'COMPLETED' },
            { step: 'approval', status: 'WAITING' },
          ],
        },
      },
    })
    const waiting = app.ask(`{ durableRun(id: "${runId}", wait: 30) { status data result } }`)
    await app.clock.advance('2s')
    await app.durable.send({ name: 'approved', data: { order: 'order-1', by: 'Eve' } })
    await app.clock.advance('1s')
    const data = { checkout: 'order-1 Eve paid' }
    expect((await waiting).body).toEqual({ data: { durableRun: { status: 'COMPLETED', data, result: { data } } } })
  })

  it('ends the wait of a durableRun when its time is up', async () => {
    const app = await createApp(stack, approval())
    const runId = runIdOf(await app.ask('mutation { checkout(cart: 1) }'))
    const waiting = app.ask(`{ durableRun(id: "${runId}", wait: 5) { status } }`)
    await app.clock.advance('6s')
    expect((await waiting).body).toEqual({ data: { durableRun: { status: 'SUSPENDED' } } })
  })

  it('is none the worse for the plugin being registered twice', async () => {
    const log: string[] = []
    const app = await createApp(stack, { ...approval(log), times: 2 })
    const runId = runIdOf(await app.ask('mutation { checkout(cart: 1) }'))
    await app.durable.send({ name: 'approved', data: { order: 'order-1', by: 'Bob' } })
    expect((await app.ended(runId)).result).toEqual({ data: { checkout: 'order-1 Bob paid' } })
    expect(log).toEqual(['order', 'pay'])
    expect((await app.ask('{ hello }')).body).toEqual({ data: { hello: 'world' } })
  })

  it('carries runs to their end by polling alone where there is no worker', async () => {
    const app = await createApp(stack, { ...approval(), durable: { worker: false, hot: { runs: 0 } } })
    const runId = runIdOf(await app.ask('{ me { report } }'))
    await app.clock.advance('2m')
    expect((await app.durable.runs.get(runId))?.status).toBe('SUSPENDED')
    const polled = app.ask(`{ durableRun(id: "${runId}", wait: 10) { status data } }`)
    await app.clock.advance('10s')
    expect((await polled).body).toEqual({
      data: { durableRun: { status: 'COMPLETED', data: { me: { report: 'report' } } } },
    })
  })

  it('picks up what its predecessor left without waiting for a request', async () => {
    const log: string[] = []
    const app = await createApp(stack, approval(log))
    const runId = runIdOf(await app.ask('mutation { checkout(cart: 3) }'))
    await app.durable.send({ name: 'approved', data: { order: 'order-3', by: 'Bob' } })
    await app.crash()
    await app.ended(runId)
    expect(log).toEqual(['order', 'pay'])
  })

  it('tells nobody of a run that could not be committed (I4)', async () => {
    const app = await createApp(stack, approval())
    app.failing = (what) => what === 'commit'
    const asking = app.ask('{ hello me { name report } }')
    await app.clock.advance('20s')
    const { body, status, headers } = await asking
    expect([status, headers.get('location')]).toEqual([200, null])
    expect(body).toMatchObject({
      data: { hello: 'world', me: { name: 'Ada', report: null } },
      errors: [{ path: ['me', 'report'], extensions: { code: 'DURABLE_STORE_UNAVAILABLE' } }],
    })
    expect(JSON.stringify(body)).not.toContain('run_')
    app.failing = () => false
    await app.clock.advance('1m')
    expect((await app.durable.runs.list()).runs).toEqual([])
  })

  it('finds the step of a field by the imported `step` in root fields, after an await as well', async () => {
    const app = await createApp(stack, {
      typeDefs: 'type Query { a: String }',
      resolvers: {
        Query: {
          a: async () => {
            await Promise.resolve()
            const value = await importedStep.run('one', () => 'one')
            await importedStep.sleep('a minute', '1m')
            return value + (await importedStep.run('two', () => 'two'))
          },
        },
      },
    })
    expect((await app.ended(runIdOf(await app.ask('{ a }')))).result).toEqual({ data: { a: 'onetwo' } })
  })

  it.each(['hot', 'cold'] as const)('gives `step` to methods that the default resolver calls, %s', async (how) => {
    const log: string[] = []
    const cart = (id: string) => ({
      id,
      total: async (_: unknown, { step }: any) => {
        const total = await step.run('total', () => (log.push(id), `total ${id}`))
        await step.sleep('a minute', '1m')
        return total
      },
    })
    const app = await createApp(stack, {
      typeDefs: 'type Query { carts: [Cart!]! } type Cart { id: ID!, total: String }',
      resolvers: { Query: { carts: () => [cart('a'), cart('b')] } },
    })
    const runId = runIdOf(await app.ask('{ carts { total } }'))
    if (how === 'cold') await app.restart()
    const { result } = await app.ended(runId)
    expect(result).toEqual({ data: { carts: [{ total: 'total a' }, { total: 'total b' }] } })
    expect(log).toEqual(['a', 'b'])
  })

  it('tells another durable from its own where two of them share one schema', async () => {
    const app = await createApp(stack, approval())
    const other = await createApp(stack, approval())
    const runId = runIdOf(await app.ask('mutation { checkout(cart: 1) }'))
    expect((await other.ask(`{ durableRun(id: "${runId}") { id } }`)).body).toEqual({ data: { durableRun: null } })
  })
})
