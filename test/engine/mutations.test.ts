import { GraphQLError } from 'graphql'
import { expect, it } from 'vitest'
import type { Step } from '../../src/index.ts'
import { oneField, overStores } from './world.ts'
import type { Answer, Resolver } from './world.ts'

type Context = { step: Step }

const codes = (answer: Answer) =>
  (answer.errors ?? []).map(({ path, extensions }) => `${path?.join('.')} ${extensions?.code}`)

function shop(log: string[]) {
  const note =
    (name: string, answer: unknown): Resolver =>
    (_source, { n }) => {
      log.push(n === undefined ? name : `${name} ${n}`)
      if (answer instanceof Error) throw answer
      return answer
    }
  return {
    typeDefs: /* GraphQL */ `
      type Receipt {
        id: ID
        lines(first: Int): [String]
        at: String
      }
      type Mutation {
        reserve(n: Int): Int
        checkout(n: Int): String @durable
        strict(n: Int): String! @durable
        named(n: Int): String @durable(id: "stable")
        receipt(n: Int): Receipt
        secret: String
        open: String
        steps(n: Int): Int
        wait: String
      }
      type Query {
        ok: Boolean
      }
    `,
    resolvers: {
      Mutation: {
        reserve: note('reserve', 7),
        receipt: note('receipt', { id: 'r1', lines: ['a', 'b'], at: 'noon' }),
        secret: note('secret', new Error('the password is 123')),
        open: note('open', new GraphQLError('sold out', { extensions: { code: 'SOLD_OUT' } })),
        ...Object.fromEntries(
          ['checkout', 'strict', 'named', 'wait'].map((name): [string, Resolver] => [
            name,
            async (_source, { n }, { step }) => {
              log.push(`${name} ${n}`)
              await step.run('charge', () => log.push(`charge ${n}`))
              await step.sleep('nap', '30s')
              return `${name} ${n}`
            },
          ]),
        ),
        steps: async (_s: unknown, { n }: { n: number }, { step }: Context) =>
          step.run('work', () => (log.push(`steps ${n}`), n)),
      },
    },
  }
}

overStores('a mutation with several root fields, one of them @durable', (world) => {
  it('keeps its order, and does not begin what follows a field that waits', async () => {
    const { log } = world()
    const server = world().serve(shop(log))
    const answer = await server.ask('mutation { a: reserve(n: 1) checkout(n: 2) b: reserve(n: 3) c: checkout(n: 4) }')
    expect(log).toEqual(['reserve 1', 'checkout 2', 'charge 2'])
    expect(answer).toMatchObject({ status: 202, data: { a: 7, checkout: null, b: null, c: null } })
    expect(codes(answer)).toEqual(['checkout DURABLE_DEFERRED', 'b DURABLE_DEFERRED', 'c DURABLE_DEFERRED'])
    const run = await server.finish(answer.runId)
    expect(run.result).toEqual({ data: { a: 7, checkout: 'checkout 2', b: 7, c: 'checkout 4' } })
    expect(log).toEqual(['reserve 1', 'checkout 2', 'charge 2', 'reserve 3', 'checkout 4', 'charge 4'])
  })

  it('executes no root field again that has finished and is committed: hot, and after each crash (I10)', async () => {
    const { log } = world()
    const query = 'mutation { a: reserve(n: 1) checkout(n: 2) b: reserve(n: 3) c: checkout(n: 4) d: reserve(n: 5) }'
    let server = world().serve(shop(log))
    const { runId } = await server.ask(query)
    for (let crash = 0; crash < 3; crash++) {
      server.kill()
      server = world().serve(shop(log))
      await world().advance('20s')
    }
    const run = await server.finish(runId)
    expect(run.result).toEqual({ data: { a: 7, checkout: 'checkout 2', b: 7, c: 'checkout 4', d: 7 } })
    expect(log.filter((line) => /reserve|charge/.test(line))).toEqual([
      'reserve 1',
      'charge 2',
      'reserve 3',
      'charge 4',
      'reserve 5',
    ])
  })

  it('carries the fields that finished before there was a run into its first commit (I10)', async () => {
    const { log } = world()
    const server = world().serve(shop(log))
    const { runId } = await server.ask('mutation { a: reserve(n: 1) receipt(n: 2) { id } checkout(n: 3) }')
    const [first] = server.commits
    expect(first?.create).not.toBeNull()
    expect(first?.outcomes.map(({ key, kind }) => `${kind} ${key}`)).toEqual([
      'FIELD a>',
      'FIELD receipt>',
      'RUN checkout>charge',
    ])
    server.kill()
    const run = await world().serve(shop(log)).finish(runId)
    expect(run.result).toEqual({ data: { a: 7, receipt: { id: 'r1' }, checkout: 'checkout 3' } })
    expect(log.filter((line) => /reserve|receipt/.test(line))).toEqual(['reserve 1', 'receipt 2'])
  })

  it('gives the errors of fields before the crash as it would have given them: masked, or as themselves (I7)', async () => {
    const { log } = world()
    const query = 'mutation { secret open receipt { id lines } checkout(n: 1) }'
    const expected = {
      data: { secret: null, open: null, receipt: { id: 'r1', lines: ['a', 'b'] }, checkout: 'checkout 1' },
      errors: [
        {
          message: 'Unexpected error.',
          path: ['secret'],
          locations: [{ line: 1, column: 12 }],
          extensions: { code: 'INTERNAL_SERVER_ERROR' },
        },
        { message: 'sold out', path: ['open'], locations: [{ line: 1, column: 19 }], extensions: { code: 'SOLD_OUT' } },
      ],
    }
    const first = world().serve(shop(log))
    const hot = await first.ask(query)
    expect(codes(hot)).toEqual(['secret INTERNAL_SERVER_ERROR', 'open SOLD_OUT', 'checkout DURABLE_DEFERRED'])
    expect((await first.finish(hot.runId)).result).toEqual(expected)
    const cold = await first.ask(query)
    first.kill()
    expect((await world().serve(shop(log)).finish(cold.runId)).result).toEqual(expected)
    expect(log.filter((line) => line === 'secret')).toHaveLength(2)
  })

  it('prunes what a field does not use: variables, fragments and directives stay right', async () => {
    const { log } = world()
    const query = /* GraphQL */ `
      mutation Shop($one: Int!, $two: Int = 22, $skip: Boolean = true, $first: Int) {
        reserve(n: $one)
        ...Rest
        reserve2: reserve(n: $two) @skip(if: $skip)
        __typename
      }
      fragment Rest on Mutation {
        receipt {
          ...Lines
        }
        checkout(n: $two)
        last: receipt {
          id
          ...Lines
        }
      }
      fragment Lines on Receipt {
        lines(first: $first)
        ...At
      }
      fragment At on Receipt {
        at
      }
    `
    const receipt = { lines: ['a', 'b'], at: 'noon' }
    const expected = {
      data: { reserve: 7, receipt, checkout: 'checkout 22', last: { id: 'r1', ...receipt }, __typename: 'Mutation' },
    }
    const first = world().serve(shop(log))
    const hot = await first.ask(query, { one: 1 })
    expect(hot.data).toEqual({ reserve: 7, receipt, checkout: null, last: null, __typename: 'Mutation' })
    expect((await first.finish(hot.runId)).result).toEqual(expected)
    const cold = await first.ask(query, { one: 1, first: 3 })
    first.kill()
    const run = await world().serve(shop(log)).finish(cold.runId)
    expect(run.result).toEqual(expected)
    expect(run.operationName).toBe('Shop')
  })

  it('merges selections of one field that come from several places', async () => {
    const server = world().serve(shop(world().log))
    const query = 'mutation { receipt { id } ...More checkout(n: 1) } fragment More on Mutation { receipt { at } }'
    const answer = await server.ask(query)
    expect(answer.data).toEqual({ receipt: { id: 'r1', at: 'noon' }, checkout: null })
    expect(world().log.filter((line) => line === 'receipt')).toHaveLength(1)
  })

  it('does not execute what follows a non-null field that failed, and gives entries for what has not begun', async () => {
    const { log } = world()
    const server = world().serve(shop(log))
    const answer = await server.ask('mutation { strict(n: 1) b: reserve(n: 2) }')
    expect(answer).toMatchObject({ status: 202, data: null })
    expect(codes(answer)).toEqual(['strict DURABLE_DEFERRED', 'b DURABLE_DEFERRED'])
    expect((await server.finish(answer.runId)).result).toEqual({ data: { strict: 'strict 1', b: 7 } })
    expect(log).toEqual(['strict 1', 'charge 1', 'reserve 2'])
  })

  it.each([
    ['larger than a step may be', () => 'x'.repeat(2000), 'x'.repeat(2000)],
    ['something that only JSON can tell', () => ({ price: { toJSON: () => '7.00', add: () => 1 } }), { price: '7.00' }],
  ])('keeps a finished response that is %s (I7, I10)', async (_what, give, expected) => {
    const options = {
      typeDefs: 'scalar Any type Mutation { give: Any wait: Int @durable } type Query { ok: Int }',
      resolvers: {
        Mutation: {
          give: () => (world().log.push('give'), give()),
          wait: (_s: unknown, _a: unknown, { step }: Context) => step.sleep('nap', '30s').then(() => 1),
        },
      },
      durable: { limits: { stepBytes: 1000 } },
    }
    const first = world().serve(options)
    const { runId } = await first.ask('mutation { give wait }')
    first.kill()
    expect((await world().serve(options).finish(runId)).result).toEqual({ data: { give: expected, wait: 1 } })
    expect(world().log).toEqual(['give'])
  })

  it('names fields by @durable(id:), and aliases of it apart', async () => {
    const { log } = world()
    const first = world().serve(shop(log))
    const { runId } = await first.ask('mutation { named(n: 1) other: named(n: 2) }')
    first.kill()
    const second = world().serve(shop(log))
    await world().advance('40s')
    second.kill()
    const third = world().serve(shop(log))
    const run = await third.finish(runId)
    expect(run.result).toEqual({ data: { named: 'named 1', other: 'named 2' } })
    expect(run.steps.filter(({ kind }) => kind === 'RUN').map(({ id }) => id)).toEqual([
      '@stable>charge',
      'other>charge',
    ])
    expect(log.filter((line) => /charge/.test(line))).toEqual(['charge 1', 'charge 2'])
  })
})

overStores('a mutation without @durable', (world) => {
  it('keeps its order, with an entry for each root field that has not begun', async () => {
    const { log } = world()
    const server = world().serve(shop(log))
    const answer = await server.ask('mutation { a: reserve(n: 1) wait b: reserve(n: 3) s: steps(n: 4) }')
    expect(answer).toMatchObject({ status: 202, data: { a: 7, wait: null, b: null, s: null } })
    expect(codes(answer)).toEqual(['wait DURABLE_DEFERRED', 'b DURABLE_DEFERRED', 's DURABLE_DEFERRED'])
    expect(log).toEqual(['reserve 1', 'wait undefined', 'charge undefined'])
    expect((await server.finish(answer.runId)).result).toEqual({ data: { a: 7, wait: 'wait undefined', b: 7, s: 4 } })
    // Hot, nothing was executed twice.
    expect(log).toEqual(['reserve 1', 'wait undefined', 'charge undefined', 'reserve 3', 'steps 4'])
  })

  it('calls resolvers again after a crash, but no step that was committed (I2)', async () => {
    const { log } = world()
    const first = world().serve(shop(log))
    const { runId } = await first.ask('mutation { a: reserve(n: 1) s: steps(n: 2) wait }')
    first.kill()
    const run = await world().serve(shop(log)).finish(runId)
    expect(run.result).toEqual({ data: { a: 7, s: 2, wait: 'wait undefined' } })
    expect(log.filter((line) => line === 'steps 2' || /charge/.test(line))).toHaveLength(2)
    expect(log.filter((line) => line === 'reserve 1')).toHaveLength(2)
  })
})

overStores('a query', (world) => {
  it('has no order: its fields wait side by side', async () => {
    const server = world().serve(
      oneField(async (_source, { n }, { step }) => {
        await step.sleep('nap', '30s')
        return n
      }),
    )
    const before = world().now()
    const { runId } = await server.ask('{ a: go(n: 1) b: go(n: 2) c: go(n: 3) }')
    expect((await server.finish(runId)).result).toEqual({ data: { a: 1, b: 2, c: 3 } })
    expect(world().now() - before).toBeLessThan(35_000)
  })
})
