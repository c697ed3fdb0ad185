import { GraphQLError } from 'graphql'
import { expect, it } from 'vitest'
import type { Step } from '../../src/index.ts'
import { deferred, oneField, overStores } from './world.ts'
import type { Answer, Server } from './world.ts'

type Context = { step: Step }

/** What stands at which path. */
function entries(answer: Answer): [string, string | undefined][] {
  return (answer.errors ?? []).map(({ path, extensions }) => [path?.join('.') ?? '', extensions?.code])
}

const nap = async (_source: unknown, _args: unknown, { step }: Context) => {
  await step.sleep('nap', '30s')
  return 'rested'
}

const typeDefs = /* GraphQL */ `
  type Person {
    name: String
    nap: String
    napStrictly: String!
    friend: Person
    friends: [Person]
    broken: String
  }
  union Found = Person | Place
  type Place {
    city: String
    nap: String
  }
  type Query {
    me: Person
    people: [Person]
    find: [Found]
    nap: String
    strict: String!
    fast: String
    slow: String
    broken: String
  }
`
const person = (id: string): Record<string, unknown> => ({ __typename: 'Person', id, name: `name of ${id}` })

function people(log: string[] = []) {
  return {
    typeDefs,
    resolvers: {
      Query: {
        me: () => (log.push('me'), person('ada')),
        people: () => (log.push('people'), [person('ada'), null, person('bob')]),
        find: () => [person('ada'), { __typename: 'Place', city: 'Paris' }],
        nap,
        strict: nap,
        fast: async () => (log.push('fast'), 'fast'),
        slow: (_s: unknown, _a: unknown, { step }: Context) => step.run('slow', () => 'slow'),
        broken: () => {
          throw new GraphQLError('broken', { extensions: { code: 'BROKEN' } })
        },
      },
      Person: {
        friend: ({ id }: { id: string }) => person(`${id}'s friend`),
        friends: ({ id }: { id: string }) => [person(`${id}-1`), person(`${id}-2`)],
        nap,
        napStrictly: nap,
        broken: () => {
          throw new GraphQLError('broken', { extensions: { code: 'BROKEN' } })
        },
      },
      Place: { nap },
    },
  }
}

async function resultOf(server: Server, answer: Answer) {
  return (await server.finish(answer.runId)).result
}

overStores('the deferred payload', (world) => {
  it('has what does not wait, and an entry for each field that does', async () => {
    const server = world().serve(people(world().log))
    const answer = await server.ask('{ fast nap slow me { name nap } broken }')
    expect(answer).toMatchObject({
      status: 202,
      data: { fast: 'fast', nap: null, slow: 'slow', me: { name: 'name of ada', nap: null }, broken: null },
    })
    expect(entries(answer).toSorted()).toEqual([
      ['broken', 'BROKEN'],
      ['me.nap', 'DURABLE_DEFERRED'],
      ['nap', 'DURABLE_DEFERRED'],
    ])
    expect(
      answer.extensions.durable.waitingOn.map(({ path }: { path: string[] }) => path.join('.')).toSorted(),
    ).toEqual(['me.nap', 'nap'])
    const result = await resultOf(server, answer)
    expect(result).toMatchObject({
      data: { fast: 'fast', nap: 'rested', slow: 'slow', me: { name: 'name of ada', nap: 'rested' }, broken: null },
      errors: [{ message: 'broken', path: ['broken'], extensions: { code: 'BROKEN' } }],
    })
    expect(result?.errors).toHaveLength(1)
    // Root fields were not called again for the background pass.
    expect(world().log).toEqual(['fast', 'me'])
  })

  it('is partial at any depth, in lists as well, with the paths of the response', async () => {
    const server = world().serve(people())
    const answer = await server.ask('{ people { friends { friend { name nap } } } }')
    const friend = (id: string, rest: string | null) => ({ friend: { name: `name of ${id}'s friend`, nap: rest } })
    const all = (rest: string | null) => ({
      people: [
        { friends: [friend('ada-1', rest), friend('ada-2', rest)] },
        null,
        { friends: [friend('bob-1', rest), friend('bob-2', rest)] },
      ],
    })
    expect(answer.data).toEqual(all(null))
    expect(entries(answer).map(([path]) => path)).toEqual(
      ['0.friends.0', '0.friends.1', '2.friends.0', '2.friends.1'].map((at) => `people.${at}.friend.nap`),
    )
    expect(await resultOf(server, answer)).toEqual({ data: all('rested') })
  })

  it('lets nulls propagate as the executor does', async () => {
    const server = world().serve(people())
    const answer = await server.ask('{ fast people { name napStrictly } }')
    expect(answer.data).toEqual({ fast: 'fast', people: [null, null, null] })
    expect(entries(answer)).toEqual([
      ['people.0.napStrictly', 'DURABLE_DEFERRED'],
      ['people.2.napStrictly', 'DURABLE_DEFERRED'],
    ])
    const strictly = await server.ask('{ fast strict }')
    expect(strictly).toMatchObject({ status: 202, data: null })
    expect(entries(strictly)).toEqual([['strict', 'DURABLE_DEFERRED']])
    expect(await resultOf(server, answer)).toMatchObject({ data: { people: [{ napStrictly: 'rested' }, null, {}] } })
    expect(await resultOf(server, strictly)).toEqual({ data: { fast: 'fast', strict: 'rested' } })
  })

  it('respects aliases, fragments, unions, @skip, @include and __typename; the result as well, hot and cold', async () => {
    const query = /* GraphQL */ `
      query Everything($yes: Boolean!, $no: Boolean = false) {
        __typename
        first: nap
        second: nap @include(if: $yes)
        third: nap @skip(if: $yes)
        ...More
        ... on Query {
          fast @include(if: $no)
          slow
        }
        find {
          __typename
          ... on Person {
            name
            n: nap
          }
          ...Town
        }
      }
      fragment More on Query {
        me {
          who: name
          ...Deep
        }
      }
      fragment Deep on Person {
        rest: nap
        again: nap @skip(if: $no)
      }
      fragment Town on Place {
        city
        nap
      }
    `
    const data = (rest: string | null) => ({
      __typename: 'Query',
      first: rest,
      second: rest,
      me: { who: 'name of ada', rest, again: rest },
      slow: 'slow',
      find: [
        { __typename: 'Person', name: 'name of ada', n: rest },
        { __typename: 'Place', city: 'Paris', nap: rest },
      ],
    })
    const first = world().serve(people())
    const hot = await first.ask(query, { yes: true })
    expect(hot.data).toEqual(data(null))
    expect(
      entries(hot)
        .map(([path]) => path)
        .toSorted(),
    ).toEqual(['find.0.n', 'find.1.nap', 'first', 'me.again', 'me.rest', 'second'])
    expect(await resultOf(first, hot)).toEqual({ data: data('rested') })
    const cold = await first.ask(query, { yes: true })
    first.kill()
    const run = await world().serve(people()).finish(cold.runId)
    expect(run).toMatchObject({ operationName: 'Everything', result: { data: data('rested') } })
  })

  it('strips @defer and @stream from what is made in the background', async () => {
    const server = world().serve({
      ...people(),
      typeDefs: `directive @defer(if: Boolean, label: String) on FRAGMENT_SPREAD | INLINE_FRAGMENT\n${typeDefs}`,
    })
    const answer = await server.ask('{ nap me { ... on Person @defer { name } } }')
    expect(await resultOf(server, answer)).toEqual({ data: { nap: 'rested', me: { name: 'name of ada' } } })
  })

  it('keeps a field that ends in time: what is rejected is that which the executor awaits, and no more', async () => {
    const late = deferred<string>()
    const server = world().serve({
      typeDefs: 'type Query { nap: String late: String }',
      resolvers: { Query: { nap, late: () => late.promise } },
    })
    const asked = server.send('{ nap late }')
    await world().advance('2s')
    late.resolve('late, and in time')
    const answer = await world().until(asked)
    expect(answer.data).toEqual({ nap: null, late: 'late, and in time' })
    expect(await resultOf(server, answer)).toEqual({ data: { nap: 'rested', late: 'late, and in time' } })
  })

  it('says what a field waits for that waits below another one', async () => {
    const options = {
      typeDefs: 'scalar Any type Query { box: Any }',
      resolvers: {
        Query: {
          box: async (_s: unknown, _a: unknown, { step }: Context) =>
            Promise.all([
              step.sleep('a', '30s'),
              step.waitForEvent('b', { event: 'b', timeout: '40s' }),
              step.run('c', () => new Promise((resolve) => server.clock.setTimeout(() => resolve('c'), 50_000))),
            ]),
        },
      },
    }
    const server = world().serve(options)
    const answer = await server.ask('{ box }')
    expect(answer.extensions.durable.status).toBe('RUNNING')
    expect(answer.extensions.durable.waitingOn).toMatchObject([
      { step: 'a', kind: 'SLEEP', path: ['box'] },
      { step: 'b', kind: 'EVENT', event: 'b', path: ['box'] },
    ])
    expect(await resultOf(server, answer)).toEqual({ data: { box: [null, null, 'c'] } })
  })
})

overStores('a resolver that is deferred', (world) => {
  it('is not unwound, and goes on with what it had: nothing of it runs again', async () => {
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        const local = { n: world().log.push('began') }
        try {
          await step.sleep('nap', '30s')
          world().log.push('woke')
          return { local, value: await step.run('after', () => 'value') }
        } catch (error) {
          world().log.push(`caught ${String(error)}`)
          throw error
        } finally {
          world().log.push('finally')
        }
      }),
    )
    const answer = await server.ask('{ go }')
    expect(world().log).toEqual(['began'])
    expect(await resultOf(server, answer)).toEqual({ data: { go: { local: { n: 1 }, value: 'value' } } })
    expect(world().log).toEqual(['began', 'woke', 'finally'])
  })

  it('may fail later: the error is in the result, masked as a synchronous client would have got it (I7)', async () => {
    const fail =
      (error: () => Error) =>
      async (_s: unknown, _a: unknown, { step }: Context) => {
        await step.sleep('nap', '30s')
        throw error()
      }
    const options = {
      typeDefs: 'type Query { secret: String open: String }',
      resolvers: {
        Query: {
          secret: fail(() => new Error('the password is 123')),
          open: fail(() => new GraphQLError('no such cart', { extensions: { code: 'NOT_FOUND', cart: 7 } })),
        },
      },
    }
    const expected = {
      data: { secret: null, open: null },
      errors: [
        { message: 'Unexpected error.', path: ['secret'], extensions: { code: 'INTERNAL_SERVER_ERROR' } },
        { message: 'no such cart', path: ['open'], extensions: { code: 'NOT_FOUND', cart: 7 } },
      ],
    }
    const first = world().serve(options)
    const hot = await first.ask('{ secret open }')
    const cold = await first.ask('{ secret open }')
    const run = await first.finish(hot.runId)
    expect(run.result).toMatchObject(expected)
    expect(run.status).toBe('FAILED')
    const again = await first.ask('{ secret open }')
    first.kill()
    const second = world().serve(options)
    expect((await second.finish(again.runId)).result).toMatchObject(expected)
    expect((await second.finish(cold.runId)).result).toMatchObject(expected)
  })
})
