import { createSchema, createYoga } from 'graphql-yoga'
import { afterEach, describe, expect, it } from 'vitest'
import { useDurable } from '../../plugins/yoga.ts'
import { durableTypeDefs } from '../../schema/index.ts'
import { createDurable } from '../../src/index.ts'
import type { DurableContext } from '../../src/index.ts'
import { memoryStore } from '../../src/memory.ts'
import type { Durable } from '../../src/index.ts'
import type { Store } from '../../src/store/store.ts'

interface Answer {
  readonly status: number
  readonly body: {
    data?: Record<string, unknown> | null
    errors?: { message: string; extensions?: { code?: string } }[]
    extensions?: { runId?: string }
  }
}

const opened: Durable[] = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((durable) => durable.close()))
})

function server(store: Store = memoryStore(), hold = '1s') {
  const calls: string[] = []
  const durable = createDurable({
    store,
    hold,
    owner: (context: { request: Request }) => context.request.headers.get('x-user'),
    onWarning: () => {},
  })
  opened.push(durable)
  const schema = createSchema<DurableContext>({
    typeDefs: [
      durableTypeDefs,
      /* GraphQL */ `
        type Query {
          ok: Boolean
        }
        type Mutation {
          pay(amount: Int): String
          plain: String
          approve: String
          fail: String
        }
      `,
    ],
    resolvers: {
      Mutation: {
        pay: async (_root, { amount }: { amount: number }, { step }) =>
          step.run('pay', async ({ runId }) => {
            calls.push(`pay ${amount}`)
            await new Promise((resolve) => setTimeout(resolve, 20))
            return `paid ${amount} ${runId.slice(0, 4)}`
          }),
        plain: () => {
          calls.push('plain')
          return 'plain'
        },
        approve: async (_root, _args, { step }) => {
          calls.push('approve')
          const event = await step.waitForEvent<{ by: string }>('approval', { event: 'approved' })
          return `by ${event?.data.by}`
        },
        fail: () => {
          calls.push('fail')
          throw new Error('secret')
        },
      },
    },
  })
  const yoga = createYoga({ schema, plugins: [useDurable(durable)], logging: false })
  const send = async (query: string, headers: Record<string, string> = {}): Promise<Answer> => {
    const response = await yoga.fetch('http://localhost/graphql', {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ query }),
    })
    return { status: response.status, body: (await response.json()) as Answer['body'] }
  }
  return { send, calls, durable }
}

const key = (value: string, user = 'ada') => ({ 'idempotency-key': `"${value}"`, 'x-user': user })

describe('Idempotency-Key', () => {
  it('runs an operation that comes again once, and answers it the same', async () => {
    const { send, calls } = server()
    const first = await send('mutation { pay(amount: 5) }', key('k1'))
    const second = await send('mutation { pay(amount: 5) }', key('k1'))
    expect(first).toMatchObject({ status: 200, body: { data: { pay: 'paid 5 run_' } } })
    expect(second).toEqual(first)
    expect(calls).toEqual(['pay 5'])
  })

  it('starts one run for requests that come at the same time, also from several processes', async () => {
    const store = memoryStore()
    const one = server(store)
    const other = server(store)
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => (i % 2 ? one : other).send('mutation { pay(amount: 5) }', key('k1'))),
    )
    for (const answer of answers) expect(answer.body.data).toEqual({ pay: 'paid 5 run_' })
    expect([...one.calls, ...other.calls]).toEqual(['pay 5'])
  })

  it('holds for operations without steps as well', async () => {
    const { send, calls } = server()
    await send('mutation { plain }', key('k1'))
    expect((await send('mutation { plain }', key('k1'))).body).toEqual({ data: { plain: 'plain' } })
    expect(calls).toEqual(['plain'])
  })

  it('answers a failure again as it was, masked', async () => {
    const { send, calls } = server()
    const first = await send('mutation { fail }', key('k1'))
    const second = await send('mutation { fail }', key('k1'))
    expect(first.body.errors?.[0]?.message).toBe('Unexpected error.')
    expect(second.body.errors?.[0]?.message).toBe('Unexpected error.')
    expect(calls).toEqual(['fail'])
  })

  it('refuses another operation under the key with 422', async () => {
    const { send, calls } = server()
    await send('mutation { pay(amount: 5) }', key('k1'))
    const other = await send('mutation { pay(amount: 6) }', key('k1'))
    expect(other.status).toBe(422)
    expect(other.body.errors?.[0]?.extensions?.code).toBe('DURABLE_IDEMPOTENCY_CONFLICT')
    expect(calls).toEqual(['pay 5'])
  })

  it('is scoped by owner', async () => {
    const { send, calls } = server()
    await send('mutation { pay(amount: 5) }', key('k1', 'ada'))
    await send('mutation { pay(amount: 6) }', key('k1', 'bob'))
    expect(calls).toEqual(['pay 5', 'pay 6'])
  })

  it('joins a run that is still waiting, with its deferred payload, and with its result later', async () => {
    const { send, calls, durable } = server(memoryStore(), '50ms')
    const first = await send('mutation { approve }', key('k1'))
    const second = await send('mutation { approve }', key('k1'))
    expect(first.status).toBe(202)
    expect(second.status).toBe(202)
    expect(second.body.extensions?.runId).toBe(first.body.extensions?.runId)
    expect(second.body.errors?.[0]?.extensions?.code).toBe('DURABLE_DEFERRED')
    await durable.send({ name: 'approved', data: { by: 'Bob' } })
    await durable.runs.wait(first.body.extensions?.runId ?? '', { timeout: '5s' })
    expect((await send('mutation { approve }', key('k1'))).body).toEqual({ data: { approve: 'by Bob' } })
    expect(calls).toEqual(['approve'])
  })

  it('does not give those who have no owner, where runs have owners, each other’s answers, and executes nothing twice (I9)', async () => {
    const { send, calls } = server(memoryStore(), '50ms')
    const anonymous = { 'idempotency-key': 'k1' }
    const first = await send('mutation { approve }', anonymous)
    expect(first.status).toBe(202)
    const answers = [
      await send('mutation { approve }', anonymous),
      await send('mutation { pay(amount: 6) }', anonymous),
      await send('mutation { pay(amount: 5) }', { 'idempotency-key': 'k2' }),
      await send('mutation { pay(amount: 5) }', { 'idempotency-key': 'k2' }),
    ]
    expect(answers.map(({ status }) => status)).toEqual([422, 422, 200, 422])
    expect(answers[0]).toEqual(answers[1])
    expect(answers[0]?.body.errors?.[0]?.extensions?.code).toBe('DURABLE_IDEMPOTENCY_CONFLICT')
    expect(JSON.stringify(answers[0])).not.toContain(first.body.extensions?.runId)
    expect(JSON.stringify(answers[3])).not.toContain('paid')
    expect(calls).toEqual(['approve', 'pay 5'])
    // Those who have one are not touched by it.
    expect((await send('mutation { pay(amount: 5) }', key('k2'))).body.data).toEqual({ pay: 'paid 5 run_' })
  })

  it('makes no run of a query, such as a poll, that changes nothing', async () => {
    const { send, durable } = server()
    expect((await send('{ ok }', key('k1'))).body).toEqual({ data: { ok: null } })
    expect((await send('{ __typename }', key('k1'))).body).toEqual({ data: { __typename: 'Query' } })
    expect((await durable.runs.list()).runs).toEqual([])
  })

  it('refuses a key that is none with 400', async () => {
    const { send, calls } = server()
    const answer = await send('mutation { plain }', { 'idempotency-key': '""' })
    expect(answer.status).toBe(400)
    expect(calls).toEqual([])
  })

  /** A store whose reads do not know of runs for a while, as those of an old primary after a failover. */
  function withReadsOfThePast(store: Store, isPast: () => boolean): Store {
    return {
      name: store.name,
      async connect(options) {
        const session = await store.connect(options)
        const of = <T>(read: () => Promise<T>, past: T): Promise<T> => (isPast() ? Promise.resolve(past) : read())
        return Object.assign(Object.create(session) as typeof session, {
          read: (...args: Parameters<typeof session.read>) => of(() => session.read(...args), null),
        })
      },
    }
  }

  it('is no conflict where the run of the key cannot be seen for a moment: it is looked for again', async () => {
    let isPast = false
    const { send, calls } = server(withReadsOfThePast(memoryStore(), () => isPast))
    const first = await send('mutation { pay(amount: 1) }', key('k'))
    isPast = true
    setTimeout(() => (isPast = false), 200)
    const again = await send('mutation { pay(amount: 1) }', key('k'))
    expect(again.body).toEqual(first.body)
    expect(calls).toEqual(['pay 1'])
  })

  it('is the store’s fault where its run cannot be seen for long, and never a conflict', async () => {
    let isPast = false
    const { send } = server(
      withReadsOfThePast(memoryStore(), () => isPast),
      '100ms',
    )
    await send('mutation { pay(amount: 1) }', key('k'))
    isPast = true
    const again = await send('mutation { pay(amount: 1) }', key('k'))
    expect(again.body.errors?.map((error) => error.extensions?.code)).toEqual(['DURABLE_STORE_UNAVAILABLE'])
  })

  it('tells nobody to follow a run that was deleted while it was waited for: the key is free, and the operation is executed', async () => {
    const store = memoryStore()
    const first = server(store, '0s')
    const { body } = await first.send('mutation { approve }', key('k'))
    const runId = body.extensions?.runId ?? ''
    const { durable } = first
    let remove = async (): Promise<void> => {
      remove = () => Promise.resolve()
      await durable.runs.cancel(runId)
      await durable.runs.delete(runId)
    }
    const second = server(
      {
        name: store.name,
        async connect(options) {
          const session = await store.connect(options)
          return Object.assign(Object.create(session) as typeof session, {
            peek: async (runIds: readonly string[]) => {
              await remove()
              return session.peek(runIds)
            },
          })
        },
      },
      '500ms',
    )
    const joined = await second.send('mutation { approve }', key('k'))
    const newId = joined.body.extensions?.runId ?? ''
    expect(newId).not.toBe(runId)
    expect(await second.durable.runs.get(newId)).not.toBeNull()
    expect([...first.calls, ...second.calls]).toEqual(['approve', 'approve'])
  })
})
