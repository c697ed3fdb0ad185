import { defaultFieldResolver } from 'graphql'
import { expect, it } from 'vitest'
import { overStores } from './world.ts'
import type { Resolver, Resolvers, ServerOptions } from './world.ts'

/*
 * What resolvers return is more than values: queries that run when `then` is called, generators, streams, objects full
 * of promises. The executor walks through all of it, once for each pass; what it stands for happens once.
 */

const wait: Resolver = async (_source, _args, { step }) => {
  await step.sleep('pause', '10s')
  return 'waited'
}

/** Runs its query each time somebody calls `then`, as query builders do. */
function lazily<T>(run: () => T): PromiseLike<T> {
  // oxlint-disable-next-line unicorn/no-thenable -- what this is about
  return { then: (onValue, onError) => Promise.resolve().then(run).then(onValue, onError) }
}

const typeDefs = `
  scalar Any
  type Inner { a: Any b: Any list: [Any] inners: [Inner!] }
  type Query { value: Any values: [Any] nested: [[Any]] inner: Inner inners: [Inner] wait: Any go: Any }
  type Mutation { value: Any wait: Any durable: Any @durable }
`

function serverOf(resolvers: Resolvers): ServerOptions {
  return { typeDefs, resolvers: { ...resolvers, Query: { wait, ...resolvers['Query'] } } }
}

overStores('a value that a resolver returned is taken once', (world) => {
  /** Deferred by another field, and followed to its end by a background pass. */
  async function answerOf(resolvers: Resolvers, query: string, expected: unknown): Promise<void> {
    const server = world().serve(serverOf(resolvers))
    const { runId } = await server.ask(query)
    const run = await server.finish(runId)
    expect(run.result).toEqual({ data: expected })
  }

  const times = (): number => world().log.length
  const note = <T>(value: T): T => (world().log.push(String(value)), value)

  it('where it is a query that runs when it is awaited', async () => {
    const value = () => lazily(() => note('row'))
    await answerOf({ Query: { value } }, '{ value wait }', { value: 'row', wait: 'waited' })
    expect(times()).toBe(1)
  })

  it('where a mutation begins with it', async () => {
    const resolvers = { Mutation: { value: () => lazily(() => note('row')), wait, durable: wait } }
    await answerOf(resolvers, 'mutation { value wait }', { value: 'row', wait: 'waited' })
    await answerOf(resolvers, 'mutation { value durable }', { value: 'row', durable: 'waited' })
    expect(times()).toBe(2)
  })

  it('where it is a function that can be awaited', async () => {
    const value = () =>
      Object.assign(
        () => 'called',
        lazily(() => note('row')),
      )
    await answerOf({ Query: { value } }, '{ value wait }', { value: 'row', wait: 'waited' })
    expect(times()).toBe(1)
  })

  it('where it is a promise of a class of its own', async () => {
    class Late extends Promise<unknown> {
      // oxlint-disable-next-line unicorn/no-thenable -- what this is about
      override then(...handlers: unknown[]): never {
        note('then')
        return Promise.resolve('late').then(...(handlers as [])) as never
      }
    }
    await answerOf({ Query: { value: () => new Late(() => {}) } }, '{ value wait }', { value: 'late', wait: 'waited' })
    expect(times()).toBe(1)
  })

  it('where it fails, at once or later', async () => {
    const server = world().serve(
      serverOf({
        Query: {
          inners: () => [{ a: lazily(() => note(Promise.reject(new Error('later')))) }],
          inner: () => ({
            // oxlint-disable-next-line unicorn/no-thenable -- what this is about
            a: { then: () => { note('now'); throw new Error('at once') } }, // prettier-ignore
          }),
        },
      }),
    )
    const { runId } = await server.ask('{ inner { a } inners { a } wait }')
    const { result } = await server.finish(runId)
    expect(result).toMatchObject({ data: { inner: { a: null }, inners: [{ a: null }], wait: 'waited' } })
    expect((result as any).errors.map(({ path }: any) => path.join('.'))).toEqual(['inner.a', 'inners.0.a'])
    expect(times()).toBe(2)
  })

  it('below the root: of a resolver, a property, a getter and a method', async () => {
    const source = () => ({
      a: lazily(() => note('property')),
      get b() {
        return note('read') && Promise.resolve('getter')
      },
      list: () => [lazily(() => note('method'))],
    })
    await answerOf(
      { Query: { inner: source }, Inner: { inners: () => lazily(() => [{ a: note('resolver') }]) } },
      '{ inner { a b list inners { a } } wait }',
      { inner: { a: 'property', b: 'getter', list: ['method'], inners: [{ a: 'resolver' }] }, wait: 'waited' },
    )
    expect(world().log.toSorted()).toEqual(['method', 'property', 'read', 'resolver'])
  })

  it('where a field has graphql’s own default resolver by name', async () => {
    const inner = () => ({ a: lazily(() => note('a')), b: () => lazily(() => note('b')) })
    // Schemas in code do so; those that are made from SDL leave it out.
    const byName = ({ schema }: any): void => {
      const { a, b } = schema.getType('Inner').getFields()
      if (!a.resolve) for (const field of [a, b]) field.resolve = defaultFieldResolver
    }
    const server = world().serve({ ...serverOf({ Query: { inner } }), plugins: [{ onSchemaChange: byName }] })
    const { runId } = await server.ask('{ inner { a b } wait }')
    expect((await server.finish(runId)).result).toEqual({ data: { inner: { a: 'a', b: 'b' }, wait: 'waited' } })
    expect(times()).toBe(2)
  })

  it('where the server has a default resolver of its own', async () => {
    const fieldResolver: Resolver = (source, _args, _context, { fieldName }) => lazily(() => note(source[fieldName]))
    const server = world().serve({
      ...serverOf({ Query: { inner: () => ({ a: 'a', list: ['b'] }) } }),
      plugins: [{ onExecute: ({ args }: any) => void (args.fieldResolver = fieldResolver) }],
      durable: { hold: '1m' },
    })
    const answer = await server.ask('{ inner { a list } go: wait }')
    expect(answer.data).toEqual({ inner: { a: 'a', list: ['b'] }, go: 'waited' })
    expect(times()).toBe(2)
  })

  it('in a list, a list of lists, and where a promise gives the list', async () => {
    const row = (name: string) => lazily(() => note(name))
    await answerOf(
      {
        Query: {
          values: () => [row('a'), 1, row('b')],
          nested: async () => [[row('c')], lazily(() => [row('d')])],
          inners: () => lazily(() => [{ list: [row('e')] }, row('f')]),
        },
      },
      '{ values nested inners { list } wait }',
      { values: ['a', 1, 'b'], nested: [['c'], ['d']], inners: [{ list: ['e'] }, { list: null }], wait: 'waited' },
    )
    expect(world().log.toSorted()).toEqual(['a', 'b', 'c', 'd', 'e', 'f'])
  })

  it('where it is a generator, also one that a source holds', async () => {
    function* three() {
      for (let n = 1; n <= 3; n++) yield note(n)
    }
    await answerOf(
      { Query: { values: three, inner: () => ({ list: three() }), nested: async () => [three(), new Set([7])] } },
      '{ values inner { list } nested wait }',
      { values: [1, 2, 3], inner: { list: [1, 2, 3] }, nested: [[1, 2, 3], [7]], wait: 'waited' },
    )
    expect(times()).toBe(9)
  })

  it('where it is an asynchronous iterable, also one that a source holds', async () => {
    async function* two() {
      yield note('first')
      yield note('second')
    }
    await answerOf(
      {
        Query: { values: two, inner: () => ({ list: two() }), inners: async () => two() },
        Inner: { a: (item) => item },
      },
      '{ values inner { list } inners { a } wait }',
      {
        values: ['first', 'second'],
        inner: { list: ['first', 'second'] },
        inners: [{ a: 'first' }, { a: 'second' }],
        wait: 'waited',
      },
    )
    expect(times()).toBe(6)
  })

  it('and a JSON scalar holds whatever it holds', async () => {
    const server = world().serve(serverOf({ Query: { value: () => ({ list: [1, { deep: new Set([1]) }] }) } }))
    const answer = await server.ask('{ value }')
    expect(answer.data).toEqual({ value: { list: [1, { deep: {} }] } })
  })
})

overStores('what a resolver returned and did not await', (world) => {
  /** Answered within `hold`, parked, and finished by the event. */
  async function deferredAt(resolvers: Resolvers, query: string) {
    const server = world().serve({ ...serverOf(resolvers), durable: { hold: '200ms', deferAfter: '1h' } })
    const before = world().now()
    const answer = await server.ask(query)
    expect(world().now() - before).toBeLessThan(1000)
    expect(answer.status).toBe(202)
    await world().advance('2s')
    const parks = () => server.commits.filter(({ next }) => next.kind === 'park')
    expect(parks()).toHaveLength(1)
    // A wait is settled by an event of its own.
    for (let n = 0; n < 4; n++) await world().until(server.durable.send({ name: 'go' }))
    const run = await server.finish(answer.runId)
    const pending = (answer.errors ?? []).map(({ path }) => path.join('.'))
    return { data: answer.data, pending, result: run.result, steps: run.steps.map(({ id }) => id) }
  }
  const event = { event: 'go' }

  it('is pending at its own path: properties', async () => {
    const answer = await deferredAt(
      {
        Query: {
          inner: (_source, _args, { step }) => ({
            a: step.run('a', () => 'A'),
            b: step.waitForEvent('b', event).then(() => 'B'),
          }),
          value: () => 1,
        },
      },
      '{ inner { a b } value }',
    )
    expect(answer).toEqual({
      data: { inner: { a: 'A', b: null }, value: 1 },
      pending: ['inner.b'],
      result: { data: { inner: { a: 'A', b: 'B' }, value: 1 } },
      steps: ['inner>a', 'inner>b'],
    })
  })

  it('is pending at its own path: items, and items of items', async () => {
    const answer = await deferredAt(
      {
        Query: {
          values: (_source, _args, { step }) => [
            step.run('a', () => 'A'),
            step.waitForEvent('b', event).then(() => 'B'),
          ],
          nested: async (_source, _args, { step }) => [['c'], [step.waitForEvent('d', event).then(() => 'D')]],
          inners: (_source, _args, { step }) => [{ a: 1 }, { b: step.waitForEvent('e', event).then(() => 'E') }],
        },
      },
      '{ values nested inners { a b } }',
    )
    expect(answer.data).toEqual({
      values: ['A', null],
      nested: [['c'], [null]],
      inners: [
        { a: 1, b: null },
        { a: null, b: null },
      ],
    })
    expect(answer.pending.toSorted()).toEqual(['inners.1.b', 'nested.1.0', 'values.1'])
    expect(answer.result).toMatchObject({ data: { values: ['A', 'B'], nested: [['c'], ['D']] } })
  })

  it('is pending at its own path: what an asynchronous generator comes to next', async () => {
    const answer = await deferredAt(
      {
        Query: {
          values: async function* (_source: any, _args: any, { step }: any) {
            yield await step.run('a', () => 'A')
            yield await step.waitForEvent('b', event).then(() => 'B')
          } as never,
          value: () => 1,
        },
      },
      '{ values value }',
    )
    expect(answer.data).toEqual({ values: ['A', null], value: 1 })
    expect(answer.pending).toEqual(['values.1'])
    expect(answer.result).toEqual({ data: { values: ['A', 'B'], value: 1 } })
  })

  it('is pending at its own path: what methods and resolvers further down get from the source', async () => {
    const answer = await deferredAt(
      {
        Query: {
          inner: (_source, _args, { step }) => ({
            a: () => step.waitForEvent('a', event).then(() => 'A'),
            load: () => step.waitForEvent('b', event).then(() => 'B'),
            list: ['plain'],
          }),
        },
        Inner: { b: (source) => source.load() },
      },
      '{ inner { a b list } }',
    )
    expect(answer.data).toEqual({ inner: { a: null, b: null, list: ['plain'] } })
    expect(answer.pending).toEqual(['inner.a', 'inner.b'])
    expect(answer.result).toEqual({ data: { inner: { a: 'A', b: 'B', list: ['plain'] } } })
  })

  it('is known to be pending where its first step comes later', async () => {
    const answer = await deferredAt(
      {
        Query: {
          inner: (_source, _args, { step }) => {
            const later = async (id: string) => {
              await new Promise((resolve) => setImmediate(resolve))
              await step.waitForEvent(id, event)
              return id
            }
            return { a: later('a'), list: [later('b')], load: () => later('c'), inners: () => [{ a: later('d') }] }
          },
          value: () => 1,
        },
        Inner: { b: (source) => source.load?.() },
      },
      '{ inner { a b list inners { a } } value }',
    )
    expect(answer.data).toEqual({ inner: { a: null, b: null, list: [null], inners: [{ a: null }] }, value: 1 })
    expect(answer.pending.toSorted()).toEqual(['inner.a', 'inner.b', 'inner.inners.0.a', 'inner.list.0'])
    expect(answer.result).toEqual({ data: { inner: { a: 'a', b: 'c', list: ['b'], inners: [{ a: 'd' }] }, value: 1 } })
  })

  it('comes out the same in another process', async () => {
    const options = serverOf({
      Query: {
        inner: (_source, _args, { step }) => ({
          a: step.run('a', () => (world().log.push('a'), 'A')),
          list: ['b', 'c'].map((id) => step.sleep(id, '1m').then(() => id)),
        }),
      },
    })
    const first = world().serve(options)
    const { runId } = await first.ask('{ inner { a list } }')
    first.kill()
    const run = await world().serve(options).finish(runId)
    expect(run.result).toEqual({ data: { inner: { a: 'A', list: ['b', 'c'] } } })
    expect(world().log).toEqual(['a'])
  })
})
