import { setImmediate } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { RetryAfterError } from '../../src/index.ts'
import type { Step } from '../../src/index.ts'
import { usePostgres } from '../support/standing-postgres.ts'
import { deferred, oneField, overAllStores, overStores } from './world.ts'

/*
 * A step that was called before the answer is finished and journaled before its run ends, awaited or not. The answer
 * waits for nobody, and a step that is called after the end says so.
 */

usePostgres()

const stepsOf = (run: { steps: readonly { step: string; status: string }[] }) =>
  run.steps.map(({ step, status }) => `${step} ${status}`)

const onlyRun = async (server: { durable: any }, world: any) => {
  const { runs } = await world.until(server.durable.runs.list())
  expect(runs).toHaveLength(1)
  return runs[0]
}

overAllStores('a step that nobody awaits', (world) => {
  it('does not hold the answer back, is not aborted by it, and is journaled before the run ends', async () => {
    const gate = deferred<string>()
    let signal: AbortSignal | undefined
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        await step.run('first', () => 1)
        void step.run('mail', (attempt) => {
          signal = attempt.signal
          return gate.promise
        })
        return 'ok'
      }),
    )
    expect(await server.ask('{ go }')).toMatchObject({ status: 200, data: { go: 'ok' }, extensions: undefined })
    await world().advance('5s')
    const during = await onlyRun(server, world())
    expect(during.status).toBe('RUNNING')
    expect(during.note).toContain('go>mail')
    expect(stepsOf(during)).toEqual(['first COMPLETED', 'mail RUNNING'])
    expect(signal?.aborted).toBe(false)
    expect(server.warnings.filter((warning) => warning.includes('awaited'))).toHaveLength(1)
    gate.resolve('sent')
    const run = await server.finish(during.id)
    expect(run).toMatchObject({ status: 'COMPLETED', result: { data: { go: 'ok' } }, note: null })
    expect(stepsOf(run)).toEqual(['first COMPLETED', 'mail COMPLETED'])
    expect(signal?.aborted).toBe(false)
  })

  it('makes a run of its operation, though it is the only step', async () => {
    const gate = deferred()
    const options = oneField((_source, _args, { step }) => {
      void step.run('mail', async () => {
        world().log.push('mail')
        await gate.promise
      })
      return 'ok'
    })
    const first = world().serve(options)
    expect((await first.ask('{ go }')).data).toEqual({ go: 'ok' })
    await world().settle()
    first.kill()
    const second = world().serve(options)
    const { id } = await onlyRun(second, world())
    await world().advance('20s')
    gate.resolve()
    expect(stepsOf(await second.finish(id))).toEqual(['mail COMPLETED'])
    expect(world().log).toEqual(['mail', 'mail'])
  })

  it('may go on to further steps, before the run has ended', async () => {
    const gate = deferred<string>()
    const server = world().serve(
      oneField((_source, _args, { step }) => {
        const goOn = async () => {
          const word = await step.run('a', () => gate.promise)
          const longer = await step.run('b', () => `${word}!`)
          await step.sendEvent('c', { name: 'said', data: longer })
        }
        void goOn()
        return 'ok'
      }),
    )
    await server.ask('{ go }')
    gate.resolve('hello')
    const { id } = await onlyRun(server, world())
    const run = await server.finish(id)
    expect(run.steps.map(({ step, output }) => [step, output])).toEqual([
      ['a', 'hello'],
      ['b', 'hello!'],
      ['c', { ids: [expect.any(String)] }],
    ])
  })

  it('is finished where a sibling of it has failed the field', async () => {
    const gate = deferred<string>()
    const server = world().serve(
      oneField((_source, _args, { step }) =>
        Promise.all([
          step.run('slow', () => gate.promise),
          step.run('quick', () => Promise.reject(new TypeError('no')), { retries: 0 }),
        ]),
      ),
    )
    expect((await server.ask('{ go }')).errors).toHaveLength(1)
    gate.resolve('done')
    const { id } = await onlyRun(server, world())
    const run = await server.finish(id)
    expect(run.status).toBe('FAILED')
    expect(stepsOf(run)).toEqual(['quick FAILED', 'slow COMPLETED'])
  })

  it('runs again under the same key where the process dies before it has ended', async () => {
    const keys: string[] = []
    const gates = [deferred(), deferred()]
    const waiting = [...gates]
    const options = oneField(async (_source, _args, { step }) => {
      await step.run('first', () => world().log.push('first'))
      void step.run('mail', ({ idempotencyKey }) => {
        keys.push(idempotencyKey)
        return waiting.shift()?.promise
      })
      return 'ok'
    })
    const first = world().serve(options)
    await first.ask('{ go }')
    await world().settle()
    first.kill()
    const second = world().serve(options)
    const { id } = await onlyRun(second, world())
    await world().advance('20s')
    gates[1]?.resolve()
    const run = await second.finish(id)
    expect(run).toMatchObject({ status: 'COMPLETED', result: { data: { go: 'ok' } } })
    expect(stepsOf(run)).toEqual(['first COMPLETED', 'mail COMPLETED'])
    expect(keys).toHaveLength(2)
    expect(new Set(keys).size).toBe(1)
    expect(world().log).toEqual(['first'])
  })

  it.each(['hot', 'cold', 'in another process'])(
    'whose retry lies far ahead has its run parked and resumed, %s',
    async (how) => {
      let failures = 0
      const options = oneField(
        (_source, _args, { step }) => {
          world().log.push('resolver')
          void step.run('mail', () => (++failures < 2 ? Promise.reject(new Error('down')) : 'sent'))
          return 'ok'
        },
        {
          backoff: { initial: '2m', max: '2m', jitter: 'none' },
          hot: { ttl: how === 'hot' ? '2h' : '1m' },
        },
      )
      const first = world().serve(options)
      expect((await first.ask('{ go }')).data).toEqual({ go: 'ok' })
      await world().advance('2s')
      const parked = await onlyRun(first, world())
      expect(parked).toMatchObject({ status: 'SUSPENDED', waitingOn: [{ step: 'mail', kind: 'RETRY' }] })
      if (how === 'in another process') await first.close()
      const server = how === 'in another process' ? world().serve(options) : first
      const run = await server.finish(parked.id, '10m')
      expect(run).toMatchObject({ status: 'COMPLETED', result: { data: { go: 'ok' } } })
      expect(run.steps).toMatchObject([{ step: 'mail', status: 'COMPLETED', attempts: 2 }])
      expect(world().log).toHaveLength(how === 'hot' ? 1 : 2)
    },
  )

  it('of a deferred operation is finished before its run ends', async () => {
    const gate = deferred<string>()
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        await step.sleep('nap', '5s')
        void step.run('mail', () => gate.promise)
        return 'ok'
      }),
    )
    const { runId } = await server.ask('{ go }')
    await world().advance('10s')
    expect((await server.get(runId)).status).toBe('RUNNING')
    gate.resolve('sent')
    const run = await server.finish(runId)
    expect(run).toMatchObject({ status: 'COMPLETED', result: { data: { go: 'ok' } } })
    expect(stepsOf(run)).toEqual(['nap COMPLETED', 'mail COMPLETED'])
  })

  it('of a field that has finished is finished as well, where fields are executed one by one', async () => {
    const gates = [deferred<string>(), deferred<string>()]
    const waiting = [...gates]
    const options = {
      typeDefs: 'type Query { a: Int } type Mutation { one: Int @durable two: Int }',
      resolvers: {
        Mutation: {
          one: (_s: unknown, _a: unknown, { step }: { step: Step }) => {
            void step.run('mail', () => waiting.shift()?.promise)
            return 1
          },
          two: () => world().log.push('two'),
        },
      },
    }
    const first = world().serve(options)
    expect((await first.ask('mutation { one two }')).data).toEqual({ one: 1, two: 1 })
    await world().settle()
    first.kill()
    const second = world().serve(options)
    const { id } = await onlyRun(second, world())
    await world().advance('20s')
    gates[1]?.resolve('sent')
    const run = await second.finish(id)
    expect(stepsOf(run)).toContain('mail COMPLETED')
  })

  it('that never ends is cut by its own timeout', async () => {
    const server = world().serve(
      oneField((_source, _args, { step }) => {
        void step.run('mail', () => new Promise(() => {}), { timeout: '10s', retries: 0 })
        return 'ok'
      }),
    )
    await server.ask('{ go }')
    const { id } = await onlyRun(server, world())
    const run = await server.finish(id)
    expect(run).toMatchObject({ status: 'COMPLETED', result: { data: { go: 'ok' } } })
    expect(stepsOf(run)).toEqual(['mail FAILED'])
  })

  it("that never ends is cut by the run's timeout, which leaves the answer as it was given", async () => {
    const server = world().serve(
      oneField(
        (_source, _args, { step }) => {
          void step.run('mail', () => new Promise(() => {}))
          return 'ok'
        },
        { timeout: '10s' },
      ),
    )
    await server.ask('{ go }')
    const { id } = await onlyRun(server, world())
    const run = await server.finish(id)
    expect(run).toMatchObject({ status: 'COMPLETED', result: { data: { go: 'ok' } } })
    expect(run.note).toContain('go>mail')
  })

  it('is given up with its run when that is cancelled', async () => {
    let signal: AbortSignal | undefined
    const server = world().serve(
      oneField((_source, _args, { step }) => {
        void step.run('mail', (attempt) => {
          signal = attempt.signal
          return new Promise(() => {})
        })
        return 'ok'
      }),
    )
    await server.ask('{ go }')
    const { id } = await onlyRun(server, world())
    await world().until(server.durable.runs.cancel(id))
    expect(signal?.aborted).toBe(true)
    expect((await server.get(id)).status).toBe('CANCELLED')
  })

  it('is carried on by another process where its own is closed', async () => {
    const gates = [deferred<string>(), deferred<string>()]
    const waiting = [...gates]
    const options = oneField((_source, _args, { step }) => {
      void step.run('mail', () => waiting.shift()?.promise)
      return 'ok'
    })
    const first = world().serve(options)
    await first.ask('{ go }')
    await world().settle()
    await first.close()
    const second = world().serve(options)
    const { id } = await onlyRun(second, world())
    await world().advance('3s')
    gates[1]?.resolve('sent')
    expect(stepsOf(await second.finish(id))).toEqual(['mail COMPLETED'])
  })

  it('and fails ends neither the process nor the run', async () => {
    const server = world().serve(
      oneField((_source, _args, { step }) => {
        void step.run('mail', () => Promise.reject(new Error('no')), { retries: 0 })
        return 'ok'
      }),
    )
    await server.ask('{ go }')
    const { id } = await onlyRun(server, world())
    const run = await server.finish(id)
    expect(run.status).toBe('COMPLETED')
    expect(stepsOf(run)).toEqual(['mail FAILED'])
  })
})

overAllStores('what was answered before its steps were finished', (world) => {
  const answering = (timeout?: string) => {
    let lives = 0
    const options = (retryAfter: string) =>
      oneField(
        async (_source, _args, { step }) => {
          const life = ++lives
          await step.run('first', () => 1)
          void step.run('mail', ({ attempt }) => {
            if (attempt === 1) throw new RetryAfterError('busy', retryAfter)
          })
          return `answer ${life}`
        },
        { worker: { lease: '1s' }, hot: { runs: 0 }, ...(timeout !== undefined && { timeout }) },
      )
    return options
  }

  it.each(['killed', 'alive'])('is the result, though a later pass answers otherwise (%s)', async (process) => {
    const options = answering()('1m')
    const first = world().serve(options)
    expect((await first.ask('{ go }')).data).toEqual({ go: 'answer 1' })
    const { id } = await onlyRun(first, world())
    await world().advance('1s')
    if (process === 'killed') first.kill()
    const run = await (process === 'killed' ? world().serve(options) : first).finish(id)
    expect(run).toMatchObject({ status: 'COMPLETED', result: { data: { go: 'answer 1' } } })
    expect(stepsOf(run)).toEqual(['first COMPLETED', 'mail COMPLETED'])
    // And nobody is told of it twice.
    expect(first.warnings.filter((warning) => warning.includes('not awaited'))).toHaveLength(1)
  })

  it('is the result of a run that has timed out before another process came to it', async () => {
    const options = answering('1m')('1h')
    const first = world().serve(options)
    expect((await first.ask('{ go }')).data).toEqual({ go: 'answer 1' })
    const { id } = await onlyRun(first, world())
    await world().advance('1s')
    first.kill()
    const nobody = world().serve(oneField(() => null, { worker: false }))
    await world().until(nobody.durable.start())
    await world().advance('2m')
    const second = world().serve({
      ...options,
      plugins: [{ onContextBuilding: () => new Promise<void>((resolve) => void setImmediate().then(resolve)) }],
    })
    const run = await second.finish(id)
    expect(run).toMatchObject({ status: 'COMPLETED', result: { data: { go: 'answer 1' } } })
    expect(run.note).toContain('took longer than its timeout')
  })

  it('is the result of a run that no other process can carry on', async () => {
    const first = world().serve(answering()('10s'))
    await first.ask('{ go }')
    const { id } = await onlyRun(first, world())
    await world().advance('1s')
    first.kill()
    const second = world().serve({ typeDefs: 'type Query { stop: Int }', resolvers: { Query: { stop: () => 1 } } })
    const run = await second.finish(id)
    expect(run).toMatchObject({ status: 'COMPLETED', result: { data: { go: 'answer 1' } } })
    expect(run.note).toContain('Cannot query field')
  })
})

overStores('waits that nobody awaits', (world) => {
  it('do not hold the end: they are what a race has left', async () => {
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        await step.run('first', () => 1)
        void step.sleep('nap', '1h')
        void step.waitForEvent('news', { event: 'news' })
        return 'ok'
      }),
    )
    await server.ask('{ go }')
    const { id } = await onlyRun(server, world())
    expect((await server.finish(id, '1s')).status).toBe('COMPLETED')
    expect(server.warnings.filter((warning) => warning.includes('awaited'))).toEqual([])
  })
})

overStores('a tool that is called after the end', (world) => {
  const calls: Record<string, (step: Step) => Promise<unknown>> = {
    run: (step) => step.run('late', () => world().log.push('ran')),
    sleep: (step) => step.sleep('late', '1s'),
    sleepUntil: (step) => step.sleepUntil('late', Date.now()),
    waitForEvent: (step) => step.waitForEvent('late', { event: 'e' }),
    sendEvent: (step) => step.sendEvent('late', { name: 'e' }),
  }

  it.each(Object.keys(calls))('of the run is rejected: %s', async (tool) => {
    let kept: Step | undefined
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        kept = step
        return step.run('first', () => 1)
      }),
    )
    await server.ask('{ go }')
    await world().settle()
    const late = kept && calls[tool]?.(kept)
    await expect(late).rejects.toMatchObject({
      extensions: { code: 'DURABLE_STEP_MISUSED' },
      message: expect.stringContaining('"late"'),
    })
    expect(world().log).toEqual([])
    expect(server.warnings.some((warning) => warning.includes('"late"'))).toBe(true)
  })

  it.each(Object.keys(calls))('of an operation that was no run is rejected: %s', async (tool) => {
    let kept: Step | undefined
    const server = world().serve(
      oneField((_source, _args, { step }) => {
        kept = step
        return 'ok'
      }),
    )
    await server.ask('{ go }')
    const late = kept && calls[tool]?.(kept)
    await expect(late).rejects.toMatchObject({ extensions: { code: 'DURABLE_STEP_MISUSED' } })
    await world().settle()
    expect(server.commits).toEqual([])
  })

  it('is rejected by the imported tools and in nested resolvers as well', async () => {
    let kept: Step | undefined
    const server = world().serve({
      typeDefs: 'type Query { order: Order } type Order { name: String }',
      resolvers: {
        Query: { order: () => ({}) },
        Order: {
          name: (_s, _a, { step }) => {
            kept = step
            return 'n'
          },
        },
      },
    })
    await server.ask('{ order { name } }')
    await expect(kept?.run('late', () => 1)).rejects.toMatchObject({ extensions: { code: 'DURABLE_STEP_MISUSED' } })
  })

  it('whose end is being committed is rejected once it is', async () => {
    let kept: Step | undefined
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        kept = step
        return step.run('first', () => 1)
      }),
    )
    let late: Promise<unknown> | undefined
    world().onCommit((phase, what) => {
      if (phase === 'before' && what === 'commit' && server.commits.at(-1)?.next.kind === 'end')
        late = kept?.run('late', () => 1)
    })
    await server.ask('{ go }')
    await world().settle()
    await expect(late).rejects.toMatchObject({ extensions: { code: 'DURABLE_STEP_MISUSED' } })
  })

  it('never settles where the run was cancelled (I12)', async () => {
    let kept: Step | undefined
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        kept = step
        await step.run('first', () => 1)
        return step.sleep('nap', '1h')
      }),
    )
    const { runId } = await server.ask('{ go }')
    await world().until(server.durable.runs.cancel(runId))
    const late = kept
      ?.run('late', () => 1)
      .then(
        () => world().log.push('resolved'),
        () => world().log.push('rejected'),
      )
    await world().advance('10s')
    await Promise.race([late, setImmediate()])
    expect(world().log).toEqual([])
  })
})
