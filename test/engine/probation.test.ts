import { expect, it } from 'vitest'
import { encode } from '../../src/core/codec.ts'
import { createTestClock } from '../../src/testing.ts'
import { deferred, oneField, overStores, overStoresWithLeases, wrapped } from './world.ts'
import type { Server, ServerOptions, World } from './world.ts'

/** As when a deploy kills it, and the next one needs a while to start. */
async function replace(world: World, server: Server, options: ServerOptions): Promise<Server> {
  server.kill()
  await world.advance('20s')
  const next = world.serve(options)
  await world.advance('20s')
  return next
}

overStoresWithLeases('a suspect on probation', (world) => {
  /** What each call of `go` does is the world's log; it hangs until its gate is opened. */
  function app(gates: Map<number, ReturnType<typeof deferred<string>>>, first?: (n: number) => boolean): ServerOptions {
    return oneField(
      async (_source, { n }, { step }) => {
        if (first) await step.run('first', () => (first(n) ? 'done' : new Promise<string>(() => {})))
        return step.run('work', () => {
          world().log.push(`${n}`)
          const gate = deferred<string>()
          gates.set(n, gate)
          return gate.promise
        })
      },
      { deferAfter: '100ms' },
    )
  }

  it('is not condemned for what only now has come to kill beside it', async () => {
    const gates = new Map<number, ReturnType<typeof deferred<string>>>()
    let server = world().serve(app(gates))
    const { runId } = await server.ask('{ go(n: 1) }')
    for (let deaths = 1; deaths <= 3; deaths++) server = await replace(world(), server, app(gates))
    const { runId: poison } = await server.ask('{ go(n: 2) }')
    for (let deaths = 4; deaths <= 6; deaths++) server = await replace(world(), server, app(gates))
    await world().advance('2m') // whoever is claimed first: both are on probation by now, one after the other
    gates.get(1)?.resolve('done')
    expect((await server.finish(runId)).result).toEqual({ data: { go: 'done' } })
    const session = await world().store.connect({ processId: 'observer', leaseMs: 1e6, clock: server.clock })
    expect((await session.read(poison))?.run.takeovers).toBe(3)
    await session.close()
  })

  it('makes room for the next as soon as it gets on', async () => {
    let getsOn = false
    const gates = new Map<number, ReturnType<typeof deferred<string>>>()
    const options = app(gates, () => getsOn)
    let server = world().serve(options)
    const numbers = Array.from({ length: 10 }, (_, n) => n)
    for (const n of numbers) await server.ask(`{ go(n: ${n}) }`)
    for (let deaths = 1; deaths <= 2; deaths++) server = await replace(world(), server, options)
    getsOn = true
    server.kill()
    world().serve(options)
    await world().advance('20s')
    expect(world().log.map(Number).toSorted()).toEqual(numbers)
  })

  it('is alone in that, however many clients ask for others', async () => {
    const gates = new Map<number, ReturnType<typeof deferred<string>>>()
    let server = world().serve(app(gates))
    const runIds: string[] = []
    for (let n = 1; n <= 5; n++) runIds.push((await server.ask(`{ go(n: ${n}) }`)).runId)
    for (let deaths = 1; deaths <= 2; deaths++) server = await replace(world(), server, app(gates))
    server.kill()
    await world().advance('20s')
    const observer = await world().store.connect({ processId: 'observer', leaseMs: 1e6, clock: server.clock })
    await observer.beat()
    await server.clock.advance('20s')
    expect(await observer.reap()).toBe(5) // so that all are due when they are asked for
    await observer.close()
    world().log.length = 0
    const later = world().serve(app(gates))
    const waits = runIds.map((runId) => later.durable.runs.wait(runId, { timeout: '25s' }))
    await world().advance('24s')
    expect(world().log).toHaveLength(1)
    await world().until(Promise.all(waits))
  })

  it('is alone in that, also where older promises of the others are still in memory', async () => {
    const options = oneField(
      async (_source, { n }, { step }) => {
        await step.sleep('pause', '1h')
        return step.run('work', () => (world().log.push(`${n}`), new Promise<string>(() => {})))
      },
      { hot: { ttl: '1d' }, deferAfter: '100ms' },
    )
    const keeper = world().serve({ ...options, deaf: true })
    const runIds = [(await keeper.ask('{ go(n: 1) }')).runId, (await keeper.ask('{ go(n: 2) }')).runId]
    await world().advance('10s')
    const clock = createTestClock({ now: world().now() })
    const observer = await world().store.connect({ processId: 'observer', leaseMs: 1e6, clock })
    const pause = {
      kind: 'SLEEP',
      ok: true,
      body: encode(undefined),
      calls: 1,
      attempts: 1,
      eventId: null,
      eventName: null,
    } as const
    for (let deaths = 0; deaths <= 3; deaths++) {
      const victim = await world().store.connect({ processId: `victim ${deaths}`, leaseMs: 1, clock })
      for (const runId of runIds) {
        const [claimed] = (await victim.claim({ limit: 1, runId, evenIfNotDue: true })).claimed
        if (deaths > 0 || !claimed) continue
        // The first of them gets past the pause, which the promises in memory still wait for.
        const { epoch, len } = claimed.run
        const outcome = { ...pause, pos: len, key: 'go>pause', tookMs: 0 }
        const part = {
          runId,
          epoch,
          seq: 1,
          create: null,
          outcomes: [outcome],
          opens: [],
          next: { kind: 'hold' },
        } as const
        expect((await victim.commit([part])).accepted.has(runId)).toBe(true)
      }
      if (deaths === 0) await victim.close()
      await clock.advance(10)
      expect(await observer.reap()).toBe(deaths === 0 ? 0 : 2)
    }
    await observer.close()
    await world().advance('10s')
    expect(world().log).toHaveLength(1)
  })

  it('leaves no timer behind where its process was closed while it was being claimed', async () => {
    let gate: ReturnType<typeof deferred<void>> | null = null
    const gates = new Map<number, ReturnType<typeof deferred<string>>>()
    let server = world().serve(app(gates))
    await server.ask('{ go(n: 1) }')
    for (let deaths = 1; deaths <= 2; deaths++) server = await replace(world(), server, app(gates))
    server.kill()
    await world().advance('20s')
    const store = wrapped(world().store, (session) => ({
      async claim(request) {
        const receipt = await session.claim(request)
        if (receipt.claimed.length > 0) {
          gate = deferred<void>()
          await gate.promise
        }
        return receipt
      },
    }))
    const closing = world().serve({ ...app(gates), durable: { store } })
    for (let tries = 0; tries < 60 && gate === null; tries++) await world().advance('1s')
    const closed = closing.durable.close()
    await world().advance('20s')
    await closed
    ;(gate as ReturnType<typeof deferred<void>> | null)?.resolve()
    await world().settle()
    expect(closing.clock.pending).toBe(0)
  })
})

overStores('a look for events that is under way when a wait times out', (world) => {
  it('does not make it miss what was accepted meanwhile (I6)', async () => {
    let gate: ReturnType<typeof deferred<void>> | null = null
    const long = deferred<string>()
    const store = wrapped(world().store, (session) => ({
      async findEvents(queries) {
        const found = await session.findEvents(queries)
        await gate?.promise
        return found
      },
    }))
    const other = world().serve(oneField((_source, _args, { step }) => step.run('noise', () => 1)))
    const server = world().serve(
      oneField(
        async (_source, _args, { step }) => {
          const wait = step.waitForEvent('w', { event: 'e', timeout: '5s' })
          const [event] = await Promise.all([wait, step.run('long', () => long.promise)])
          return event === null ? 'timeout' : 'event'
        },
        { store, deferAfter: '100ms' },
      ),
    )
    const { runId } = await server.ask('{ go }')
    await world().advance('4700ms')
    gate = deferred<void>()
    await other.ask('{ go }') // whose commit makes the server look
    await world().advance('30ms')
    await other.durable.send({ name: 'e' })
    await world().advance('1s')
    gate.resolve()
    gate = null
    await world().settle()
    long.resolve('done')
    expect((await server.finish(runId)).result).toEqual({ data: { go: 'event' } })
  })

  it('leaves the event of a wait that is closed meanwhile to the next one', async () => {
    let gate: ReturnType<typeof deferred<void>> | null = null
    const controller = new AbortController()
    const store = wrapped(world().store, (session) => ({
      async findEvents(queries) {
        const found = await session.findEvents(queries)
        await gate?.promise
        return found
      },
    }))
    const server = world().serve(
      oneField(
        async (_source, _args, { step }) => {
          const abandoned = step.waitForEvent('abandoned', { event: 'e', signal: controller.signal }).catch(() => null)
          const next = step.waitForEvent<number>('next', { event: 'e' })
          const held = step.run('held', () => new Promise((resolve) => setTimeout(resolve, 0)))
          return [(await next)?.data, await abandoned, await held.then(() => 'held')]
        },
        { store },
      ),
    )
    const { runId } = await server.ask('{ go }')
    gate = deferred<void>()
    await server.durable.send([1, 2].map((data) => ({ name: 'e', data })))
    await world().advance('100ms')
    controller.abort()
    await world().advance('100ms')
    gate.resolve()
    gate = null
    expect((await server.finish(runId)).result).toEqual({ data: { go: [1, null, 'held'] } })
  })
})
