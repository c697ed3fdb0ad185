import { expect, it } from 'vitest'
import { deferred, oneField, overStores } from './world.ts'
import type { Resolver } from './world.ts'

/*
 * Faults that a review found in how fields are executed, and in what clients and operators are told of runs.
 */

overStores('a mutation that was answered without waiting for the executor', (world) => {
  it('keeps its order: the next root field begins when the one before has ended, and once (I10)', async () => {
    const [slow, b] = [deferred<string>(), deferred<string>()]
    const { log } = world()
    const server = world().serve({
      typeDefs: /* GraphQL */ `
        type R {
          slow: String
          b: String
        }
        type Mutation {
          first: R
          second: String @durable
        }
        type Query {
          ok: Boolean
        }
      `,
      resolvers: {
        Mutation: {
          first: () => ({}),
          second(_source, _args, { step }) {
            log.push('second began')
            return step.run('x', () => 'x')
          },
        },
        R: {
          slow: () => slow.promise,
          async b(_source, _args, { step }) {
            const value = await step.run('b', () => b.promise)
            log.push('first ended')
            return value
          },
        },
      },
      durable: { deferAfter: '1s' },
    })
    const answer = await server.ask('mutation { first { slow b } second }')
    expect(answer.errors?.map(({ path }) => path)).toEqual([['first', 'b'], ['second']])
    slow.resolve('s')
    await world().settle()
    await world().settle()
    expect(log).toEqual([])
    b.resolve('b')
    const run = await server.finish(answer.runId)
    expect(run.result).toEqual({ data: { first: { slow: 's', b: 'b' }, second: 'x' } })
    expect(log).toEqual(['first ended', 'second began'])
    const keys = server.commits.flatMap(({ outcomes }) => outcomes.map(({ key }) => key))
    expect(keys).toEqual([...new Set(keys)])
  })
})

overStores('a nested resolver that calls a tool and throws at once', (world) => {
  it('is not called again by the background pass, nor is its step run again (I2)', async () => {
    const gate = deferred<number>()
    const calls = { bad: 0, step: 0 }
    const server = world().serve({
      typeDefs: 'type R { bad: String ok: String } type Query { r: R }',
      resolvers: {
        Query: { r: () => ({}) },
        R: {
          bad(_source, _args, { step }) {
            calls.bad++
            void step.run('x', () => (calls.step++, gate.promise))
            throw new Error('oops')
          },
          async ok(_source, _args, { step }) {
            await step.sleep('nap', '10s')
            return 'ok'
          },
        },
      },
    })
    const { runId } = await server.ask('{ r { bad ok } }')
    await world().settle()
    expect(calls).toEqual({ bad: 1, step: 1 })
    gate.resolve(1)
    const run = await server.finish(runId)
    expect(run.result).toMatchObject({ data: { r: { bad: null, ok: 'ok' } }, errors: [{ path: ['r', 'bad'] }] })
    expect(calls).toEqual({ bad: 1, step: 1 })
  })
})

overStores('what is told of a run', (world) => {
  it('names no wait that is not committed: a deferred payload has those that a crash would keep (I4)', async () => {
    const server = world().serve({
      typeDefs: 'type Query { a: String b: String }',
      resolvers: {
        Query: {
          async a(_source, _args, { step }) {
            void step.sleep('half a second', '500ms')
            await step.sleep('three days', '3d')
            return 'x'
          },
          async b(_source, _args, { step }) {
            await step.waitForEvent('approval', { event: 'approved' })
            return 'x'
          },
        },
      },
    })
    const answer = await server.ask('{ a b }')
    const waitingOn = answer.extensions.durable.waitingOn as { step: string }[]
    expect(waitingOn.map(({ step }) => step)).toEqual(['three days', 'approval'])
  })

  it('shows an attempt that runs after a registered retry as RUNNING, and no wait for it', async () => {
    const gate = deferred<string>()
    let attempts = 0
    const go: Resolver = (_source, _args, { step }) =>
      step.run(
        'x',
        () => {
          if (++attempts === 1) throw new Error('The first one fails.')
          return gate.promise
        },
        { backoff: { initial: '5s', jitter: 'none' } },
      )
    const server = world().serve(oneField(go))
    const { runId } = await server.ask('{ go }')
    expect((await server.get(runId)).steps).toMatchObject([{ status: 'WAITING', attempts: 1 }])
    await world().advance('10s')
    expect(await server.get(runId)).toMatchObject({
      status: 'RUNNING',
      waitingOn: [],
      steps: [{ status: 'RUNNING', attempts: 2 }],
    })
    gate.resolve('k')
    expect((await server.finish(runId)).steps).toMatchObject([{ status: 'COMPLETED', attempts: 2 }])
  })

  it('has no cursor on the last page of a list, also where that page is full', async () => {
    const step: Resolver = (_source, _args, tools) => tools.step.run('x', () => 1)
    const server = world().serve(oneField(step, { authorize: () => true }))
    for (let i = 0; i < 4; i++) await server.ask('{ go }')
    const { list } = server.durable.runs
    const first = await world().until(list({ first: 2 }))
    const last = await world().until(list({ first: 2, after: String(first.endCursor) }))
    expect([first.runs.length, last.runs.length, last.endCursor]).toEqual([2, 2, null])
    expect(new Set([...first.runs, ...last.runs].map(({ id }) => id)).size).toBe(4)

    const page = async (size: number) => {
      const answer = await server.ask(`{ durableRuns(first: ${size}) { nodes { id } pageInfo { hasNextPage } } }`)
      return answer.data.durableRuns
    }
    expect(await page(3)).toMatchObject({ nodes: { length: 3 }, pageInfo: { hasNextPage: true } })
    expect(await page(4)).toMatchObject({ nodes: { length: 4 }, pageInfo: { hasNextPage: false } })
  })
})

overStores('an Idempotency-Key', (world) => {
  it('holds for a query that reaches its @durable field through fragments', async () => {
    let ran = 0
    const server = world().serve({
      typeDefs: 'type Query { q: Int @durable }',
      resolvers: { Query: { q: (_source, _args, { step }) => step.run('x', () => ++ran) } },
    })
    const queries = [
      '{ q }',
      'query Q { ...F } fragment F on Query { q }',
      'query Q { ... on Query { ...F } } fragment F on Query { ...G } fragment G on Query { q }',
    ]
    for (const [index, query] of queries.entries()) {
      const key = { 'idempotency-key': `key-${index}` }
      const answers = [await server.ask(query, {}, key), await server.ask(query, {}, key)]
      expect(answers.map(({ data }) => data)).toEqual([{ q: index + 1 }, { q: index + 1 }])
    }
    expect(ran).toBe(queries.length)
  })
})
