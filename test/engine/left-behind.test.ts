import { getEventListeners } from 'node:events'
import { expect, it } from 'vitest'
import type { DurableOptions } from '../../src/index.ts'
import { deferred, oneField, overStores, overStoresWithLeases } from './world.ts'
import type { Server, World } from './world.ts'

/* What a run has registered outside (listeners, timers) is taken back on every way out. */

const listeners = (signal: AbortSignal): number => getEventListeners(signal, 'abort').length

/** A run that waits for an event with a signal of the user's, which lives longer than any run. */
function waiting(signal: AbortSignal, durable: DurableOptions = {}) {
  return oneField(async (_source, _args, { step }) => {
    await step.run('first', () => 1)
    return (await step.waitForEvent('news', { event: 'news', signal }))?.data
  }, durable)
}

const waysOut: Record<string, (world: World, server: Server, runId: string) => Promise<unknown>> = {
  'it comes to its end': async (world, server, runId) => {
    await world.until(server.durable.send({ name: 'news', data: 1 }))
    await server.finish(runId)
  },
  'it is cancelled': (world, server, runId) => world.until(server.durable.runs.cancel(runId)),
  'it times out': (_world, server, runId) => server.finish(runId),
  'it is evicted': (world) => world.advance('2m'),
  'its process is closed': (_world, server) => server.close(),
}

overStores('what a wait has registered on a signal of the user', (world) => {
  it.each(Object.keys(waysOut))('is taken back when %s', async (name) => {
    const { signal } = new AbortController()
    const timeout = name === 'it times out' ? { timeout: '10s' } : {}
    const server = world().serve(waiting(signal, { ...timeout }))
    const { runId } = await server.ask('{ go }')
    await world().advance('1s')
    expect(listeners(signal)).toBe(1)
    await waysOut[name]?.(world(), server, runId)
    await world().settle()
    expect(listeners(signal)).toBe(0)
  })

  it('is taken back when the wait is closed by it', async () => {
    const closing = new AbortController()
    const server = world().serve(waiting(closing.signal))
    const { runId } = await server.ask('{ go }')
    closing.abort()
    expect((await server.finish(runId)).status).toBe('FAILED')
    expect(listeners(closing.signal)).toBe(0)
  })

  it('is taken back when it loses a race, once the run has ended', async () => {
    const { signal } = new AbortController()
    const server = world().serve(
      oneField(async (_source, _args, { step }) =>
        Promise.race([step.run('quick', () => 1), step.waitForEvent('news', { event: 'news', signal })]),
      ),
    )
    expect((await server.ask('{ go }')).data).toEqual({ go: 1 })
    await world().settle()
    expect(listeners(signal)).toBe(0)
  })
})

overStoresWithLeases('what a wait has registered on a signal of the user', (world) => {
  it('is taken back when its run is lost to another process', async () => {
    const { signal } = new AbortController()
    const frozen = world().serve(waiting(signal, { hot: { ttl: '10m' } }))
    const { runId } = await frozen.ask('{ go }')
    await world().advance('1s')
    expect(listeners(signal)).toBe(1)
    frozen.freeze()
    const other = world().serve(waiting(new AbortController().signal))
    await world().until(other.durable.send({ name: 'news', data: 1 }))
    await other.finish(runId)
    await frozen.thaw()
    await world().advance('5s')
    expect(listeners(signal)).toBe(0)
  })
})

overStores("what an operation has registered on its request's signal", (world) => {
  it.each(['no step', 'a step', 'a wait'])('is taken back where it uses %s', async (what) => {
    const { signal } = new AbortController()
    const gate = deferred()
    const server = world().serve({
      ...oneField(async (_source, _args, { step }, info) => {
        expect(info.signal).not.toBe(signal)
        await gate.promise
        if (what === 'a step') await step.run('first', () => 1)
        if (what === 'a wait') await step.sleep('nap', '5s')
        return 1
      }),
      plugins: [{ onExecute: ({ args }) => void Object.assign(args, { signal }) }],
    })
    const asked = server.send('{ go }')
    await world().settle()
    const during = listeners(signal)
    expect(during).toBeGreaterThan(0)
    gate.resolve()
    await world().until(asked)
    await world().settle()
    expect(listeners(signal)).toBe(during - 1)
  })
})

overStores('the timers of a run', (world) => {
  it('are none once it has been left, whichever way', async () => {
    const server = world().serve(
      oneField(
        async (_source, _args, { step }) => {
          void step.run('hangs', () => new Promise(() => {}), { timeout: '1h' })
          await step.sleep('nap', '2h')
        },
        { timeout: '3h', hot: { ttl: '1h' } },
      ),
    )
    await world().advance('1s')
    const idle = server.clock.pending
    const { runId } = await server.ask('{ go }')
    await world().advance('1s')
    expect(server.clock.pending).toBeGreaterThan(idle)
    await world().until(server.durable.runs.cancel(runId))
    await world().advance('1s')
    expect(server.clock.pending).toBeLessThanOrEqual(idle)
  })

  it('of runs that are kept in memory are none once none is kept', async () => {
    const server = world().serve(
      oneField((_source, _args, { step }) => step.sleep('nap', '20s'), { hot: { ttl: '3h' } }),
    )
    await world().advance('1s')
    const idle = server.clock.pending
    const { runId } = await server.ask('{ go }')
    await server.finish(runId)
    await world().advance('2s')
    expect(server.clock.pending).toBeLessThanOrEqual(idle)
  })
})
