import { GraphQLError } from 'graphql'
import { expect, it } from 'vitest'
import { NonRetriableError, RetryAfterError } from '../../src/index.ts'
import type { Step, StepRunOptions } from '../../src/index.ts'
import { deferred, oneField, overAllStores } from './world.ts'
import type { World } from './world.ts'
import { usePostgres } from '../support/standing-postgres.ts'

usePostgres()

/** When each attempt began, in milliseconds from the first. */
function attemptTimes(world: World, fail: (attempt: number) => unknown, options?: StepRunOptions) {
  const times: number[] = []
  const server = world.serve(
    oneField(
      async (_source, _args, { step }) =>
        step.run(
          'call',
          ({ attempt }) => {
            times.push(world.now())
            const error = fail(attempt)
            if (error !== undefined) throw error
            return `attempt ${attempt}`
          },
          options,
        ),
      { hold: '1h', deferAfter: '1h' },
    ),
  )
  return {
    async run() {
      const answer = await server.ask('{ go }')
      return { answer, times: times.map((at) => at - (times[0] ?? 0)) }
    },
  }
}

overAllStores('a step that fails', (world) => {
  it('is tried again with exponential delays, and gives the first value that it returned', async () => {
    const { run } = attemptTimes(world(), (attempt) => (attempt < 4 ? new Error('down') : undefined), {
      backoff: { jitter: 'none' },
    })
    const { answer, times } = await run()
    expect(answer).toMatchObject({ status: 200, data: { go: 'attempt 4' } })
    expect(answer.extensions).toBeUndefined()
    expect(times).toEqual([0, 1000, 3000, 7000])
  })

  it('waits no longer than backoff.max', async () => {
    const { run } = attemptTimes(world(), (attempt) => (attempt < 5 ? new Error('down') : undefined), {
      retries: 4,
      backoff: { initial: '1s', factor: 10, max: '20s', jitter: 'none' },
    })
    expect((await run()).times).toEqual([0, 1000, 11_000, 31_000, 51_000])
  })

  it('draws each delay from the whole of the exponential value (full jitter)', async () => {
    const { run } = attemptTimes(world(), () => new Error('down'), {
      retries: 20,
      backoff: { factor: 1, initial: '10s' },
    })
    const { times } = await run()
    const delays = times.slice(1).map((at, index) => at - (times[index] ?? 0))
    expect(delays).toHaveLength(20)
    expect(Math.max(...delays)).toBeLessThan(10_000)
    expect(Math.max(...delays)).toBeGreaterThan(7000)
    expect(Math.min(...delays)).toBeLessThan(3000)
    expect(new Set(delays).size).toBeGreaterThan(15)
  })

  it('has three retries by default, and then throws a StepError into the resolver', async () => {
    const { run } = attemptTimes(world(), () => new Error('secret'), { backoff: { jitter: 'none' } })
    const { answer, times } = await run()
    expect(times).toHaveLength(4)
    expect(answer.errors).toEqual([
      expect.objectContaining({
        message: 'Step "call" failed after 4 attempts.',
        path: ['go'],
        extensions: { code: 'DURABLE_STEP_FAILED' },
      }),
    ])
    expect(JSON.stringify(answer)).not.toContain('secret')
  })

  it('is tried again when a RetryAfterError says so: after a duration, or at a date', async () => {
    const date = new Date(world().now() + 90_000)
    const { run } = attemptTimes(world(), (attempt) =>
      attempt === 1
        ? new RetryAfterError('busy', '30s')
        : attempt === 2
          ? new RetryAfterError('busy', date)
          : undefined,
    )
    expect((await run()).times).toEqual([0, 30_000, 90_000])
  })

  it.each([
    ['a NonRetriableError', new NonRetriableError('no use'), 'DURABLE_STEP_FAILED'],
    ['a GraphQLError', new GraphQLError('no such cart', { extensions: { code: 'NOT_FOUND' } }), 'NOT_FOUND'],
  ])('is not tried again after %s', async (_name, error, code) => {
    const { answer, times } = await attemptTimes(world(), () => error).run()
    expect(times).toHaveLength(1)
    expect(answer.errors?.[0].extensions.code).toBe(code)
  })

  it('is tried again where retryIf says so, and not where it does not or itself throws', async () => {
    const retryIf = (error: unknown) => {
      if (error instanceof RangeError) throw new Error('a bug in retryIf')
      return error instanceof GraphQLError
    }
    const once = await attemptTimes(world(), () => new Error('other'), { retryIf }).run()
    const thrown = await attemptTimes(world(), () => new RangeError('other'), { retryIf }).run()
    const twice = await attemptTimes(world(), (n) => (n === 1 ? new GraphQLError('again') : undefined), {
      retryIf,
    }).run()
    expect([once.times.length, thrown.times.length, twice.times.length]).toEqual([1, 1, 2])
  })

  it('takes its retries from the field, then from the options', async () => {
    const count: Record<string, number> = {}
    const call = async (_source: unknown, { id }: { id: string }, { step }: { step: Step }) =>
      step.run(id, () => {
        count[id] = (count[id] ?? 0) + 1
        throw new Error('down')
      })
    const server = world().serve({
      typeDefs: 'type Query { field(id: ID): Int @durable(retries: 1) plain(id: ID): Int }',
      resolvers: { Query: { field: call, plain: call } },
      durable: { retries: 2, hold: '1h', deferAfter: '1h' },
    })
    await server.ask('{ field(id: "a") plain(id: "b") }')
    expect(count).toEqual({ a: 2, b: 3 })
  })
})

overAllStores("a step's timeout", (world) => {
  it('aborts the signal of the attempt, fails it with DURABLE_STEP_TIMEOUT, and lets the next attempt begin', async () => {
    const aborted: unknown[] = []
    const server = world().serve(
      oneField(
        async (_source, _args, { step }) =>
          step.run(
            'slow',
            ({ attempt, signal }) => {
              if (attempt === 2) return 'in time'
              return new Promise(() => signal.addEventListener('abort', () => aborted.push(signal.reason.code)))
            },
            { timeout: '20s', backoff: { initial: 0 } },
          ),
        { hold: '1h', deferAfter: '1h' },
      ),
    )
    const before = world().now()
    const answer = await server.ask('{ go }')
    expect(answer.data).toEqual({ go: 'in time' })
    expect(aborted).toEqual(['DURABLE_STEP_TIMEOUT'])
    expect(world().now() - before).toBe(20_000)
  })

  it('is what the StepError says when the attempts are used up', async () => {
    const server = world().serve(
      oneField(
        async (_source, _args, { step }) => step.run('slow', () => new Promise(() => {}), { timeout: 50, retries: 0 }),
        {
          hold: '1h',
        },
      ),
    )
    const answer = await server.ask('{ go }')
    expect(answer.errors?.[0]).toMatchObject({
      message: 'Step "slow" failed after 1 attempt.',
      extensions: { code: 'DURABLE_STEP_TIMEOUT' },
    })
  })

  it('leaves nothing of an attempt that returns too late', async () => {
    const late = deferred<string>()
    const server = world().serve(
      oneField(
        async (_source, _args, { step }) => {
          const value = await step.run('slow', ({ attempt }) => (attempt === 1 ? late.promise : 'second'), {
            timeout: '1s',
            backoff: { initial: 0 },
          })
          late.resolve('first')
          await step.sleep('pause', 10)
          return value
        },
        { hold: '1h' },
      ),
    )
    const answer = await server.ask('{ go }')
    expect(answer.data).toEqual({ go: 'second' })
    expect(server.commits.flatMap(({ outcomes }) => outcomes).filter(({ kind }) => kind === 'RUN')).toHaveLength(1)
  })
})

overAllStores("an attempt's idempotencyKey", (world) => {
  it('is the same for each attempt, also after a crash, and another for another step or run (I2)', async () => {
    const keys: Record<string, Set<string>> = { charge: new Set(), other: new Set() }
    const seen: string[] = []
    let broken = true
    const options = oneField(async (_source, _args, { step }) => {
      await step.run('other', ({ idempotencyKey }) => void keys['other']?.add(idempotencyKey))
      return step.run(
        'charge',
        ({ idempotencyKey, attempt }) => {
          keys['charge']?.add(idempotencyKey)
          seen.push(`attempt ${attempt}`)
          if (broken) throw new Error('down')
          return 'charged'
        },
        { retries: 10, backoff: { initial: '10s', factor: 1, jitter: 'none' } },
      )
    })
    const first = world().serve(options)
    const { runId } = await first.ask('{ go }')
    await world().advance('25s')
    first.kill()
    broken = false
    const second = world().serve(options)
    await world().advance('30s')
    const run = await second.finish(runId)
    expect(run.result).toEqual({ data: { go: 'charged' } })
    // The attempts made before the crash count.
    expect(seen).toEqual(['attempt 1', 'attempt 2', 'attempt 3', 'attempt 4'])
    expect(keys['charge']?.size).toBe(1)
    expect(keys['other']?.size).toBe(1)
    await second.ask('{ go }')
    expect(keys['charge']?.size).toBe(2)
    expect(keys['other']?.size).toBe(2)
    expect(new Set([...(keys['charge'] ?? []), ...(keys['other'] ?? [])]).size).toBe(4)
  })
})
