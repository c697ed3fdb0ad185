import { expect, it } from 'vitest'
import { step as importedStep } from '../../src/index.ts'
import type { StepError } from '../../src/index.ts'
import { overStores } from './world.ts'
import type { Resolver, ServerOptions } from './world.ts'

const fails = (): never => {
  throw new Error('down')
}

/** A `@durable` query, an order below it with two fields of its own, and one of them `@durable` as well. */
function shop(directive: string, fields: Record<string, Resolver>, own = ''): ServerOptions {
  return {
    typeDefs: `scalar Any
      type Query { shop: Shop ${directive} plain: Shop }
      type Shop { orders: [Order] one: Order }
      type Order { id: ID ship: Any bill: Any ${own} }`,
    resolvers: {
      Query: { shop: () => ({}), plain: () => ({}) },
      Shop: { orders: () => [{ id: '1' }, { id: '2' }], one: () => ({ id: '3' }) },
      Order: fields,
    },
    durable: { backoff: { initial: '2s', jitter: 'none' }, hold: '1s' },
  }
}

const attemptsAt: Resolver = async (_source, _args, { step }) => {
  try {
    return await step.run('work', fails)
  } catch (error) {
    return (error as StepError).attempts
  }
}

overStores('what @durable says of a field', (world) => {
  it('holds for the steps of the fields below it: retries', async () => {
    const server = world().serve(shop('@durable(retries: 1)', { ship: attemptsAt }))
    const { runId } = await server.ask('{ shop { orders { ship } one { ship } } }')
    const run = await server.finish(runId)
    expect(run.result?.data).toEqual({ shop: { orders: [{ ship: 2 }, { ship: 2 }], one: { ship: 2 } } })
  })

  it('holds for no field that is not below it', async () => {
    const server = world().serve(shop('@durable(retries: 0)', { ship: attemptsAt }))
    const { runId } = await server.ask('{ shop { one { ship } } plain { one { ship } } }')
    const run = await server.finish(runId)
    expect(run.result?.data).toEqual({ shop: { one: { ship: 1 } }, plain: { one: { ship: 4 } } })
  })

  it('is the nearest one for each of its options, the field’s own before those above, the step’s own before all', async () => {
    const timesOut: Resolver = async (_source, _args, { step }) => {
      try {
        return await step.run('slow', () => new Promise(() => {}))
      } catch (error) {
        return [(error as StepError).code, (error as StepError).attempts]
      }
    }
    const ownOption: Resolver = async (_source, _args, { step }) => {
      try {
        return await step.run('work', fails, { retries: 3 })
      } catch (error) {
        return (error as StepError).attempts
      }
    }
    const options = shop(
      '@durable(retries: 0, timeout: "2s")',
      { ship: timesOut, bill: ownOption, pack: timesOut },
      'pack: Any @durable(retries: 2)',
    )
    const server = world().serve(options)
    const { runId } = await server.ask('{ shop { one { ship bill pack } } }')
    const run = await server.finish(runId)
    expect(run.result?.data).toEqual({
      shop: { one: { ship: ['DURABLE_STEP_TIMEOUT', 1], bill: 4, pack: ['DURABLE_STEP_TIMEOUT', 3] } },
    })
  })

  it('holds below it in a cold resume, too', async () => {
    const afterNap: Resolver = async (source, args, context, info) => {
      await context.step.sleep('nap', '1m')
      return attemptsAt(source, args, context, info)
    }
    const options = shop('@durable(retries: 1)', { ship: afterNap })
    const first = world().serve(options)
    const { runId } = await first.ask('{ shop { one { ship } } }')
    first.kill()
    const run = await world().serve(options).finish(runId)
    expect(run.result?.data).toEqual({ shop: { one: { ship: 2 } } })
  })

  it('decides how long a request is held for the fields below it', async () => {
    const nap: Resolver = async (_source, _args, { step }) => {
      await step.sleep('nap', '5s')
      return 'rested'
    }
    const server = world().serve(shop('@durable(hold: "10s")', { ship: nap }))
    const held = await server.ask('{ shop { one { ship } } }')
    expect(held).toMatchObject({ status: 200, data: { shop: { one: { ship: 'rested' } } } })
    const deferred = await server.ask('{ plain { one { ship } } }')
    expect(deferred.status).toBe(202)
    await server.finish(deferred.runId)
  })
})

overStores('below a @durable field', (world) => {
  const viaContext: Resolver = async ({ id }, _args, context) => {
    await new Promise((resolve) => setImmediate(resolve))
    const first = await context.step.run('work', () => (world().log.push(`work ${id}`), `worked ${id}`))
    await context.step.sleep('nap', '1m')
    return first
  }
  const viaImport: Resolver = async ({ id }) => {
    await new Promise((resolve) => setImmediate(resolve))
    const first = await importedStep.run('bill', () => (world().log.push(`bill ${id}`), `billed ${id}`))
    await importedStep.sleep('nap', '1m')
    return first
  }

  it('context.step and the imported step work in every resolver, after an await as well, and belong to its field', async () => {
    const options = shop('@durable', { ship: viaContext, bill: viaImport })
    const first = world().serve(options)
    const answer = await first.ask('{ shop { orders { ship bill } } }')
    expect(answer.status).toBe(202)
    expect(answer.data).toEqual({
      shop: {
        orders: [
          { ship: null, bill: null },
          { ship: null, bill: null },
        ],
      },
    })
    first.kill()
    const run = await world().serve(options).finish(answer.runId)
    expect(run.result?.data).toEqual({
      shop: {
        orders: [
          { ship: 'worked 1', bill: 'billed 1' },
          { ship: 'worked 2', bill: 'billed 2' },
        ],
      },
    })
    expect(world().log.toSorted()).toEqual(['bill 1', 'bill 2', 'work 1', 'work 2'])
    expect(
      run.steps
        .filter(({ kind }) => kind === 'RUN')
        .map(({ id }) => id)
        .toSorted(),
    ).toEqual([
      'shop.orders.[:1].bill>bill',
      'shop.orders.[:1].ship>work',
      'shop.orders.[:2].bill>bill',
      'shop.orders.[:2].ship>work',
    ])
  })

  it('a run is parked and goes on hot, as below any other field', async () => {
    const server = world().serve(shop('@durable', { ship: viaContext, bill: viaImport }))
    const { runId } = await server.ask('{ shop { one { ship bill } } }')
    await world().advance('5s')
    expect((await server.get(runId)).status).toBe('SUSPENDED')
    const run = await server.finish(runId)
    expect(run.result?.data).toEqual({ shop: { one: { ship: 'worked 3', bill: 'billed 3' } } })
    expect(world().log).toHaveLength(2)
  })

  it('what is called without a scope elsewhere is misuse still', async () => {
    const server = world().serve(shop('@durable', { ship: viaImport }))
    const { errors } = await server.ask('{ plain { one { ship } } }')
    expect(errors?.[0]?.extensions.code).toBe('DURABLE_STEP_MISUSED')
  })
})
