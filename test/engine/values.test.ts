import { GraphQLError } from 'graphql'
import { expect, it } from 'vitest'
import { DurableError, StepError } from '../../src/index.ts'
import { oneField, overStores } from './world.ts'
import type { Resolver, World } from './world.ts'

/** Runs the resolver in two lives, a crash between them, and gives what each of them saw of `see`. */
async function twoLives(world: World, see: (tools: Parameters<Resolver>[2]) => Promise<unknown>) {
  const seen: unknown[] = []
  const options = oneField(async (_source, _args, context) => {
    seen.push(await see(context))
    await context.step.sleep('nap', '30s')
    return 'done'
  })
  const first = world.serve(options)
  const { runId } = await first.ask('{ go }')
  first.kill()
  const run = await world.serve(options).finish(runId)
  expect(run.result).toEqual({ data: { go: 'done' } })
  expect(seen).toHaveLength(2)
  return { first: seen[0], replayed: seen[1] }
}

class Cart {
  readonly items = []
}

const cyclic: Record<string, unknown> = { name: 'loop' }
cyclic['self'] = cyclic
const shared = { n: 1 }

overStores('what a step returned', (world) => {
  it.each<[string, () => unknown]>([
    ['undefined', () => undefined],
    ['null', () => null],
    ['numbers that JSON loses', () => [Number.NaN, -0, Infinity, -Infinity]],
    ['a bigint', () => 2n ** 70n],
    ['a Date', () => new Date(1_700_000_000_123)],
    ['an invalid Date', () => new Date(Number.NaN)],
    ['a Map and a Set, nested', () => new Map<unknown, unknown>([[{ k: 1 }, new Set([1, 'a', new Date(5)])]])],
    ['a RegExp', () => /a+b/gi],
    ['a URL', () => new URL('https://example.com/a?b=c')],
    ['typed arrays', () => [new Uint8Array([1, 2]), new Float64Array([0.5]), new BigInt64Array([-1n])]],
    ['a window into a larger buffer', () => new Uint8Array([1, 2, 3, 4]).subarray(1, 3)],
    ['an ArrayBuffer', () => new Uint8Array([7, 8]).buffer],
    ['a Buffer', () => Buffer.from('grüße')],
    ['properties that are undefined', () => ({ a: undefined, b: [undefined, 1] })],
    ['a sparse array', () => [1, , 3]], // oxlint-disable-line no-sparse-arrays
    ['an object without a prototype', () => Object.assign(Object.create(null), { a: 1 })],
    ['a cycle', () => cyclic],
    ['one object in two places', () => [shared, shared]],
    ['keys that every object has', () => ({ toString: 1, hasOwnProperty: null, valueOf: 'x' })],
    ['lone surrogates and the end of the alphabet', () => '\ud800 \u2028 \u0000 </script> 🎉'],
  ])('keeps its type, the same in the first execution and in a replay: %s (I11)', async (_name, make) => {
    const { first, replayed } = await twoLives(world(), ({ step }) => step.run('make', make))
    expect(first).toStrictEqual(make())
    expect(replayed).toStrictEqual(first)
  })

  it('keeps errors that are values: class, message, cause, own properties, but no stack (I11)', async () => {
    class PaymentError extends Error {
      override readonly name = 'PaymentError'
      readonly declined = true
    }
    const make = () => ({
      type: new TypeError('no number', { cause: new RangeError('inner') }),
      own: Object.assign(new PaymentError('declined'), { status: 402 }),
      many: new AggregateError([new Error('a'), 'b'], 'many'),
      graphql: new GraphQLError('seen', { extensions: { code: 'X' } }),
    })
    const { first, replayed } = await twoLives(world(), ({ step }) => step.run('make', make))
    for (const life of [first, replayed] as ReturnType<typeof make>[]) {
      expect(life.type).toBeInstanceOf(TypeError)
      expect(life.type).toMatchObject({ message: 'no number', cause: { message: 'inner' } })
      expect(life.type.cause).toBeInstanceOf(RangeError)
      expect(life.own).toMatchObject({ name: 'PaymentError', message: 'declined', declined: true, status: 402 })
      expect(life.own.stack).not.toContain('.ts')
      expect(life.many.errors).toMatchObject([{ message: 'a' }, 'b'])
      expect(life.graphql).toBeInstanceOf(GraphQLError)
      expect(life.graphql.extensions).toEqual({ code: 'X' })
    }
  })

  it('is a copy from the first execution on: what is done to the original later is not seen (I11)', async () => {
    const { first, replayed } = await twoLives(world(), async ({ step }) => {
      const original = { n: 1, inner: { list: [1] } }
      const copy = await step.run('make', () => original)
      const same = (copy as unknown) === original
      original.n = 2
      original.inner.list.push(2)
      return { same, copy }
    })
    expect(first).toEqual({ same: false, copy: { n: 1, inner: { list: [1] } } })
    expect(replayed).toEqual(first)
  })

  it.each<[string, () => unknown, string, string]>([
    ['a function', () => ({ a: { b: [0, () => 1] } }), '.a.b[1]', 'a function'],
    ['a symbol', () => ({ a: Symbol('x') }), '.a', 'a symbol'],
    ['an instance of a class', () => [new Cart()], '[0]', 'an instance of Cart'],
    ['a promise inside', () => ({ a: Promise.resolve(1) }), '.a', 'a promise'],
    ['a function itself', () => () => 1, 'its root', 'a function'],
    ['a WeakMap', () => new Map([['k', new WeakMap()]]), 'k', 'an instance of WeakMap'],
  ])('that cannot be kept is DURABLE_NOT_SERIALIZABLE and names the path: %s', async (_name, make, path, what) => {
    let calls = 0
    const server = world().serve(
      oneField(async (_source, _args, { step }) =>
        step.run('make', () => {
          calls++
          return make()
        }),
      ),
    )
    const answer = await server.ask('{ go }')
    expect(answer.errors).toMatchObject([{ path: ['go'], extensions: { code: 'DURABLE_NOT_SERIALIZABLE' } }])
    expect(answer.errors?.[0].message).toContain('what step "make" returned')
    expect(answer.errors?.[0].message).toContain(path)
    expect(answer.errors?.[0].message).toContain(what)
    expect(calls).toBe(1)
  })
})

overStores('limits', (world) => {
  it('stepBytes: an outcome that is larger is DURABLE_TOO_LARGE, and the same in a replay', async () => {
    const options = oneField(
      async (_source, _args, { step }) => {
        await step.run('fits', () => 'x'.repeat(900))
        const code = await step.run('large', () => 'x'.repeat(1100)).catch((error: DurableError) => error.code)
        world().log.push(code)
        await step.sleep('nap', '30s')
        return code
      },
      { limits: { stepBytes: 1000 } },
    )
    const first = world().serve(options)
    const { runId } = await first.ask('{ go }')
    first.kill()
    expect((await world().serve(options).finish(runId)).result).toEqual({ data: { go: 'DURABLE_TOO_LARGE' } })
    expect(world().log).toEqual(['DURABLE_TOO_LARGE', 'DURABLE_TOO_LARGE'])
  })

  it('runBytes: the outcomes of a run together', async () => {
    const server = world().serve(
      oneField(
        async (_source, _args, { step }) => {
          for (let n = 0; n < 20; n++) await step.run(`s${n}`, () => 'x'.repeat(1000))
        },
        { limits: { runBytes: 10_000 } },
      ),
    )
    const answer = await server.ask('{ go }')
    expect(answer.errors).toMatchObject([{ extensions: { code: 'DURABLE_TOO_LARGE' } }])
    expect(answer.errors?.[0].message).toContain('limits.runBytes (10000)')
  })

  it('runBytes counts what is committed in one batch, too', async () => {
    const server = world().serve(
      oneField(
        async (_source, _args, { step }) => {
          const all = Array.from({ length: 20 }, (_, n) => step.run(`s${n}`, () => 'x'.repeat(1000)))
          return (await Promise.allSettled(all)).filter(({ status }) => status === 'fulfilled').length
        },
        { limits: { runBytes: 10_000 } },
      ),
    )
    expect((await server.ask('{ go }')).data.go).toBeLessThan(10)
  })

  it('steps: the call that is one too many is DURABLE_TOO_MANY_STEPS', async () => {
    let ran = 0
    const server = world().serve(
      oneField(
        async (_source, _args, { step }) => {
          for (;;) await step.run('work', () => ++ran)
        },
        { limits: { steps: 10 } },
      ),
    )
    const answer = await server.ask('{ go }')
    expect(answer.errors).toMatchObject([{ extensions: { code: 'DURABLE_TOO_MANY_STEPS' } }])
    expect(ran).toBe(10)
  })

  it('stepBytes holds for events as well', async () => {
    const server = world().serve(oneField(() => 1, { limits: { stepBytes: 100 } }))
    await expect(world().until(server.durable.send({ name: 'x', data: 'y'.repeat(200) }))).rejects.toMatchObject({
      code: 'DURABLE_TOO_LARGE',
    })
  })
})

overStores('errors', (world) => {
  it('outside of steps are ordinary field errors, at once and without a retry', async () => {
    let calls = 0
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        calls++
        await step.run('first', () => 1)
        throw new Error('the password is 123')
      }),
    )
    const before = world().now()
    const answer = await server.ask('{ go }')
    expect(answer).toMatchObject({ status: 200, data: { go: null }, extensions: undefined })
    expect(answer.errors).toEqual([
      expect.objectContaining({ message: 'Unexpected error.', extensions: { code: 'INTERNAL_SERVER_ERROR' } }),
    ])
    expect(world().now()).toBe(before)
    expect(calls).toBe(1)
    await world().settle()
    const [run] = (await world().until(server.durable.runs.list())).runs
    expect(run).toMatchObject({ status: 'FAILED', result: { errors: [{ message: 'Unexpected error.' }] } })
  })

  it('of a step arrive as StepError with what it threw as its cause, the same in a replay', async () => {
    const see = async ({ step }: Parameters<Resolver>[2]) => {
      try {
        await step.run('fail', () => Promise.reject(Object.assign(new RangeError('too far'), { by: 7 })), {
          retries: 0,
        })
        return null
      } catch (error) {
        if (!(error instanceof StepError)) throw error
        const { stepId, attempts, code, message, cause } = error
        const inner = cause as RangeError & { by: number }
        return [stepId, attempts, code, message, inner instanceof RangeError, inner.name, inner.message, inner.by]
      }
    }
    const { first, replayed } = await twoLives(world(), see)
    const message = 'Step "fail" failed after 1 attempt.'
    expect(first).toEqual(['fail', 1, 'DURABLE_STEP_FAILED', message, true, 'RangeError', 'too far', 7])
    expect(replayed).toEqual(first)
  })

  it.each<[string, unknown]>([
    ['a text', 'just a text'],
    ['undefined', undefined],
    ['an object', { status: 500 }],
    ['a function', () => 1],
  ])('that are no errors are causes as well: %s', async (_name, thrown) => {
    const see = async ({ step }: Parameters<Resolver>[2]) =>
      step
        .run('fail', () => Promise.reject(thrown), { retries: 0 })
        .catch((error: StepError) => [error.code, String((error.cause as Error)?.message ?? error.cause)])
    const { first, replayed } = await twoLives(world(), see)
    expect(first).toMatchObject(['DURABLE_STEP_FAILED', expect.any(String)])
    expect(replayed).toEqual(first)
  })

  it('that are GraphQLErrors reach the client as themselves, extensions included, at once and from a replay', async () => {
    const options = oneField(async (_source, { n }, { step }) => {
      try {
        return await step.run('find', () => {
          throw new GraphQLError('no such cart', { extensions: { code: 'NOT_FOUND', cart: { id: 7 } } })
        })
      } catch (error) {
        if (n) await step.sleep('nap', '30s')
        throw error
      }
    })
    const expected = [
      expect.objectContaining({
        message: 'no such cart',
        path: ['go'],
        locations: [{ line: 1, column: 3 }],
        extensions: { code: 'NOT_FOUND', cart: { id: 7 } },
      }),
    ]
    const first = world().serve(options)
    expect((await first.ask('{ go }')).errors).toEqual(expected)
    const { runId } = await first.ask('{ go(n: 1) }')
    first.kill()
    expect((await world().serve(options).finish(runId)).result?.errors).toEqual(expected)
  })

  it('of a step that nobody awaits end neither the process nor the run', async () => {
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        void step.run('forgotten', () => Promise.reject(new Error('x')), { retries: 0 })
        await step.run('other', () => 1)
        await step.sleep('nap', 100)
        return 'done'
      }),
    )
    expect((await server.ask('{ go }')).data).toEqual({ go: 'done' })
  })

  it('of a result that JSON cannot write do not end the process, and leave no run stuck (I4)', async () => {
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        await step.run('first', () => 1)
        await step.sleep('nap', '10s')
        return 12n
      }),
    )
    const { runId } = await server.ask('{ go }')
    const run = await server.finish(runId, '5m')
    expect(run.status).toBe('FAILED')
    expect(run.result?.errors).toHaveLength(1)
  })

  it('are DurableErrors by their class, with a code that the client sees', () => {
    const error = new DurableError('DURABLE_TOO_LARGE', 'x')
    expect(DurableError.is(error)).toBe(true)
    expect(error).toBeInstanceOf(GraphQLError)
    expect(error.extensions).toEqual({ code: 'DURABLE_TOO_LARGE' })
    expect(JSON.stringify(new StepError('s', 2, new Error('secret')))).not.toContain('secret')
  })
})
