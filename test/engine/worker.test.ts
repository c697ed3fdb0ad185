import { expect, it } from 'vitest'
import { StoreError } from '../../src/store/store.ts'
import { deferred, oneField, overStores, overStoresWithLeases, wrapped } from './world.ts'

overStoresWithLeases('a worker', (world) => {
  it('carries on no more runs than it may, however many clients ask for them', async () => {
    const options = oneField(
      (_source, { n }, { step }) =>
        step.run('work', () => (world().log.push(`${n}`), new Promise<string>((resolve) => gates.push(resolve)))),
      { deferAfter: '100ms', worker: { concurrency: 2 } },
    )
    let gates: ((value: string) => void)[] = []
    const first = world().serve(options)
    const runIds: string[] = []
    for (let n = 1; n <= 8; n++) runIds.push((await first.ask(`{ go(n: ${n}) }`)).runId)
    first.kill()
    await world().advance('20s')
    world().log.length = gates.length = 0
    const later = world().serve(options)
    const waits = runIds.map((runId) => later.durable.runs.wait(runId))
    for (let done = 0; done < 8; done += 2) {
      await world().advance('5s')
      expect(world().log).toHaveLength(done + 2)
      for (const open of gates) open('done')
      gates = []
    }
    const runs = await world().until(Promise.all(waits))
    expect(runs.every((run) => run?.status === 'COMPLETED')).toBe(true)
  })

  it('does not look all the time for a run that is due and that it cannot take', async () => {
    let looks = 0
    const server = world().serve(
      oneField(() => 'hello', {
        store: wrapped(world().store, (session) => ({
          async claim(request) {
            looks++
            const receipt = await session.claim(request)
            return { ...receipt, nextDueAt: receipt.at } // as where somebody has its row locked
          },
        })),
      }),
    )
    await world().advance('10s')
    expect(looks).toBeLessThan(20)
    expect(server.warnings).toEqual([])
  })

  it('ends a run at its timeout without parking it once more', async () => {
    const server = world().serve(
      oneField(async (_source, _args, { step }) => step.sleep('pause', '1h'), { timeout: '1m' }),
    )
    const { runId } = await server.ask('{ go }')
    const before = server.commits.length
    expect((await server.finish(runId)).status).toBe('FAILED')
    expect(server.commits.slice(before).map(({ next }) => next.kind)).toEqual(['end'])
  })

  it('says so when the store answers too late for any step to be started', async () => {
    let isSlow = true
    const server = world().serve(
      oneField((_source, _args, { step }) => step.run('work', () => 'done'), {
        worker: { lease: '2s' },
        store: wrapped(world().store, (session) => ({
          async beat() {
            const receipt = await session.beat()
            if (isSlow) await new Promise<void>((resolve) => server.clock.setTimeout(resolve, 2_500))
            return receipt
          },
        })),
      }),
    )
    await world().advance('1m')
    expect(server.warnings).toEqual([
      'The store answers too late: this process may be taken for dead by then, and so it starts no step.',
    ])
    isSlow = false
    await world().advance('10s')
    expect((await server.ask('{ go }')).data).toEqual({ go: 'done' })
  })
})

overStores('a process', (world) => {
  it('gives back each run as soon as it can when it is closed, whatever takes long beside it (I4)', async () => {
    const long = deferred<string>()
    const options = {
      typeDefs: 'type Query { long: String, chain: String }',
      resolvers: {
        Query: {
          long: (_source: unknown, _args: unknown, { step }: any) => step.run('long', () => long.promise),
          chain: async (_source: unknown, _args: unknown, { step }: any) => {
            for (let n = 1; n <= 20; n++) {
              await step.run(`link ${n}`, () => new Promise<void>((resolve) => clocks.at(-1)?.setTimeout(resolve, 300)))
            }
            return 'the end'
          },
        },
      },
      durable: { deferAfter: '1s' },
    }
    const clocks = [] as (typeof closing.clock)[]
    const closing = world().serve(options)
    clocks.push(closing.clock)
    await closing.ask('{ long }')
    const { runId } = await closing.ask('{ chain }')
    const other = world().serve(options)
    clocks.push(other.clock)
    const closed = closing.durable.close({ timeout: '1m' })
    expect((await other.finish(runId, '15s')).result).toEqual({ data: { chain: 'the end' } })
    long.resolve('done')
    await world().until(closed)
  })

  it('whose store has to be mended first comes to life when it has been', async () => {
    let isBroken = true
    const options = oneField(async (_source, _args, { step }) => {
      await step.sleep('pause', '1m')
      return 'the end'
    })
    const first = world().serve(options)
    const { runId } = await first.ask('{ go }')
    await first.close()
    const { store } = world()
    const later = world().serve({
      ...options,
      durable: {
        store: {
          name: store.name,
          connect: (connectOptions) =>
            isBroken ? Promise.reject(new StoreError('broken', 'No such database.')) : store.connect(connectOptions),
        },
      },
    })
    await world().advance('10m')
    expect(later.warnings).toEqual([
      'The store could not be opened, and somebody has to look at it; it is tried now and then.',
    ])
    await expect(later.durable.start()).rejects.toThrow('No such database.')
    isBroken = false
    await world().advance('1m')
    expect((await later.get(runId)).result).toEqual({ data: { go: 'the end' } })
  })
})
