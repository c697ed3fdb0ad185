import { expect, it } from 'vitest'
import type { Step } from '../../src/index.ts'
import { step as importedStep } from '../../src/index.ts'
import { deferred, oneField, overStores } from './world.ts'

type Context = { step: Step }

const orders = (...ids: string[]) => ids.map((id) => ({ id }))

overStores('ids of steps', (world) => {
  it('are scoped by the response path: aliases of one field do not meet', async () => {
    const options = oneField(async (_source, { n }, { step }) => {
      const value = await step.run('work', () => (world().log.push(`work ${n}`), n * 10))
      await step.sleep('pause', '10s')
      return value
    })
    const first = world().serve(options)
    const { runId } = await first.ask('{ a: go(n: 1) b: go(n: 2) go(n: 3) }')
    first.kill()
    const run = await world().serve(options).finish(runId)
    expect(run.result).toEqual({ data: { a: 10, b: 20, go: 30 } })
    expect(world().log).toEqual(['work 1', 'work 2', 'work 3'])
    expect(run.steps.filter(({ kind }) => kind === 'RUN').map(({ id }) => id)).toEqual(['a>work', 'b>work', 'go>work'])
  })

  it('are counted where one comes again in a resolver, in a loop and side by side', async () => {
    const options = oneField(async (_source, _args, { step }) => {
      const values: number[] = []
      for (let n = 0; n < 3; n++) values.push(await step.run('work', () => world().log.push(`loop ${n}`)))
      values.push(...(await Promise.all([7, 8].map((n) => step.run('work', () => (world().log.push(`all ${n}`), n))))))
      await step.sleep('pause', '10s')
      return values
    })
    const first = world().serve(options)
    const { runId } = await first.ask('{ go }')
    first.kill()
    const run = await world().serve(options).finish(runId)
    expect(run.result).toEqual({ data: { go: [1, 2, 3, 7, 8] } })
    expect(run.steps.filter(({ kind }) => kind === 'RUN').map(({ step }) => step)).toEqual([
      'work',
      'work#2',
      'work#3',
      'work#4',
      'work#5',
    ])
    expect(world().log).toHaveLength(5)
  })

  it('that hold the characters of keys are told apart, and shown as they were written', async () => {
    const ids = ['a', 'a#2', 'a>b', 'a%232', 'ä.[0]', '@x']
    const options = oneField(async (_source, _args, { step }) => {
      const values: string[] = []
      for (const id of [...ids, 'a']) values.push(await step.run(id, () => (world().log.push(id), `value of ${id}`)))
      await step.sleep('pause', '10s')
      return values
    })
    const first = world().serve(options)
    const { runId } = await first.ask('{ go }')
    first.kill()
    const run = await world().serve(options).finish(runId)
    expect(run.result?.data).toEqual({ go: [...ids, 'a'].map((id) => `value of ${id}`) })
    expect(world().log).toHaveLength(7)
    expect(run.steps.filter(({ kind }) => kind === 'RUN').map(({ step }) => step)).toEqual([...ids, 'a#2'])
  })

  it.each([
    ['an empty text', ''],
    ['a text that is too long', 'x'.repeat(257)],
    ['a number', 7 as unknown as string],
  ])('are refused as misuse where they are %s, and nothing is written (I8)', async (_what, id) => {
    const server = world().serve(oneField((_source, _args, { step }) => step.run(id, () => 1)))
    const answer = await server.ask('{ go }')
    expect(answer.errors).toMatchObject([{ extensions: { code: 'DURABLE_STEP_MISUSED' } }])
    expect(server.commits).toEqual([])
  })

  it('that are pending twice, in an order that nothing records, are misuse: the second call is refused', async () => {
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        const ship = async (id: string, turns: number) => {
          for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve))
          return step.run('ship', async () => {
            for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
            return id
          })
        }
        return (await Promise.allSettled([ship('7', 1), ship('8', 3)])).map((each) =>
          each.status === 'fulfilled' ? each.value : each.reason.extensions.code + each.reason.message,
        )
      }),
    )
    const answer = await server.ask('{ go }')
    expect(answer.data.go).toEqual(['7', expect.stringContaining('DURABLE_STEP_MISUSED')])
    expect(answer.data.go[1]).toContain('Put the entity into the id')
  })

  it('may come twice after an await of something else, one after the other, or from the reaction to a step', async () => {
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        const values: number[] = []
        for (let n = 0; n < 2; n++) {
          await new Promise((resolve) => setImmediate(resolve))
          values.push(await step.run('ship', () => n))
        }
        await step.run('pick', () => 1)
        values.push(...(await Promise.all([step.run('ship', () => 2), step.run('ship', () => 3)])))
        return values
      }),
    )
    expect((await server.ask('{ go }')).data).toEqual({ go: [0, 1, 2, 3] })
  })
})

overStores('steps in lists', (world) => {
  const options = (list: () => unknown[], identify?: (source: unknown) => string | null) => ({
    typeDefs: 'scalar Any type Order { id: ID ship: String nested: Order } type Query { orders: [Order] }',
    resolvers: {
      Query: { orders: () => list() },
      Order: {
        ship: async ({ id, n }: { id?: string; n?: number }, _args: unknown, { step }: Context) => {
          const name = id ?? `n${n}`
          const parcel = await step.run('ship', () => (world().log.push(`ship ${name}`), `parcel of ${name}`))
          await step.sleep('pause', '10s')
          return parcel
        },
        nested: (source: unknown) => source,
      },
    },
    durable: identify ? { identify } : {},
  })

  it('belong to the entity: a list that comes back in another order, longer or shorter, mixes nothing up', async () => {
    let list = orders('7', '8', '9')
    const first = world().serve(options(() => list))
    const { runId } = await first.ask('{ orders { id ship } }')
    first.kill()
    list = orders('10', '9', '7')
    const run = await world()
      .serve(options(() => list))
      .finish(runId)
    expect(run.result?.data).toEqual({
      orders: ['10', '9', '7'].map((id) => ({ id, ship: `parcel of ${id}` })),
    })
    expect(world().log).toEqual(['ship 7', 'ship 8', 'ship 9', 'ship 10'])
    expect(run.steps.map(({ path }) => path.join())).toContain('orders,9,ship')
  })

  it('are found below further objects, by the identity of the item that they are in', async () => {
    let list = orders('7', '8')
    const first = world().serve(options(() => list))
    const { runId } = await first.ask('{ orders { nested { nested { ship } } } }')
    first.kill()
    list = orders('8', '7')
    const run = await world()
      .serve(options(() => list))
      .finish(runId)
    expect(run.result?.data).toEqual({
      orders: ['8', '7'].map((id) => ({ nested: { nested: { ship: `parcel of ${id}` } } })),
    })
    expect(world().log).toEqual(['ship 7', 'ship 8'])
  })

  it('tell an entity that comes twice apart by its occurrence', async () => {
    const list = orders('7', '7', '8')
    const first = world().serve(options(() => list))
    const { runId } = await first.ask('{ orders { ship } }')
    first.kill()
    const run = await world()
      .serve(options(() => list))
      .finish(runId)
    expect(run.result?.data?.['orders']).toHaveLength(3)
    expect(world().log).toEqual(['ship 7', 'ship 7', 'ship 8'])
  })

  it('go by the index where an item has no identity, and by identify where that is given', async () => {
    let list: { n: number }[] = [{ n: 1 }, { n: 2 }]
    const byIndex = world().serve(options(() => list))
    const unnamed = await byIndex.finish((await byIndex.ask('{ orders { ship } }')).runId)
    expect(unnamed.steps.map(({ path }) => path.join())).toEqual(
      expect.arrayContaining(['orders,0,ship', 'orders,1,ship']),
    )
    await byIndex.close()
    const identify = (source: unknown) => `n${(source as { n: number }).n}`
    const first = world().serve(options(() => list, identify))
    world().log.length = 0
    const { runId } = await first.ask('{ orders { ship } }')
    first.kill()
    list = [{ n: 2 }, { n: 1 }]
    const run = await world()
      .serve(options(() => list, identify))
      .finish(runId)
    expect(run.result?.data).toEqual({ orders: [{ ship: 'parcel of n2' }, { ship: 'parcel of n1' }] })
    expect(world().log.toSorted()).toEqual(['ship n1', 'ship n2'])
  })
})

overStores('where tools are found', (world) => {
  it('context.step and the imported step work after an await in root and @durable fields, and below', async () => {
    const helper = (id: string) => importedStep.run(id, () => id)
    const server = world().serve({
      typeDefs: 'type Box { deep: String @durable } type Query { root: String box: Box }',
      resolvers: {
        Query: {
          root: async (_s, _a, context) => {
            await new Promise((resolve) => setImmediate(resolve))
            return (await context.step.run('one', () => 'one')) + (await helper('two'))
          },
          box: () => ({}),
        },
        Box: {
          deep: async (_s, _a, context) => {
            await new Promise((resolve) => setImmediate(resolve))
            return (await context.step.run('one', () => '1')) + (await helper('2'))
          },
        },
      },
    })
    expect((await server.ask('{ root box { deep } }')).data).toEqual({ root: 'onetwo', box: { deep: '12' } })
  })

  it('{ step } in the parameters works in every resolver, also after an await, and in methods of sources', async () => {
    const server = world().serve({
      typeDefs: 'type Box { deep: String method: String } type Query { box: Box }',
      resolvers: {
        Query: { box: () => ({ method: (_args: unknown, { step }: Context) => step.run('m', () => 'method') }) },
        Box: {
          deep: async (_s, _a, { step }) => {
            await new Promise((resolve) => setImmediate(resolve))
            return step.run('one', () => 'one')
          },
        },
      },
    })
    const answer = await server.ask('{ box { deep method } }')
    expect(answer.data).toEqual({ box: { deep: 'one', method: 'method' } })
    expect(server.commits.flatMap(({ outcomes }) => outcomes.map(({ key }) => key)).toSorted()).toEqual([
      'box.deep>one',
      'box.method>m',
    ])
  })

  it('elsewhere they say what to do: DURABLE_STEP_MISUSED', async () => {
    const server = world().serve({
      typeDefs: 'type Box { late: String nested: String } type Query { box: Box }',
      resolvers: {
        Query: { box: () => new Promise((resolve) => setImmediate(() => resolve({}))) },
        Box: {
          nested: (_s, _a, { step }) => step.run('outer', () => step.run('inner', () => 'never')),
        },
      },
    })
    const answer = await server.ask('{ box { nested } }')
    expect(answer.errors).toMatchObject([{ path: ['box', 'nested'], extensions: { code: 'DURABLE_STEP_MISUSED' } }])
    expect(answer.errors?.[0].message).toContain('inside of step "outer"')
    await expect(importedStep.run('nowhere', () => 1)).rejects.toMatchObject({ code: 'DURABLE_STEP_MISUSED' })
    await expect(importedStep.sleep('nowhere', 1)).rejects.toThrow('Take `{ step }` in the parameters')
  })

  it('side by side, in siblings, nothing waits for anything: steps overlap', async () => {
    const both = deferred()
    let inside = 0
    const meet = async (_s: unknown, _a: unknown, { step }: Context) =>
      step.run('meet', async () => {
        if (++inside === 2) both.resolve()
        await both.promise
        return inside
      })
    const server = world().serve({
      typeDefs: 'type Query { one: Int two: Int }',
      resolvers: { Query: { one: meet, two: meet } },
    })
    expect(await server.ask('{ one two }')).toMatchObject({ status: 200, data: { one: 2, two: 2 } })
  })
})
