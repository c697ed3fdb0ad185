import { expect, it } from 'vitest'
import type { EventInput } from '../../src/index.ts'
import { oneField, overAllStores, overStores, wrapped } from './world.ts'
import { StoreError } from '../../src/store/store.ts'
import { usePostgres } from '../support/standing-postgres.ts'

usePostgres()

/** JSON as a client may send it. */
const nested = (levels: number): unknown => JSON.parse('['.repeat(levels) + ']'.repeat(levels))

overAllStores('an event that send has accepted', (world) => {
  it.each<[string, string]>([
    ['a key __proto__', '{"__proto__":{"polluted":true},"b":2}'],
    ['a key __proto__, further down', '{"a":[{"__proto__":null}],"b":2}'],
    ['keys that every object has', '{"constructor":{"prototype":1},"toString":2,"hasOwnProperty":false,"":0}'],
    ['the most levels', JSON.stringify({ deep: nested(99) })],
    ['numbers of every size', '[1e300,-1e-300,9007199254740993,0.1,-0]'],
    ['characters that are none', String.raw`["\ud800","\u0000","\u2028","\ufffe"]`],
    ['null', 'null'],
    ['false', 'false'],
    ['an empty text', '""'],
  ])('is delivered, in a run that waits and in its replay: %s (I4, I6)', async (_name, json) => {
    const options = oneField(async (_source, _args, { step }) => {
      const event = await step.waitForEvent('hook', { event: 'hook', timeout: '1h' })
      world().log.push(JSON.stringify(event?.data))
      await step.sleep('nap', '30s')
      return event !== null && !('polluted' in Object(event.data))
    })
    const first = world().serve(options)
    const { runId } = await first.ask('{ go }')
    await world().until(first.durable.send({ name: 'hook', data: JSON.parse(json) }))
    await world().advance('5s')
    first.kill()
    const run = await world().serve(options).finish(runId)
    expect(run.result).toEqual({ data: { go: true } })
    const same = JSON.stringify(JSON.parse(json))
    expect(world().log).toEqual([same, same])
  })

  it('is found by a match with such a key', async () => {
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        const match = JSON.parse('{"__proto__":{"n":1}}') as Record<string, unknown>
        return (await step.waitForEvent('hook', { event: 'hook', match, timeout: '1h' }))?.id
      }),
    )
    const { runId } = await server.ask('{ go }')
    for (const [id, json] of [
      ['bare', '{}'],
      ['other', '{"__proto__":{"n":2}}'],
      ['right', '{"__proto__":{"n":1,"m":2}}'],
    ] as const) {
      await world().until(server.durable.send({ name: 'hook', id, data: JSON.parse(json) }))
    }
    expect((await server.finish(runId)).result).toEqual({ data: { go: 'right' } })
  })

  it('is delivered however long its data is in a journal', async () => {
    const data = Array.from({ length: 2_000 }, (_, n) => n * 1e-9) // devalue refers to each number by its place
    const limits = { stepBytes: JSON.stringify(data).length }
    const server = world().serve(
      oneField(
        async (_source, _args, { step }) => (await step.waitForEvent<number[]>('hook', { event: 'hook' }))?.data.length,
        { limits },
      ),
    )
    const { runId } = await server.ask('{ go }')
    await world().until(server.durable.send({ name: 'hook', data }))
    expect((await server.finish(runId)).result).toEqual({ data: { go: 2_000 } })
  })
})

class Money {
  readonly cents = 1
  toJSON(): string {
    return '0.01 EUR'
  }
}
const cyclic: Record<string, unknown> = {}
cyclic['self'] = cyclic
const shared = Array.from({ length: 30 }).reduce<unknown>((inner) => [inner, inner], 'x')

const NO_JSON: readonly [name: string, data: unknown, at: string][] = [
  ['undefined in an object', { order: undefined }, 'order'],
  ['undefined in a list', { orders: [1, undefined] }, 'orders.1'],
  ['a hole in a list', [1, , 3], '1'], // oxlint-disable-line no-sparse-arrays
  ['NaN', { order: Number.NaN }, 'NaN'],
  ['Infinity', { order: -Infinity }, '-Infinity'],
  ['a function', { order: () => 7 }, 'function'],
  ['a symbol', { order: Symbol('7') }, 'symbol'],
  ['a bigint', { order: 7n }, 'bigint'],
  ['a Date', { at: new Date(0) }, 'toISOString()'],
  ['a Map', { order: new Map([['id', 7]]) }, 'Map'],
  ['a Set', new Set([7]), 'Set'],
  ['an instance of a class', { total: new Money() }, 'Money'],
  ['an object with a toJSON', { toJSON: () => 7 }, 'toJSON'],
  ['a Buffer', { bytes: Buffer.from('7') }, 'Buffer'],
  ['a typed array', new Uint8Array([7]), 'Uint8Array'],
  ['a boxed text', { id: Object('7') }, 'String'],
  ['a symbol for a key', { [Symbol('id')]: 7 }, 'symbol'],
  ['a promise', { order: Promise.resolve(7) }, 'Promise'],
  ['an error', { cause: new Error('7') }, 'Error'],
  ['a cycle', cyclic, 'contains itself'],
  ['more levels than 100', nested(101), '100 levels'],
  ['more levels than the stack has', nested(5_000), '100 levels'],
  [
    'a getter that throws',
    {
      get order() {
        throw new Error('not now')
      },
    },
    'an object that cannot be read.', // what the getter throws may be internal, and clients see the message
  ],
]

overStores('the data of an event', (world) => {
  it.each(NO_JSON)('is JSON, and nothing that JSON drops or changes: %s', async (_name, data, at) => {
    const server = world().serve(oneField(() => 1))
    const error: Error & { code?: string } = await world()
      .until(server.durable.send({ name: 'hook', data }))
      .then(
        () => expect.unreachable('it was accepted'),
        (thrown: unknown) => thrown as Error,
      )
    expect(error).toMatchObject({ code: 'DURABLE_NOT_SERIALIZABLE', retryable: false })
    expect(error.message).toContain('the data of event "hook"')
    expect(error.message).toContain(at)
  })

  it.each(NO_JSON)('is refused by step.sendEvent before the step begins: %s', async (_name, data) => {
    const server = world().serve(oneField((_source, _args, { step }) => step.sendEvent('tell', { name: 'hook', data })))
    const { errors } = await server.ask('{ go }')
    expect(errors).toMatchObject([{ extensions: { code: 'DURABLE_NOT_SERIALIZABLE' } }])
    expect(server.commits).toEqual([])
  })

  it.each(NO_JSON.filter(([, data]) => !Array.isArray(data) && !(data instanceof Uint8Array)))(
    'is matched by JSON only: %s',
    async (_name, match, at) => {
      const server = world().serve(
        oneField((_source, _args, { step }) => step.waitForEvent('hook', { event: 'hook', match: match as never })),
      )
      const { errors } = await server.ask('{ go }')
      expect(errors).toMatchObject([{ extensions: { code: 'DURABLE_STEP_MISUSED' } }])
      expect(errors?.[0].message).toContain(at)
      expect(server.commits).toEqual([])
    },
  )

  it.each<[string, unknown]>([
    ['an object without a prototype', Object.assign(Object.create(null), { a: 1 })],
    ['an object in two places', [cyclic, cyclic].map(() => ({ n: 1 }))],
    ['minus zero, which is zero', [-0]],
    ['nothing at all', undefined],
  ])('may be %s', async (_name, data) => {
    const server = world().serve(oneField(() => 1))
    const event: EventInput = { name: 'hook', ...(data !== undefined && { data }) }
    await expect(world().until(server.durable.send(event))).resolves.toMatchObject({ ids: [expect.any(String)] })
  })

  it('is that of an event: a hole in a list of them is none, on every store', async () => {
    const server = world().serve(oneField(() => 1))
    // oxlint-disable-next-line no-sparse-arrays -- that is what it is about
    const sent = world().until(server.durable.send([, { name: 'hook' }] as unknown as EventInput[]))
    await expect(sent).rejects.toMatchObject({ extensions: { code: 'BAD_USER_INPUT' } })
  })

  it('has a limit, whatever it takes to count it', async () => {
    const server = world().serve(oneField(() => 1, { limits: { stepBytes: 1_000 } }))
    for (const data of ['x'.repeat(1_000), 'ü'.repeat(500), { [`k${'x'.repeat(1_000)}`]: 1 }, shared]) {
      const sent = world().until(server.durable.send({ name: 'hook', data }))
      await expect(sent).rejects.toMatchObject({ code: 'DURABLE_TOO_LARGE', retryable: false })
    }
    await world().until(server.durable.send({ name: 'hook', data: 'x'.repeat(998) }))
  })

  it('is compared with a match of at most 16 KiB', async () => {
    const server = world().serve(
      oneField((_source, { n }, { step }) =>
        step.waitForEvent('hook', { event: 'hook', match: { id: 'x'.repeat(n) }, timeout: 1 }),
      ),
    )
    expect(await server.ask(`{ go(n: ${16_384 - 9}) }`)).toMatchObject({ data: { go: null } })
    const { errors } = await server.ask(`{ go(n: ${16_384 - 8}) }`)
    expect(errors).toMatchObject([{ extensions: { code: 'DURABLE_TOO_LARGE' } }])
  })
})

overStores('an event that another version has accepted', (world) => {
  it.each<[string, string, string]>([
    ['too deep to be kept', '['.repeat(20_000) + ']'.repeat(20_000), 'DURABLE_NOT_SERIALIZABLE'],
    ['no JSON', '{"a":', 'SyntaxError'],
  ])('and that is %s ends the wait with an error for the resolver (I4)', async (_name, data, code) => {
    const store = wrapped(world().store, (session) => ({
      async findEvents(queries) {
        const found = await session.findEvents(queries)
        return found.map((event) => event && { ...event, data })
      },
    }))
    const options = oneField(
      async (_source, _args, { step }) => {
        const caught = await step
          .waitForEvent('hook', { event: 'hook', timeout: '1h' })
          .catch((error: Error & { code?: string }) => error.code ?? error.name)
        await step.sleep('nap', '30s')
        return caught
      },
      { store },
    )
    const first = world().serve(options)
    const { runId } = await first.ask('{ go }')
    await world().until(first.durable.send({ name: 'hook' }))
    await world().advance('5s')
    first.kill()
    expect((await world().serve(options).finish(runId, '5m')).result).toEqual({ data: { go: code } })
  })

  it('and that the store cannot look at ends the run, and says why (I4)', async () => {
    const store = wrapped(world().store, () => ({
      findEvents: () => Promise.reject(new StoreError('rejected', 'Event 7 cannot be read.')),
    }))
    const server = world().serve(
      oneField((_source, _args, { step }) => step.waitForEvent('hook', { event: 'hook', timeout: '1h' }), { store }),
    )
    const { errors, runId } = await server.ask('{ go }')
    expect(errors).toMatchObject([{ extensions: { code: 'DURABLE_RESUME_FAILED' } }])
    expect(await server.finish(runId)).toMatchObject({ status: 'FAILED', note: expect.stringContaining('Event 7') })
  })
})
