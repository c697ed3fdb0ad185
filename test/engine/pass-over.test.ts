import type { Plugin } from 'graphql-yoga'
import { expect, it } from 'vitest'
import { usePostgres } from '../support/standing-postgres.ts'
import { deferred, oneField, overAllStores, overAllStoresWithLeases } from './world.ts'
import type { Server, ServerOptions, World } from './world.ts'

/*
 * A pass whose run is over (cancelled, timed out, lost) runs nothing of the user's any more, whichever await it was in
 * (I12): its tools could only fail, and a `catch { refund() }` would run.
 */

usePostgres()

/** A resolver that would refund if it noticed anything. */
function refunding(log: string[], nap: string) {
  return oneField(async (_source, _args, { step }) => {
    log.push('resolver')
    try {
      await step.sleep('nap', nap)
      return await step.run('ship', () => 'shipped')
    } catch {
      log.push('refund')
      throw new Error('refunded')
    }
  })
}

type Gate = { promise: Promise<void>; resolve(value: void): void }

/** Typed as loosely as it may be written: what a pass gives, it does not look at. */
function enterAfter(gate: Gate): never {
  const enter = async (_captured: unknown, _run: unknown, next: () => unknown) => {
    await gate.promise
    return next()
  }
  return enter as never
}

/** Where a pass awaits something of the user's before it has come to the resolvers. */
const AWAITS: Record<string, (gate: Gate, log: string[]) => Partial<ServerOptions>> = {
  'context.restore': (gate) => ({
    durable: { context: { restore: () => gate.promise.then(() => ({})) } },
  }),
  'context.create': (gate) => ({
    durable: { context: { create: () => gate.promise.then(() => ({})) } },
  }),
  'context.enter': (gate) => ({
    durable: {
      context: { enter: enterAfter(gate) },
    },
  }),
  'the context factory': (gate, log) => ({
    context: () => {
      log.push('context')
      return log.includes('restarted') ? (gate.promise as never) : {}
    },
  }),
  'a hook of another plugin': (gate, log) => {
    const onExecute: Plugin['onExecute'] = async () => {
      if (log.includes('restarted')) await gate.promise
    }
    return { plugins: [{ onExecute }] }
  },
  'what a plugin prepares': (gate, log) => {
    const onParams: Plugin['onParams'] = async () => {
      if (log.includes('restarted')) await gate.promise
    }
    return { plugins: [{ onParams }] }
  },
}

/** A run that is being resumed by a second process, whose pass is in that await. */
async function resumedInto(name: string, world: World, timeout?: string) {
  const log = world.log
  const gate = deferred()
  const options = { ...refunding(log, '5s'), ...AWAITS[name]?.(gate, log) }
  const durable = { ...options.durable, ...(timeout !== undefined && { timeout }) }
  const first = world.serve({ ...options, durable: { ...durable, context: {} } })
  const { runId } = await first.ask('{ go }')
  await world.advance('1s')
  first.kill()
  log.length = 0
  log.push('restarted')
  const second = world.serve({ ...options, durable })
  await world.advance('20s')
  return { runId, gate, second, options }
}

async function expectNothingRan(world: World): Promise<void> {
  await world.settle()
  await world.advance('30s')
  expect(world.log.filter((line) => line === 'resolver' || line === 'refund')).toEqual([])
}

overAllStores('a cold pass whose run ends before it has come to the resolvers', (world) => {
  it.each(Object.keys(AWAITS))('runs nothing once the run is cancelled, in %s', async (name) => {
    const { runId, gate, second } = await resumedInto(name, world())
    await world().until(second.durable.runs.cancel(runId))
    gate.resolve()
    await expectNothingRan(world())
    expect((await second.get(runId)).status).toBe('CANCELLED')
  })

  it.each(Object.keys(AWAITS))('runs nothing once the run has timed out, in %s', async (name) => {
    const { runId, gate, second } = await resumedInto(name, world(), '40s')
    await world().advance('30s')
    expect((await second.get(runId)).status).toBe('FAILED')
    gate.resolve()
    await expectNothingRan(world())
  })
})

overAllStoresWithLeases('a cold pass that lost its lease before it has come to the resolvers', (world) => {
  it.each(Object.keys(AWAITS))('runs nothing, in %s', async (name) => {
    const { runId, gate, second, options } = await resumedInto(name, world())
    second.freeze()
    const third = world().serve({ ...refunding([], '5s'), durable: { ...options.durable, context: {} } })
    await third.finish(runId)
    await second.thaw()
    gate.resolve()
    await expectNothingRan(world())
  })
})

/** A pass that the executor is still in when the run is over: what it would call next is not called. */
const nested = (log: string[], gate: Gate): ServerOptions => ({
  typeDefs: 'type Query { go: Order plain: Order } type Order { ship: Int paid: Int }',
  resolvers: {
    Query: {
      go: async (_s, _a, { step }) => {
        await step.sleep('nap', '30s')
        return {}
      },
      plain: () => gate.promise.then(() => ({})),
    },
    Order: {
      paid: () => log.push('paid'),
      ship: async (_s, _a, { step }) => {
        log.push('resolver')
        try {
          return await step.run('ship', () => 1)
        } catch {
          return log.push('refund')
        }
      },
    },
  },
})

overAllStores('a resolver that the executor comes to when the run is over', (world) => {
  it('is not called, in a background pass', async () => {
    const gate = deferred()
    const server = world().serve(nested(world().log, gate))
    const { runId } = await server.ask('{ go { ship } plain { ship paid } }')
    await world().until(server.durable.runs.cancel(runId))
    gate.resolve()
    await expectNothingRan(world())
    expect(world().log).toEqual([])
  })

  it('is not called while the request is open, which is answered with the error', async () => {
    const gate = deferred()
    const server = world().serve({ ...nested(world().log, gate), durable: { hold: '10m', deferAfter: '10m' } })
    const asked = server.send('{ go { ship } plain { ship paid } }')
    await world().advance('1s')
    const [run] = (await world().until(server.durable.runs.list())).runs
    if (run) await world().until(server.durable.runs.cancel(run.id))
    gate.resolve()
    const answer = await world().until(asked)
    // Where the run has not been stored yet there is none to cancel.
    if (run) expect(answer.errors?.[0].extensions.code).toBe('DURABLE_RUN_CANCELLED')
  })

  it('is not called while the request is open, once the run has timed out', async () => {
    const gate = deferred()
    const durable = { hold: '10m', deferAfter: '10m', timeout: '10s' }
    const server: Server = world().serve({ ...nested(world().log, gate), durable })
    const asked = server.send('{ go { ship } plain { ship paid } }')
    await world().advance('10s')
    gate.resolve()
    const answer = await world().until(asked)
    expect(answer.errors?.map(({ extensions }: any) => extensions.code)).toContain('DURABLE_RUN_TIMEOUT')
    await expectNothingRan(world())
    expect(world().log).toEqual([])
  })
})

overAllStores('a hot pass whose run ends before it has come to the resolvers', (world) => {
  it('runs nothing, though `context.enter` goes on', async () => {
    const gate = deferred()
    const enter = enterAfter(gate)
    const server = world().serve({ ...nested(world().log, deferred()), durable: { context: { enter } } })
    const { runId } = await server.ask('{ go { ship paid } }')
    await world().until(server.durable.runs.cancel(runId))
    gate.resolve()
    await expectNothingRan(world())
    expect(world().log).toEqual([])
  })
})

overAllStores('a mutation that is executed field by field', (world) => {
  it.each(['hot', 'cold'])('does not begin the next field once the run is cancelled, %s', async (how) => {
    const gate = deferred()
    const options: ServerOptions = {
      typeDefs: 'type Query { a: Int } type Mutation { one: Int @durable two: Int }',
      resolvers: {
        Mutation: {
          one: async (_s, _a, { step }) => {
            await step.run('begin', () => 1)
            await step.sleep('nap', '5s')
            await gate.promise
            return 1
          },
          two: async (_s, _a, { step }) => {
            world().log.push('resolver')
            return step.run('two', () => 2).catch(() => world().log.push('refund'))
          },
        },
      },
    }
    const first = world().serve(options)
    const { runId } = await first.ask('mutation { one two }')
    await world().advance('1s')
    if (how === 'cold') first.kill()
    const server = how === 'cold' ? world().serve(options) : first
    await world().advance('20s')
    await world().until(server.durable.runs.cancel(runId))
    gate.resolve()
    await expectNothingRan(world())
  })
})
