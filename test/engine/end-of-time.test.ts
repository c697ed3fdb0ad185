import { expect, it } from 'vitest'
import { RetryAfterError } from '../../src/index.ts'
import { oneField, overStores } from './world.ts'
import type { Resolver, ServerOptions } from './world.ts'

overStores('a wait until the end of time', (world) => {
  const waits: Record<string, Resolver> = {
    'sleepUntil the last date': (_source, _args, { step }) => step.sleepUntil('end', new Date(8.64e15)),
    'a timeout of Number.MAX_SAFE_INTEGER': (_source, _args, { step }) =>
      step.waitForEvent('end', { event: 'e', timeout: Number.MAX_SAFE_INTEGER }),
    'a timeout of 1e300': (_source, _args, { step }) => step.waitForEvent('end', { event: 'e', timeout: 1e300 }),
    'sleep of 1e300': (_source, _args, { step }) => step.sleep('end', 1e300),
    'sleepUntil beyond the last date': (_source, _args, { step }) => step.sleepUntil('end', Number.MAX_SAFE_INTEGER),
    'a retry after 1e300': (_source, _args, { step }) =>
      step.run('end', () => {
        throw new RetryAfterError('Not now.', 1e300)
      }),
    'backoff without a bound': (_source, _args, { step }) =>
      step.run('end', () => Promise.reject(new Error('down')), {
        backoff: { initial: 1e300, max: 1e300, jitter: 'none' },
      }),
  }

  it.each(Object.entries(waits))('is answered with 202, and can be followed: %s', async (_name, go) => {
    const server = world().serve(oneField(go))
    const { runId } = await server.ask('{ go }')
    const response = await server.durable.fetch(new Request(`http://test/graphql/runs/${runId}`), {})
    expect(response.status).toBe(202)
    const query = 'query ($id: ID!) { durableRun(id: $id) { status waitingOn { step } } }'
    const { data } = await server.ask(query, { id: runId })
    expect(data).toEqual({ durableRun: { status: 'SUSPENDED', waitingOn: [{ step: 'end' }] } })
    expect((await server.durable.runs.list()).runs).toHaveLength(1)
  })

  it('is one also where a deploy has given it that timeout', async () => {
    const waiting = (timeout?: number): ServerOptions =>
      oneField(async (_source, _args, { step }) => {
        await Promise.all([
          step.waitForEvent('end', { event: 'e', ...(timeout !== undefined && { timeout }) }),
          step.sleep('nap', '10s').then(() => step.sleep('rest', '1d')),
        ])
      })
    const before = world().serve(waiting())
    const { runId } = await before.ask('{ go }')
    await before.durable.close()
    const after = world().serve(waiting(1e300))
    await after.durable.start()
    await after.clock.advance('20s')
    const response = await after.durable.fetch(new Request(`http://test/graphql/runs/${runId}`), {})
    expect(response.status).toBe(202)
    const run = await after.durable.runs.get(runId)
    const end = run?.waitingOn.find(({ step }) => step === 'end')
    expect(end?.until?.getFullYear()).toBe(275760)
  })
})
