import { expect, it } from 'vitest'
import { createTestClock } from '../../src/testing.ts'
import { deferred, oneField, overStores, overStoresWithLeases } from './world.ts'
import type { Server, ServerOptions, World } from './world.ts'

overStores('a run that a process has in memory', (world) => {
  const slept = (): ServerOptions =>
    oneField(
      async (_source, _args, { step }) => {
        world().log.push('pass')
        await step.sleep('pause', '5m')
        return step.waitForEvent('go', { event: 'go' }).then(() => 'the end')
      },
      { hot: { ttl: '1h' } },
    )

  it('goes on there, though others see it as soon as it is due', async () => {
    const others = [world().serve(slept())]
    const keeper = world().serve(slept())
    others.push(world().serve(slept()))
    const { runId } = await keeper.ask('{ go }')
    await world().advance('6m')
    await others[0]?.durable.send({ name: 'go' })
    expect((await keeper.finish(runId)).result).toEqual({ data: { go: 'the end' } })
    expect(world().log).toEqual(['pass'])
    expect(others.flatMap(({ commits }) => commits)).toEqual([])
  })

  it('goes on elsewhere a moment later, where that process does not come for it', async () => {
    const keeper = world().serve(slept())
    const { runId } = await keeper.ask('{ go }')
    keeper.kill()
    const other = world().serve(slept())
    await world().advance('5m')
    const before = world().now()
    await other.durable.send({ name: 'go' })
    await other.finish(runId)
    expect(world().now() - before).toBeLessThanOrEqual(1_000)
    expect(world().log).toEqual(['pass', 'pass'])
  })

  it('is anybody’s at once where the process that parked it carries nothing on by itself', async () => {
    const server = world().serve({ ...slept(), durable: { worker: false, hot: { ttl: '1h' } } })
    const worker = world().serve(slept())
    const { runId } = await server.ask('{ go }')
    const before = world().now()
    await world().advance('5m')
    await worker.durable.send({ name: 'go' })
    await worker.finish(runId)
    expect(world().now() - before).toBe(5 * 60_000)
  })
})

overStoresWithLeases('a run whose holders die again and again', (world) => {
  /** What kills its process, and what is slow: `deadly` never comes to an end, `slow` does when its gate is opened. */
  const app = (gates: Map<string, ReturnType<typeof deferred<string>>[]>): ServerOptions => ({
    typeDefs: 'type Query { deadly(n: Int): String, slow(n: Int): String }',
    resolvers: {
      Query: {
        deadly: (_source, { n }, { step }) =>
          step.run('kill', () => (world().log.push(`deadly ${n}`), new Promise<string>(() => {}))),
        slow: (_source, { n }, { step }) =>
          step.run('work', () => {
            const gate = deferred<string>()
            gates.set(`slow ${n}`, [...(gates.get(`slow ${n}`) ?? []), gate])
            return gate.promise
          }),
      },
    },
    durable: { deferAfter: '100ms' },
  })

  /** Kills the server as soon as it has begun with what is deadly. False where it did not begin with it any more. */
  async function dieWhileDeadly(server: Server, world: World): Promise<boolean> {
    const before = world.log.length
    for (let tries = 0; tries < 2_000 && world.log.length === before; tries++) await world.advance('1s')
    if (world.log.length > before) server.kill()
    return world.log.length > before
  }

  it.each([
    ['first', 6],
    ['last', 7],
  ] as const)(
    'is given up, and what was held beside it every time is not; it is claimed %s of them (I2, I4)',
    async (place, deaths) => {
      const gates = new Map<string, ReturnType<typeof deferred<string>>[]>()
      const first = world().serve(app(gates))
      const queries = ['{ slow(n: 1) }', '{ slow(n: 2) }']
      const all = place === 'first' ? ['{ deadly(n: 1) }', ...queries] : [...queries, '{ deadly(n: 1) }']
      const runIds = new Map<string, string>()
      for (const query of all) runIds.set(query, (await first.ask(query)).runId)
      first.kill()
      let survivor: Server
      do survivor = world().serve(app(gates))
      while (await dieWhileDeadly(survivor, world()))

      const run = await survivor.get(runIds.get('{ deadly(n: 1) }') ?? '')
      expect(run.result?.errors?.[0]?.extensions).toMatchObject({ code: 'DURABLE_RESUME_FAILED' })
      expect(world().log).toEqual(Array(deaths).fill('deadly 1'))
      for (const n of [1, 2]) {
        gates.get(`slow ${n}`)?.at(-1)?.resolve(`done ${n}`)
        const { result } = await survivor.finish(runIds.get(`{ slow(n: ${n}) }`) ?? '')
        expect(result).toEqual({ data: { slow: `done ${n}` } })
      }
    },
  )

  it('is carried on apart from others of its kind, and others need not wait for it', async () => {
    const gates = new Map<string, ReturnType<typeof deferred<string>>[]>()
    const first = world().serve(app(gates))
    for (const n of [1, 2, 3]) await first.ask(`{ deadly(n: ${n}) }`)
    first.kill()
    for (let deaths = 2; deaths <= 3; deaths++) await dieWhileDeadly(world().serve(app(gates)), world())
    expect(world().log.toSorted()).toEqual([1, 2, 3].flatMap((n) => Array(3).fill(`deadly ${n}`)))

    const later = world().serve(app(gates))
    world().log.length = 0
    await world().advance('30s')
    expect(world().log).toHaveLength(1)
    // What kills its process does so soon: then it is the next one's turn.
    await world().advance('1m')
    expect(world().log.toSorted()).toEqual(['deadly 1', 'deadly 2', 'deadly 3'])
    const { runId } = await later.ask('{ slow(n: 1) }')
    gates.get('slow 1')?.at(-1)?.resolve('done')
    expect((await later.finish(runId)).result).toEqual({ data: { slow: 'done' } })
  })

  it('is no suspect any more once it has got on, if only to its next wait', async () => {
    const options = oneField(async (_source, _args, { step }) => {
      world().log.push('pass')
      await step.sleep('pause', '1h')
      await step.run('work', () => 'done')
      return 'the end'
    })
    const first = world().serve(options)
    const { runId } = await first.ask('{ go }')
    await first.close()
    const clock = createTestClock({ now: world().now() })
    const session = await world().store.connect({ processId: 'observer', leaseMs: 3_600_000, clock })
    for (let deaths = 1; deaths <= 4; deaths++) {
      const victim = await world().store.connect({ processId: `victim ${deaths}`, leaseMs: 1, clock })
      expect((await victim.claim({ limit: 1, runId, evenIfNotDue: true })).claimed).toHaveLength(1)
      await clock.advance(10)
      await session.reap()
    }
    expect((await session.read(runId))?.run.takeovers).toBe(4)
    world().serve(options)
    await world().advance('10s')
    expect((await session.read(runId))?.run).toMatchObject({ takeovers: 0, status: 'suspended' })
    await session.close()
  })
})
