import { GraphQLError } from 'graphql'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createDurable } from '../../src/index.ts'
import type { DurableOptions } from '../../src/index.ts'
import { memoryStore } from '../../src/memory.ts'
import { oneField, overStores } from './world.ts'
import type { Resolver, ServerOptions } from './world.ts'

/*
 * What functions among the options do that they should not. Plain JavaScript has no types to stop it.
 */

const wrongly = (answer: unknown) => (() => answer) as () => never
const throwing = (error: unknown) => () => {
  throw error
}
const rejecting = () => Promise.reject(new Error('secret: password'))

/** Rejections that nobody handles end a process. */
const unhandled: unknown[] = []
const onUnhandled = (reason: unknown): void => void unhandled.push(reason)
beforeEach(() => void process.on('unhandledRejection', onUnhandled))
afterEach(async () => {
  await new Promise((resolve) => setImmediate(resolve))
  process.off('unhandledRejection', onUnhandled)
  expect(unhandled.splice(0)).toEqual([])
})

const WRONG_TEXTS: [string, () => never][] = [
  ['a number', wrongly(7)],
  ['an object', wrongly({ id: 7 })],
  ['an array', wrongly(['ada'])],
  ['an empty text', wrongly('')],
  ['true', wrongly(true)],
  ['a promise', wrongly(Promise.resolve('ada'))],
  ['a promise that rejects', rejecting as never],
]

overStores('an operation whose run cannot be described', (world) => {
  const charge: Resolver = async (_source, _args, { step }) => {
    try {
      return await step.run('charge', () => void world().log.push('charged'))
    } catch {
      world().log.push('caught')
      return 'refunded'
    }
  }
  const pay = (durable: DurableOptions): ServerOptions => ({
    typeDefs: 'type Query { a: Int } type Mutation { pay: String later: String }',
    resolvers: { Mutation: { pay: charge, later: () => void world().log.push('later') } },
    durable,
  })

  it.each(WRONG_TEXTS)(
    'is refused where owner answers %s, and nothing is executed, stored or caught',
    async (_what, owner) => {
      const server = world().serve(pay({ owner }))
      const answer = await server.ask('mutation { pay later }')
      expect(answer.data).toEqual({ pay: null, later: null })
      expect(answer.errors?.map(({ path }) => path)).toEqual([['pay'], ['later']])
      expect(answer.errors?.[0]).toMatchObject({
        message: expect.stringContaining('Expected owner to return a text'),
        extensions: { code: 'DURABLE_STEP_MISUSED' },
      })
      expect(answer.extensions).toBeUndefined()
      expect(world().log).toEqual([])
      expect((await world().until(server.durable.runs.list())).runs).toEqual([])
      expect(server.warnings.join()).toContain('was refused')
    },
  )

  it.each([
    ['owner', (answer: () => never): DurableOptions => ({ owner: answer })],
    ['context.capture', (answer: () => never): DurableOptions => ({ context: { capture: answer } })],
    ['idempotencyKey', (answer: () => never): DurableOptions => ({ idempotencyKey: answer })],
  ])('is refused where %s throws, without a word of what it said', async (_name, given) => {
    const server = world().serve({
      ...pay(given(throwing(new Error('secret: password')) as never)),
      maskedErrors: false,
    })
    const answer = await server.ask('mutation { pay }')
    expect(answer.errors).toMatchObject([
      { message: 'Unexpected error.', extensions: { code: 'INTERNAL_SERVER_ERROR' } },
    ])
    expect(JSON.stringify(answer)).not.toContain('secret')
    expect(world().log).toEqual([])
  })

  it.each([
    ['owner', (answer: () => never): DurableOptions => ({ owner: answer })],
    ['context.capture', (answer: () => never): DurableOptions => ({ context: { capture: answer } })],
    ['idempotencyKey', (answer: () => never): DurableOptions => ({ idempotencyKey: answer })],
  ])('is refused with the GraphQLError that %s throws: that was made for clients', async (_name, given) => {
    const error = new GraphQLError('Sign in.', { extensions: { code: 'UNAUTHENTICATED' } })
    const server = world().serve(pay(given(throwing(error) as never)))
    expect((await server.ask('mutation { pay }')).errors).toMatchObject([
      { message: 'Sign in.', extensions: { code: 'UNAUTHENTICATED' } },
    ])
    expect(world().log).toEqual([])
  })

  it('is refused where owner fails for a request with an Idempotency-Key', async () => {
    const server = world().serve(pay({ owner: wrongly(7) }))
    const answer = await server.ask('mutation { pay }', {}, { 'idempotency-key': 'k' })
    expect(answer.errors?.[0]?.extensions.code).toBe('DURABLE_STEP_MISUSED')
    expect(world().log).toEqual([])
  })

  it.each(WRONG_TEXTS)('is refused where idempotencyKey answers %s', async (_what, idempotencyKey) => {
    const server = world().serve(pay({ idempotencyKey }))
    const answer = await server.ask('mutation { pay }')
    expect(answer.errors).toMatchObject([{ message: expect.stringContaining('Expected idempotencyKey to return') }])
    expect(world().log).toEqual([])
  })

  it.each([
    ['a promise', wrongly(Promise.resolve({ user: 'ada' }))],
    ['a promise that rejects', rejecting as never],
  ])('is refused where context.capture answers %s', async (_what, capture) => {
    const server = world().serve(pay({ context: { capture } }))
    const answer = await server.ask('mutation { pay }')
    expect(answer.errors?.[0]?.message).toContain(
      'Expected context.capture to return a value, but it returned a Promise',
    )
    expect(world().log).toEqual([])
  })
})

overStores('a step whose retryIf', (world) => {
  it.each([
    ['is asynchronous', wrongly(Promise.resolve(true))],
    ['is asynchronous and rejects', rejecting as never],
    ['answers a text', wrongly('yes')],
    ['throws', throwing(new Error('secret')) as never],
  ])('%s is not tried again, with a warning', async (_what, retryIf) => {
    for (const options of [{ durable: { retryIf } }, {}]) {
      let attempts = 0
      const server = world().serve({
        ...oneField((_source, _args, { step }) =>
          step.run(
            'work',
            () => {
              attempts++
              throw new Error('down')
            },
            options.durable ? {} : { retryIf },
          ),
        ),
        ...options,
      })
      const answer = await server.ask('{ go }')
      expect(answer.errors?.[0]?.extensions.code).toBe('DURABLE_STEP_FAILED')
      expect(attempts).toBe(1)
      expect(server.warnings.join()).toContain('is not tried again')
    }
  })
})

overStores('identify', (world) => {
  it.each([
    ['answers an object', wrongly({ sku: 1 })],
    ['answers NaN', wrongly(Number.NaN)],
    ['is asynchronous and rejects', rejecting as never],
    ['throws', throwing(new Error('no')) as never],
  ])('that %s leaves items to their places, and says so once', async (_what, identify) => {
    const server = world().serve({
      typeDefs: 'type Query { items: [Item] } type Item { work: String }',
      resolvers: {
        Query: { items: () => [{}, {}] },
        Item: {
          work: async (_source, _args, { step }) => {
            const value = await step.run('work', () => 'worked')
            await step.sleep('nap', '10s')
            return value
          },
        },
      },
      durable: { identify },
    })
    const { runId } = await server.ask('{ items { work } }')
    const run = await server.finish(runId)
    const keys = run.steps.filter(({ kind }) => kind === 'RUN').map(({ id }) => id)
    expect(keys.toSorted()).toEqual(['items.[0].work>work', 'items.[1].work>work'])
    expect(server.warnings.filter((warning) => warning.includes('identify'))).toHaveLength(1)
  })
})

overStores('a cold resume', (world) => {
  const nap: Resolver = async (_source, _args, { step }) => {
    await step.sleep('nap', '1m')
    return 'rested'
  }

  it.each([
    ['restore', 'answers a text', { restore: wrongly('ada') }],
    ['restore', 'answers nothing', { restore: wrongly(undefined) }],
    ['create', 'answers null', { create: wrongly(null) }],
    ['create', 'answers a promise of a number', { create: wrongly(Promise.resolve(7)) }],
    ['request', 'is asynchronous', { request: wrongly(Promise.resolve({})) }],
    ['request', 'answers a number', { request: wrongly(7) }],
    ['request', 'throws', { request: throwing(new Error('context.request: secret: password')) as never }],
  ])(
    'whose context.%s %s is a resume failure with that reason, and says nothing of it to clients',
    async (name, _what, context) => {
      const first = world().serve(oneField(nap, { context: { capture: () => 1 } }))
      const { runId } = await first.ask('{ go }')
      first.kill()
      const second = world().serve(oneField(nap, { context }))
      await world().advance('2m')
      const suspended = await second.get(runId)
      expect(suspended).toMatchObject({ status: 'SUSPENDED', note: expect.stringContaining(`context.${name}`) })
      const run = await second.finish(runId, '3d')
      expect(run.result?.errors).toMatchObject([{ extensions: { code: 'DURABLE_RESUME_FAILED' } }])
      expect(JSON.stringify(run.result)).not.toContain(name)
      expect(JSON.stringify(run.result)).not.toContain('secret')
    },
  )
})

describe('onWarning', () => {
  it('that is asynchronous and rejects ends nothing, whoever it is that causes the warning', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
    const { createAccess } = await import('../../schema/access.ts')
    const access = createAccess({ authorize: throwing(new Error('no')), onWarning: rejecting as never })
    expect(await access.findRun({ get: async () => null }, 'run_1', {})).toBeNull()
    await new Promise((resolve) => setImmediate(resolve))
    expect(warn).toHaveBeenCalledWith('[graphql-durable] onWarning threw.', expect.any(Error))
    warn.mockRestore()
  })

  it('that throws ends nothing', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
    const { createAccess } = await import('../../schema/access.ts')
    const access = createAccess({ authorize: throwing(new Error('no')), onWarning: throwing(new Error('disk full')) })
    expect(await access.findRun({ get: async () => null }, 'run_1', {})).toBeNull()
    warn.mockRestore()
  })
})

describe('onCommit of a store', () => {
  it('that is asynchronous and rejects ends nothing', async () => {
    const durable = createDurable({ store: memoryStore({ onCommit: rejecting as never }) })
    await durable.send({ name: 'tick' })
    await durable.close()
  })
})

describe('createDurable', () => {
  it('refuses a clock that lacks something', () => {
    const clock = { now: () => 0 } as never
    expect(() => createDurable({ store: memoryStore(), clock })).toThrow('Expected clock to have the method setTimeout')
  })

  it.each(['owner', 'authorize', 'idempotencyKey', 'retryIf', 'identify', 'onWarning'])(
    'refuses %s where it is no function',
    (name) => {
      expect(() => createDurable({ store: memoryStore(), [name]: 'ada' })).toThrow(
        `Expected ${name} to be a function, but got a text.`,
      )
    },
  )

  it.each(['capture', 'restore', 'request', 'create', 'enter'])(
    'refuses context.%s where it is no function',
    (name) => {
      expect(() => createDurable({ store: memoryStore(), context: { [name]: null } as never })).toThrow(
        `Expected context.${name} to be a function, but got null.`,
      )
    },
  )
})
