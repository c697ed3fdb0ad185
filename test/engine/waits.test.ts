import { expect, it } from 'vitest'
import type { Step } from '../../src/index.ts'
import { deferred, oneField, overAllStores } from './world.ts'
import { usePostgres } from '../support/standing-postgres.ts'

usePostgres()

overAllStores('step.sleep and step.sleepUntil', (world) => {
  it('within hold are sat out by the request: a plain answer, and no run to follow', async () => {
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        await step.sleep('first', '400ms')
        await step.sleepUntil('second', new Date(world().now() + 500))
        return 'slept'
      }),
    )
    const before = world().now()
    const answer = await server.ask('{ go }')
    expect(answer).toMatchObject({ status: 200, data: { go: 'slept' }, extensions: undefined })
    expect(world().now() - before).toBe(900)
    // Waits that the request sits out cost no commit of their own.
    expect(server.commits.flatMap(({ opens }) => opens)).toEqual([])
  })

  it('beyond hold defer the operation, and the run goes on when they are over', async () => {
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        await step.sleep('cooling-off', '10m')
        return 'slept'
      }),
    )
    const before = world().now()
    const answer = await server.ask('{ go }')
    const until = new Date(before + 600_000).toISOString()
    expect(answer).toMatchObject({ status: 202, data: { go: null } })
    expect(answer.errors).toEqual([
      expect.objectContaining({ path: ['go'], extensions: { code: 'DURABLE_DEFERRED', runId: answer.runId } }),
    ])
    expect(answer.extensions.durable).toEqual({
      status: 'SUSPENDED',
      retryAfterMs: 60_000,
      waitingOn: [{ path: ['go'], responsePath: ['go'], step: 'cooling-off', kind: 'SLEEP', until }],
    })
    const run = await server.finish(answer.runId)
    expect(run).toMatchObject({ status: 'COMPLETED', result: { data: { go: 'slept' } } })
    expect(world().now() - before).toBeGreaterThanOrEqual(600_000)
  })

  it('that are over already go on at once', async () => {
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        await step.sleepUntil('past', new Date(0))
        await step.sleep('none', 0)
        return 'awake'
      }),
    )
    const before = world().now()
    expect((await server.ask('{ go }')).data).toEqual({ go: 'awake' })
    expect(world().now()).toBe(before)
  })

  it.each([
    ['sleep', 'soon'],
    ['sleepUntil', 'the day after tomorrow'],
  ] as const)('step.%s refuses nonsense as misuse, and begins nothing', async (tool, nonsense) => {
    const server = world().serve(oneField((_source, _args, { step }) => step[tool]('wait', nonsense)))
    const answer = await server.ask('{ go }')
    expect(answer.errors?.[0]).toMatchObject({ extensions: { code: 'DURABLE_STEP_MISUSED' } })
    expect(answer.errors?.[0].message).toContain('step "wait"')
  })

  it('keep the end that they had when they were called, also if the process dies beside a longer step (I4)', async () => {
    const done = deferred<string>()
    const options = oneField(async (_source, _args, { step }) => {
      const before = world().now()
      const [, work] = await Promise.all([
        step.sleep('ten minutes', '10m').then(() => world().log.push('awake')),
        step.run('long work', ({ attempt }) => (world().log.push(`work ${attempt}`), done.promise)),
      ])
      return { work, tookMs: world().now() - before }
    })
    const first = world().serve(options)
    const start = world().now()
    const { runId } = await first.ask('{ go }')
    await world().advance('9m')
    first.kill()
    done.resolve('worked')
    const second = world().serve(options)
    await world().advance('20s')
    expect(world().log).toEqual(['work 1', 'work 1'])
    await second.finish(runId)
    expect(world().now() - start).toBeLessThan(600_000 + 60_000)
    expect(world().log).toEqual(['work 1', 'work 1', 'awake'])
  })
})

overAllStores('hold', (world) => {
  it('is the sum of the waits that follow each other', async () => {
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        await step.sleep('a', '600ms')
        await step.sleep('b', '600ms')
        return 'slept'
      }),
    )
    const before = world().now()
    const answer = await server.ask('{ go }')
    expect(answer.status).toBe(202)
    expect(world().now() - before).toBe(600)
    expect(answer.extensions.durable.waitingOn).toMatchObject([{ step: 'b', kind: 'SLEEP' }])
  })

  it('counts waits side by side once', async () => {
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        await Promise.all([step.sleep('a', '900ms'), step.sleep('b', '800ms'), step.sleep('c', '900ms')])
        return 'slept'
      }),
    )
    const before = world().now()
    expect(await server.ask('{ go }')).toMatchObject({ status: 200, data: { go: 'slept' } })
    expect(world().now() - before).toBe(900)
  })

  it('counts overlapping waits by what each adds, in siblings as well', async () => {
    const nap =
      (id: string, ms: number) =>
      async (_s: unknown, _a: unknown, { step }: { step: Step }) => {
        await step.sleep(id, ms)
        return ms
      }
    const server = world().serve({
      typeDefs: 'type Query { short: Int long: Int longest: Int }',
      resolvers: { Query: { short: nap('s', 300), long: nap('l', 700), longest: nap('x', 1001) } },
    })
    expect(await server.ask('{ short long }')).toMatchObject({ status: 200, data: { short: 300, long: 700 } })
    const partly = await server.ask('{ short longest }')
    expect(partly).toMatchObject({ status: 202, data: { short: 300, longest: null } })
  })

  it('is 0 where everything that waits is to be deferred, and follows @durable(hold:) where a field says so', async () => {
    const nap = async (_s: unknown, _a: unknown, { step }: { step: Step }) => {
      await step.sleep('nap', '2s')
      return 1
    }
    const server = world().serve({
      typeDefs: 'type Query { patient: Int @durable(hold: "5s") plain: Int }',
      resolvers: { Query: { patient: nap, plain: nap } },
      durable: { hold: 0 },
    })
    expect(await server.ask('{ patient plain }')).toMatchObject({ status: 202, data: { patient: 1, plain: null } })
  })

  it('holds a retry whose delay is short, and defers one whose delay is long', async () => {
    let attempts = 0
    const server = world().serve(
      oneField(
        async (_source, _args, { step }) =>
          step.run('call', ({ attempt }) => {
            attempts++
            if (attempt < 3) throw new Error('down')
            return 'up'
          }),
        { backoff: { initial: '500ms', factor: 10, jitter: 'none' } },
      ),
    )
    const answer = await server.ask('{ go }')
    expect(attempts).toBe(2)
    expect(answer.extensions.durable.waitingOn).toMatchObject([{ step: 'call', kind: 'RETRY', path: ['go'] }])
    expect((await server.finish(answer.runId)).result).toEqual({ data: { go: 'up' } })
    expect(attempts).toBe(3)
  })

  it('does not defer for an event that has been sent already (I6)', async () => {
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        await step.run('send', async () => void (await server.durable.send({ name: 'ready', data: 7 })))
        return (await step.waitForEvent<number>('ready', { event: 'ready' }))?.data
      }),
    )
    expect(await server.ask('{ go }')).toMatchObject({ status: 200, data: { go: 7 } })
  })
})

overAllStores('deferAfter', (world) => {
  it('defers whatever is running; the resolver knows nothing of it, and the run answers later', async () => {
    const work = deferred<string>()
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        try {
          const value = await step.run('slow', () => work.promise)
          world().log.push('went on')
          return value
        } catch {
          world().log.push('caught')
          throw new Error('unwound')
        }
      }),
    )
    const before = world().now()
    const answer = await server.ask('{ go }')
    expect(answer).toMatchObject({ status: 202, data: { go: null } })
    expect(answer.extensions.durable).toMatchObject({ status: 'RUNNING', waitingOn: [] })
    expect(world().now() - before).toBe(25_000)
    await world().advance('5m')
    work.resolve('done')
    expect((await server.finish(answer.runId)).result).toEqual({ data: { go: 'done' } })
    expect(world().log).toEqual(['went on'])
  })

  it('counts from the beginning of the operation, and leaves one alone that has used no step', async () => {
    const slow = deferred<string>()
    const server = world().serve({
      typeDefs: 'type Query { late: String never: String }',
      resolvers: {
        Query: {
          late: async (_s, _a, { step }) => {
            await new Promise<void>((resolve) => server.clock.setTimeout(resolve, 20_000))
            return step.run('slow', () => slow.promise)
          },
          never: () => new Promise<string>((resolve) => server.clock.setTimeout(() => resolve('finally'), 60_000)),
        },
      },
    })
    const before = world().now()
    expect((await server.ask('{ late }')).status).toBe(202)
    expect(world().now() - before).toBe(25_000)
    slow.resolve('x')
    expect(await server.ask('{ never }')).toMatchObject({ status: 200, data: { never: 'finally' } })
  })

  it('gives the deferred payload only after the run is in the store (I4)', async () => {
    const server = world().serve(
      oneField(async (_source, _args, { step }) => step.run('endless', () => new Promise(() => {})), {
        deferAfter: '1s',
      }),
    )
    await world().until(server.durable.start()) // else the request itself waits for the store, and learns that it fails
    let committed = false
    world().onCommit((phase, what) => {
      if (what !== 'commit') return
      if (!committed && world().now() < began + 1900) throw new Error('the disk is full')
      if (phase === 'after') committed = true
    })
    const began = world().now()
    const answer = await server.ask('{ go }')
    expect(committed).toBe(true)
    expect(answer.status).toBe(202)
    expect(world().now() - began).toBeGreaterThanOrEqual(1900)
    expect(await server.get(answer.runId)).toMatchObject({ status: 'RUNNING' })
  })
})
