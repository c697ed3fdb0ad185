import { expect, it } from 'vitest'
import type { Resolver, Server, ServerOptions } from './world.ts'
import { oneField, overAllStores, overStores, wrapped } from './world.ts'
import { StoreError } from '../../src/store/store.ts'
import { usePostgres } from '../support/standing-postgres.ts'

usePostgres()

/** Text that no database can make shorter. */
function text(bytes: number): string {
  let state = 1
  const next = (): number => (state = (state * 48_271) % 0x7fffffff)
  return Array.from({ length: bytes }, () => (next() % 36).toString(36)).join('')
}

const TOO_LARGE = { extensions: { code: 'DURABLE_TOO_LARGE' } }

/** Everything that has an effect, and everything that is written. */
async function expectNothing(server: Server, log: readonly string[]): Promise<void> {
  expect(log).toEqual([])
  expect(server.commits).toEqual([])
}

overAllStores('what goes into an index', (world) => {
  const working: Resolver = async (_source, _args, { step }) => {
    const done = await step.run('work', () => void world().log.push('worked'))
    await step.sleep('nap', '30s')
    return done ?? 'done'
  }

  const listed = (id: string): ServerOptions => ({
    typeDefs: 'type Item { id: ID ship: String } type Query { items: [Item] }',
    resolvers: { Query: { items: () => [{ id }] }, Item: { ship: working } },
  })

  it('may be as long as the limits say, on every store', async () => {
    const owner = text(1_000)
    const options = oneField(working, { owner: () => owner, idempotencyKey: () => text(255), version: text(1_000) })
    const mutation = { ...options, typeDefs: `${options.typeDefs} type Mutation { go(n: Int): Any }` }
    const server = world().serve({ ...mutation, resolvers: { ...options.resolvers, Mutation: { go: working } } })
    const alias = text(1_400)
    const { runId } = await server.ask(`mutation ${`N${text(999)}`} { ${`a${alias}`}: go }`)
    expect(await server.finish(runId)).toMatchObject({ status: 'COMPLETED', owner })
    expect((await world().until(server.durable.runs.list({ owner }))).runs).toMatchObject([{ id: runId }])
    const event = { name: text(1_000), id: text(1_000) }
    expect(await world().until(server.durable.send(event))).toEqual({ ids: [event.id] })
  })

  it('an event of the longest name settles the wait of the longest path', async () => {
    const name = text(1_000)
    const server = world().serve(
      oneField(async (_source, _args, { step }) => (await step.waitForEvent('e', { event: name }))?.id),
    )
    const { runId } = await server.ask(`{ ${`a${text(1_480)}`}: go }`)
    await world().until(server.durable.send({ name, id: text(1_000) }))
    expect(Object.values((await server.finish(runId)).result?.data ?? {})).toEqual([text(1_000)])
  })

  it.each<[string, () => ServerOptions, string]>([
    ['an alias', () => oneField(working), `{ ${`a${text(3_000)}`}: go }`],
    [
      'aliases on the way, together',
      () => listed('1'),
      `{ ${`a${text(1_300)}`}: items { ${`b${text(1_300)}`}: ship } }`,
    ],
    ['the id of an item in a list', () => listed(text(3_000)), '{ items { ship } }'],
    ['an id in characters of three bytes', () => listed('界'.repeat(900)), '{ items { ship } }'],
    ['an id in characters that have to be escaped', () => listed('\0'.repeat(1_000)), '{ items { ship } }'],
    ['an owner', () => oneField(working, { owner: () => text(1_001) }), '{ go }'],
    ['the name of an operation', () => oneField(working), `query ${`N${text(1_000)}`} { go }`],
  ])('is refused before any effect where it is longer: %s', async (_name, options, query) => {
    const server = world().serve(options())
    const { errors } = await server.ask(query)
    expect(errors).toMatchObject([TOO_LARGE])
    await expectNothing(server, world().log)
  })

  it('is refused where a mutation is executed field by field, before its first field (I10)', async () => {
    const server = world().serve({
      typeDefs: 'scalar Any type Query { ok: Any } type Mutation { go: Any @durable, pay: Any }',
      resolvers: { Mutation: { go: working, pay: () => void world().log.push('paid') } },
    })
    const { errors } = await server.ask(`mutation { pay ${`a${text(3_000)}`}: go }`)
    expect(errors).toMatchObject([TOO_LARGE])
    await expectNothing(server, world().log)
  })

  it.each<[string, Record<string, unknown>]>([
    ['name', { name: text(1_001) }],
    ['id', { name: 'paid', id: text(1_001) }],
  ])('is refused by send: an event with a long %s', async (_name, event) => {
    const server = world().serve(oneField((_source, _args, { step }) => step.sendEvent('tell', event as never)))
    await expect(world().until(server.durable.send(event as never))).rejects.toMatchObject({
      code: 'DURABLE_TOO_LARGE',
      retryable: false,
    })
    expect((await server.ask('{ go }')).errors).toMatchObject([TOO_LARGE])
    await expectNothing(server, world().log)
  })

  it('is refused by waitForEvent: a name that no event can have', async () => {
    const server = world().serve(
      oneField((_source, _args, { step }) => step.waitForEvent('e', { event: text(1_001), timeout: 1 })),
    )
    expect((await server.ask('{ go }')).errors).toMatchObject([TOO_LARGE])
  })

  it.each(['\u0001'.repeat(256), 'x'.repeat(256), '界'.repeat(86)])(
    'an idempotency key of the option that is too long is bad input (%#)',
    async (key) => {
      const server = world().serve({
        typeDefs: 'scalar Any type Query { ok: Any } type Mutation { go: Any }',
        resolvers: { Mutation: { go: working } },
        durable: { idempotencyKey: () => key },
      })
      const { status, errors } = await server.ask('mutation { go }')
      expect({ status, errors }).toMatchObject({ status: 400, errors: [{ extensions: { code: 'BAD_USER_INPUT' } }] })
      await expectNothing(server, world().log)
    },
  )

  it('an owner and an idempotency key that are long once they are escaped are refused, before any effect', async () => {
    const server = world().serve({
      typeDefs: 'scalar Any type Query { ok: Any } type Mutation { go: Any }',
      resolvers: { Mutation: { go: working } },
      durable: { owner: () => '\u0001'.repeat(500), idempotencyKey: () => 'key' },
    })
    expect((await server.ask('mutation { go }')).errors).toMatchObject([TOO_LARGE])
    await expectNothing(server, world().log)
  })
})

overStores('limits.inputBytes', (world) => {
  const keeping = (durable: ServerOptions['durable']): ServerOptions => ({
    typeDefs: 'scalar Any type Query { go(any: Any): Any, ok: Any }',
    resolvers: {
      Query: { go: (_source, _args, { step }) => step.run('work', () => void world().log.push('worked')), ok: () => 1 },
    },
    ...(durable && { durable }),
  })
  const large = 'x'.repeat(10_000)

  it.each<[string, ServerOptions['durable'], string, Record<string, unknown>]>([
    ['variables', {}, 'query ($any: Any) { go(any: $any) }', { any: large }],
    ['the document', {}, `{ go(any: "${large}") }`, {}],
    ['what is captured', { context: { capture: () => large } }, '{ go }', {}],
    ['named headers', { context: { headers: ['x-large'] } }, '{ go }', {}],
  ])('refuses what is too much before any effect, with 413: %s', async (_name, durable, query, variables) => {
    const server = world().serve(keeping({ ...durable, limits: { inputBytes: 5_000 } }))
    const answer = await server.ask(query, variables, { 'x-large': large })
    expect(answer).toMatchObject({ status: 413, errors: [{ path: ['go'], ...TOO_LARGE }] })
    expect(answer.errors?.[0].message).toContain('limits.inputBytes (5000)')
    await expectNothing(server, world().log)
  })

  it('is 1 MiB by default, and of no concern to operations without steps (I8)', async () => {
    const server = world().serve(keeping(undefined))
    const query = 'query ($any: Any) { go(any: $any) }'
    expect(await server.ask(query, { any: 'x'.repeat(1_000_000) })).toMatchObject({ status: 200 })
    expect(await server.ask(query, { any: 'x'.repeat(1_100_000) })).toMatchObject({ status: 413 })
    const idle = await server.ask('query ($any: Any) { ok @skip(if: false) __typename @include(if: true) go: ok }', {
      any: 'x'.repeat(1_100_000),
    })
    expect(idle.status).toBe(200)
  })

  it('is looked at once, however many fields ask for a step', async () => {
    let captures = 0
    const server = world().serve(
      keeping({ limits: { inputBytes: 5_000 }, context: { capture: () => (captures++, large) } }),
    )
    const { errors } = await server.ask(`{ ${Array.from({ length: 50 }, (_, n) => `a${n}: go`).join(' ')} }`)
    expect(errors).toHaveLength(50)
    expect(captures).toBe(1)
  })

  it('variables that are nested too deeply to be read again are refused before any effect', async () => {
    const server = world().serve(keeping(undefined))
    const { errors } = await server.ask('query ($any: Any) { go(any: $any) }', {
      any: JSON.parse('['.repeat(1_000) + ']'.repeat(1_000)),
    })
    expect(errors).toMatchObject([{ extensions: { code: 'DURABLE_NOT_SERIALIZABLE' } }])
    await expectNothing(server, world().log)
  })
})

overStores('what a store refuses all the same', (world) => {
  it.each(['commit', 'send'] as const)('is nothing to try again: %s', async (call) => {
    const store = wrapped(world().store, () => ({
      [call]: () => Promise.reject(new StoreError('rejected', 'The value is too long.')),
    }))
    const server = world().serve(oneField((_source, _args, { step }) => step.run('work', () => 1), { store }))
    if (call === 'send') {
      const sent = world().until(server.durable.send({ name: 'paid' }))
      return expect(sent).rejects.toMatchObject({ code: 'DURABLE_NOT_SERIALIZABLE', retryable: false })
    }
    const { errors } = await server.ask('{ go }')
    expect(errors).toMatchObject([{ path: ['go'], extensions: { code: 'DURABLE_NOT_SERIALIZABLE' } }])
    expect(errors?.[0].message).not.toContain('again')
  })

  it('ends the run, also where it is its end that is refused (I4)', async () => {
    const store = wrapped(world().store, (session) => ({
      commit: (batch) =>
        batch.some(({ next }) => next.kind === 'end' && next.ending.result.includes('huge'))
          ? Promise.reject(new StoreError('rejected', 'The value is too long.'))
          : session.commit(batch),
    }))
    const server = world().serve(
      oneField(async (_source, _args, { step }) => (await step.sleep('nap', '30s'), 'huge'), { store }),
    )
    const { runId } = await server.ask('{ go }')
    expect(await server.finish(runId, '5m')).toMatchObject({
      status: 'FAILED',
      note: 'The value is too long.',
      result: { errors: [{ extensions: { code: 'DURABLE_RESUME_FAILED' } }] },
    })
  })
})
