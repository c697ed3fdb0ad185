import { expect, it } from 'vitest'
import { usePostgres } from '../support/standing-postgres.ts'
import { oneField, overAllStores, overStores } from './world.ts'
import type { Resolver } from './world.ts'

/* Runs that wait for something outside stop no other run, and operators are told what hangs (I4). */

usePostgres()

const CONCURRENCY = 2
const hang = (): Promise<never> => new Promise(() => {})

/** What a run may wait for without doing anything. */
const HANGS: Record<string, Resolver> = {
  'a step': (_s, _a, { step }) => step.run('work', hang),
  'a step that nobody awaits': (_s, _a, { step }) => {
    void step.run('work', hang)
    return 1
  },
  'no step': hang,
}

overAllStores('as many runs that hang as there are places', (world) => {
  it.each(Object.keys(HANGS))('do not stop another from going on: they wait for %s', async (what) => {
    const server = world().serve(
      oneField(
        async (source, args, context, info) => {
          await context.step.sleep('nap', '2s')
          if (args.n > 0) return HANGS[what]?.(source, args, context, info)
          return context.step.run('work', () => 'done')
        },
        { worker: { concurrency: CONCURRENCY } },
      ),
    )
    for (let n = 1; n <= 2 * CONCURRENCY; n++) await server.ask(`{ go(n: ${n}) }`)
    await world().advance('3s')
    const { runId } = await server.ask('{ go(n: 0) }')
    const run = await server.finish(runId, '30s')
    expect(run.result).toEqual({ data: { go: 'done' } })
    const { runs } = await world().until(server.durable.runs.list())
    expect(runs.filter(({ status }) => status !== 'COMPLETED').length).toBe(2 * CONCURRENCY)
  })
})

overStores('a step that hangs', (world) => {
  it('is warned of once, by its name and since when', async () => {
    const told: unknown[] = []
    const server = world().serve(
      oneField((_s, _a, { step }) => step.run('work', hang), {
        deferAfter: '1s',
        onWarning: (message, details) => {
          if (message.includes('under way')) told.push(details)
        },
      }),
    )
    const from = world().now()
    const { runId } = await server.ask('{ go }')
    await world().advance('50s')
    expect(told).toEqual([])
    await world().advance('10m')
    expect(told).toEqual([expect.objectContaining({ runId, step: 'go>work', since: new Date(from).toISOString() })])
  })

  it('is warned of where the worker is off, too', async () => {
    const told: string[] = []
    const server = world().serve(
      oneField((_s, _a, { step }) => step.run('work', hang), {
        deferAfter: '1s',
        worker: false,
        onWarning: (message) => void told.push(message),
      }),
    )
    await server.ask('{ go }')
    await world().advance('2m')
    expect(told.filter((message) => message.includes('under way'))).toHaveLength(1)
  })
})

overStores('a run that waits for what is no step', (world) => {
  it('is warned of once', async () => {
    const told: string[] = []
    const server = world().serve(
      oneField(
        async (_s, _a, { step }) => {
          await step.run('first', () => 1)
          return hang()
        },
        { deferAfter: '1s', onWarning: (message) => void told.push(message) },
      ),
    )
    await server.ask('{ go }')
    await world().advance('10m')
    expect(told.filter((message) => message.includes('no step'))).toHaveLength(1)
  })
})

overStores('a run that has rested', (world) => {
  it('takes up a place again when it goes on', async () => {
    const gates: PromiseWithResolvers<void>[] = []
    const server = world().serve(
      oneField(
        async (_s, _a, { step }) => {
          await step.sleep('nap', '2s')
          const gate = Promise.withResolvers<void>()
          gates.push(gate)
          await step.run('work', () => gate.promise)
          return step.run('more', () => 'done')
        },
        { worker: { concurrency: 1 } },
      ),
    )
    const ids: string[] = []
    for (let n = 0; n < 3; n++) ids.push((await server.ask('{ go }')).runId)
    await world().advance('30s')
    expect(gates).toHaveLength(3)
    for (const gate of gates) gate.resolve()
    for (const id of ids) expect((await server.finish(id)).result).toEqual({ data: { go: 'done' } })
  })
})
