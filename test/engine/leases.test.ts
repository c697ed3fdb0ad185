import { expect, it } from 'vitest'
import type { DurableOptions } from '../../src/index.ts'
import { deferred, oneField, overAllStores, overAllStoresWithLeases } from './world.ts'
import type { Server, World } from './world.ts'
import { usePostgres } from '../support/standing-postgres.ts'

usePostgres()

/**
 * A resolver that would do harm if it could notice that its run was taken from it: it writes down every `catch` and
 * `finally` that it gets into.
 */
function watchful(world: World, work: () => Promise<unknown>, durable?: DurableOptions) {
  const signals: AbortSignal[] = []
  const options = oneField(async (_source, _args, { step }) => {
    try {
      await step.run('first', () => world.log.push('first'))
      await step.run('work', ({ signal }) => {
        signals.push(signal)
        return work()
      })
      await step.sleep('pause', '2m')
      return await step.run('last', () => 'the end')
    } catch (error) {
      world.log.push(`caught ${String(error)}`)
      throw error
    } finally {
      world.log.push('finally')
    }
  }, durable)
  return { options, signals }
}

overAllStoresWithLeases('a process that lost its lease (I3, I12)', (world) => {
  it('writes nothing any more, and no line of its resolvers runs', async () => {
    const gates = [deferred<string>(), deferred<string>()]
    const waiting = [...gates]
    const options = oneField(async (_source, _args, { step }) => {
      try {
        await step.run('first', () => world().log.push('first'))
        const value = await step.run('work', () => waiting.shift()?.promise)
        world().log.push(`went on with ${value}`)
        return value
      } catch (error) {
        world().log.push(`caught ${String(error)}`)
        throw error
      } finally {
        world().log.push('finally')
      }
    })
    const frozen = world().serve(options)
    const { runId } = await frozen.ask('{ go }')
    frozen.freeze()
    const other = world().serve(options)
    await world().advance('30s')
    expect(waiting).toEqual([])

    gates[0]?.resolve('too late')
    await world().settle()
    await frozen.clock.settle()
    await frozen.thaw()
    await world().advance('10s')
    expect(world().log).toEqual(['first'])
    // It did try, under the epoch that it had.
    expect(
      frozen.commits.filter(({ outcomes }) => outcomes.some(({ body }) => body.includes('too late'))),
    ).toMatchObject([{ epoch: 1 }])

    gates[1]?.resolve('in time')
    const run = await other.finish(runId)
    expect(run.result).toEqual({ data: { go: 'in time' } })
    expect(run.steps.map(({ step, output }) => `${step} ${String(output)}`)).toEqual(['first 1', 'work in time'])
    expect(world().log).toEqual(['first', 'went on with in time', 'finally'])
  })

  it('learns of it by its beats, and aborts the signals of what it still runs', async () => {
    const { options, signals } = watchful(world(), () => new Promise(() => {}))
    const frozen = world().serve(options)
    const { runId } = await frozen.ask('{ go }')
    frozen.freeze()
    const other = world().serve(options)
    await world().advance('30s')
    expect(signals.map(({ aborted }) => aborted)).toEqual([false, false])
    await frozen.thaw()
    await world().advance('5s')
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, false])
    expect(world().log).toEqual(['first'])
    await world().until(other.durable.runs.cancel(runId))
  })

  it('is refused also in the middle of a hot run: the promises that it kept never settle', async () => {
    const { options } = watchful(world(), async () => 'worked')
    const frozen = world().serve(options)
    const { runId } = await frozen.ask('{ go }')
    await world().advance('1s') // parked, and hot
    frozen.freeze()
    const other = world().serve(options)
    await world().advance('3m')
    expect((await other.get(runId)).status).toBe('COMPLETED')
    await frozen.thaw()
    await world().advance('1m')
    expect(world().log).toEqual(['first', 'finally'])
    expect((await frozen.get(runId)).result).toEqual({ data: { go: 'the end' } })
  })

  it('starts no step while its beats are not confirmed', async () => {
    const gate = deferred()
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        await step.run('first', () => 1)
        await gate.promise
        return step.run('second', () => world().log.push('second'))
      }),
    )
    const asked = server.send('{ go }')
    await world().settle()
    world().onCommit((phase) => {
      if (phase === 'before') throw new Error('no connection')
    })
    await world().advance('16s')
    gate.resolve()
    await world().advance('5s')
    expect(world().log).toEqual([])
    world().onCommit(null)
    expect((await world().until(asked)).data).toEqual({ go: 1 })
    expect(world().log).toEqual(['second'])
  })
})

overAllStores('a process that died (I2, I4)', (world) => {
  it('has its runs taken over, and no step that was committed runs again', async () => {
    const hang = deferred()
    const options = oneField(async (_source, _args, { step }) => {
      await step.run('one', () => world().log.push('one'))
      await step.run('two', () => world().log.push('two'))
      await step.run('three', ({ attempt }) => {
        world().log.push(`three ${attempt}`)
        return hang.promise
      })
      return 'the end'
    })
    const first = world().serve(options)
    const { runId } = await first.ask('{ go }')
    first.kill()
    hang.resolve()
    const second = world().serve(options)
    await world().advance('20s')
    expect((await second.get(runId)).result).toEqual({ data: { go: 'the end' } })
    expect(world().log).toEqual(['one', 'two', 'three 1', 'three 1'])
  })

  it('five times in a row without progress: what kills them is given up, with its cause for operators', async () => {
    const options = oneField(async (_source, _args, { step }) => {
      await step.run('ready', () => 1)
      return step.run('deadly', () => new Promise(() => {}))
    })
    const first = world().serve(options)
    const { runId } = await first.ask('{ go }')
    first.kill()
    let last: Server | null = null
    for (let life = 0; life < 5; life++) {
      last = world().serve(options)
      await world().advance('20s')
      if (life < 4) last.kill()
    }
    const run = await last?.finish(runId)
    expect(run).toMatchObject({
      status: 'FAILED',
      result: { data: null, errors: [{ extensions: { code: 'DURABLE_RESUME_FAILED', runId } }] },
    })
    expect(run?.note).toContain('5 processes')
  })
})

overAllStores('what user code never gets to catch (I12)', (world) => {
  it('a cancelled run: its signals are aborted, and it is over', async () => {
    const { options, signals } = watchful(world(), () => new Promise(() => {}))
    const server = world().serve(options)
    const { runId } = await server.ask('{ go }')
    const run = await world().until(server.durable.runs.cancel(runId, 'changed my mind'))
    expect(run).toMatchObject({
      status: 'CANCELLED',
      result: {
        data: null,
        errors: [
          { message: 'The operation was cancelled: changed my mind', extensions: { code: 'DURABLE_RUN_CANCELLED' } },
        ],
      },
    })
    await world().advance('3m')
    expect(signals[0]?.aborted).toBe(true)
    expect(world().log).toEqual(['first'])
  })

  it('a run that is cancelled while its request is open: the request gets the error', async () => {
    const { options } = watchful(world(), () => new Promise(() => {}))
    const server = world().serve(options)
    const asked = server.send('{ go }')
    await world().advance('1s')
    const [run] = (await world().until(server.durable.runs.list())).runs
    await world().until(server.durable.runs.cancel(run?.id ?? ''))
    const answer = await world().until(asked, '1m')
    expect(answer.errors).toMatchObject([{ path: ['go'], extensions: { code: 'DURABLE_RUN_CANCELLED' } }])
    expect(world().log).toEqual(['first'])
  })

  it('a run that another process cancelled', async () => {
    const { options, signals } = watchful(world(), () => new Promise(() => {}))
    const server = world().serve(options)
    const other = world().serve({ ...options, durable: { worker: false } })
    const { runId } = await server.ask('{ go }')
    await world().until(other.durable.runs.cancel(runId))
    await world().advance('10s')
    expect(signals[0]?.aborted).toBe(true)
    expect(world().log).toEqual(['first'])
    expect((await server.get(runId)).status).toBe('CANCELLED')
  })

  it.each(['1s', '1m', '90s'])(
    "a run's timeout of %s: with the request open, with a step running, or parked",
    async (timeout) => {
      const work = deferred<string>()
      const { options, signals } = watchful(world(), () => work.promise, { timeout })
      const server = world().serve(options)
      const answer = await server.ask('{ go }')
      const runId = answer.runId ?? (await world().until(server.durable.runs.list())).runs[0]?.id
      if (timeout === '90s') {
        work.resolve('worked')
        await world().advance('1m')
        expect((await server.get(runId)).status).toBe('SUSPENDED')
      }
      const run = await server.finish(runId)
      expect(run).toMatchObject({
        status: 'FAILED',
        result: { data: null, errors: [{ extensions: { code: 'DURABLE_RUN_TIMEOUT', runId } }] },
      })
      if (timeout === '1s') expect(answer.errors).toMatchObject([{ extensions: { code: 'DURABLE_RUN_TIMEOUT' } }])
      if (timeout !== '90s') expect(signals[0]?.aborted).toBe(true)
      await world().advance('3m')
      expect(world().log).toEqual(['first'])
    },
  )

  it("a run's timeout counts from when it began, whoever carries it on", async () => {
    const { options, signals } = watchful(world(), () => new Promise(() => {}), { timeout: '2m' })
    const first = world().serve(options)
    const began = world().now()
    const { runId } = await first.ask('{ go }')
    await world().advance('30s')
    first.kill()
    const second = world().serve(options)
    const run = await second.finish(runId)
    expect(run.result?.errors).toMatchObject([{ extensions: { code: 'DURABLE_RUN_TIMEOUT' } }])
    expect((run.endedAt?.getTime() ?? 0) - began).toBeGreaterThanOrEqual(120_000)
    expect((run.endedAt?.getTime() ?? 0) - began).toBeLessThan(125_000)
    expect(signals.at(-1)?.aborted).toBe(true)
    expect(world().log).toEqual(['first'])
  })

  it('a store that fails for longer than hold: the request gets DURABLE_STORE_UNAVAILABLE', async () => {
    const work = deferred()
    const { options } = watchful(world(), () => work.promise)
    const server = world().serve(options)
    const asked = server.send('{ go }')
    await world().advance(10)
    world().onCommit((phase, what) => {
      if (what === 'commit' && phase === 'before') throw new Error('the disk is full')
    })
    work.resolve()
    const before = world().now()
    const answer = await world().until(asked, '1m')
    expect(answer.errors).toMatchObject([{ path: ['go'], extensions: { code: 'DURABLE_STORE_UNAVAILABLE' } }])
    expect(world().now() - before).toBeGreaterThanOrEqual(1000)
    expect(world().now() - before).toBeLessThan(5000)
    await world().advance('1m')
    expect(world().log).toEqual(['first'])
  })

  it('a store that fails while the run is in the background: the run goes on when it works again (I4)', async () => {
    const work = deferred<string>()
    const { options } = watchful(world(), () => work.promise)
    const server = world().serve(options)
    const { runId } = await server.ask('{ go }')
    let failing = true
    world().onCommit((phase, what) => {
      if (failing && what === 'commit' && phase === 'before') throw new Error('the disk is full')
    })
    work.resolve('worked')
    await world().advance('1m')
    expect(world().log).toEqual(['first'])
    failing = false
    const run = await server.finish(runId)
    expect(run.result).toEqual({ data: { go: 'the end' } })
    expect(world().log).toEqual(['first', 'finally'])
  })

  it('a commit whose answer was lost: it counts, and nothing is caught or run twice', async () => {
    const { options } = watchful(world(), async () => world().log.push('work'))
    const server = world().serve(options)
    let lose = 0
    world().onCommit((phase, what) => {
      if (what === 'commit' && phase === 'after' && lose++ % 2 === 0) throw new Error('the connection broke')
    })
    const { runId } = await server.ask('{ go }')
    expect((await server.finish(runId)).result).toEqual({ data: { go: 'the end' } })
    expect(world().log).toEqual(['first', 'work', 'finally'])
  })

  it('a store that cannot be opened when the first tool is called', async () => {
    const { options } = watchful(world(), async () => 'worked')
    world().onCommit((phase, what) => {
      if (what === 'connect' && phase === 'before') throw new Error('no such host')
    })
    const server = world().serve(options)
    await world().settle()
    const answer = await server.ask('{ go }')
    expect(answer.errors).toMatchObject([{ path: ['go'], extensions: { code: 'DURABLE_STORE_UNAVAILABLE' } }])
    // No step has begun whose outcome nobody would keep, and nobody was told of a run.
    expect(world().log).toEqual([])
    world().onCommit(null)
    await world().until(server.durable.start())
    const later = await server.ask('{ go }')
    expect((await server.finish(later.runId)).result).toEqual({ data: { go: 'the end' } })
  })

  it('a store that cannot be opened for a while: it is tried until it can be, and what is due goes on (I4)', async () => {
    const { options } = watchful(world(), async () => 'worked')
    const first = world().serve(options)
    const { runId } = await first.ask('{ go }')
    await first.close()
    let attempts = 0
    world().onCommit((phase, what) => {
      if (what === 'connect' && phase === 'before' && ++attempts <= 8) throw new Error('no such host')
    })
    // Nobody asks it for anything.
    const later = world().serve(options)
    await world().advance('3m')
    expect(attempts).toBe(9)
    expect(later.warnings).toEqual(['The store could not be opened; it is tried until it can be.'])
    expect((await later.get(runId)).result).toEqual({ data: { go: 'the end' } })
  })

  it('a server that is closed while its store cannot be opened: nothing of it is left', async () => {
    const { options } = watchful(world(), async () => 'worked')
    world().onCommit((phase, what) => {
      if (what === 'connect' && phase === 'before') throw new Error('no such host')
    })
    const server = world().serve(options)
    await world().advance('2s')
    const started = server.durable.start().catch(String)
    const closed = [server.durable.close(), server.durable.close()]
    expect(await world().until(Promise.all(closed))).toEqual([undefined, undefined])
    expect(await started).toContain('onCommit threw before the commit of "connect"')
  })

  it('a server that is being closed: the request gets an error, and no loop of its resolver spins', async () => {
    const gate = deferred<void>()
    const server = world().serve({
      typeDefs: 'type Query { loop: String, busy: String, hello: String }',
      resolvers: {
        Query: {
          hello: () => 'world',
          busy: (_source, _args, { step }) => step.run('busy', () => gate.promise),
          async loop(_source, _args, { step }) {
            for (;;) {
              try {
                return await step.run('never', () => world().log.push('never'))
              } catch {
                world().log.push('caught')
              }
            }
          },
        },
      },
      durable: { deferAfter: '1s' },
    })
    await server.ask('{ busy }')
    const closed = server.durable.close({ timeout: '10s' })
    const answer = await server.ask('{ loop hello }')
    expect(answer.data).toEqual({ loop: null, hello: 'world' })
    expect(answer.errors).toMatchObject([{ path: ['loop'], extensions: { code: 'DURABLE_STORE_UNAVAILABLE' } }])
    expect(answer.runId).toBeUndefined()
    gate.resolve()
    await world().until(closed)
    expect(world().log).toEqual([])
  })

  it('nondeterminism: an outcome of another kind under the same key fails the run', async () => {
    const code = (changed: boolean) =>
      oneField(async (_source, _args, { step }) => {
        try {
          if (changed) await step.sleep('first', 10)
          else await step.run('first', () => 1)
          await step.sleep('pause', '1m')
          return 'the end'
        } catch (error) {
          world().log.push(`caught ${String(error)}`)
          throw error
        }
      })
    const first = world().serve(code(false))
    const { runId } = await first.ask('{ go }')
    first.kill()
    const second = world().serve(code(true))
    const run = await second.finish(runId)
    expect(run).toMatchObject({
      status: 'FAILED',
      result: { data: null, errors: [{ extensions: { code: 'DURABLE_NONDETERMINISM', runId } }] },
    })
    expect(run.note).toContain('"go>first"')
    expect(run.note).toContain('RUN')
    expect(world().log).toEqual([])
  })

  it('a server that closes while a step runs: its signal is aborted, and no timer of it is left', async () => {
    const signals: AbortSignal[] = []
    const options = oneField(async (_source, _args, { step }) => {
      await step.run('first', () => 1)
      await step.run('slow', ({ signal }) => new Promise(() => void signals.push(signal)), { timeout: '1h' })
    })
    const server = world().serve(options)
    await server.ask('{ go }')
    await server.close()
    expect(signals[0]?.aborted).toBe(true)
  })

  it('a server that closes: the run is somebody else’s, and goes on there', async () => {
    const { options } = watchful(world(), async () => 'worked')
    const first = world().serve(options)
    const { runId } = await first.ask('{ go }')
    await first.close()
    expect(world().log).toEqual(['first'])
    const second = world().serve(options)
    expect((await second.finish(runId)).result).toEqual({ data: { go: 'the end' } })
    expect(world().log).toEqual(['first', 'finally'])
  })
})
