import { createSchema, createYoga } from 'graphql-yoga'
import { GraphQLError } from 'graphql'
import { afterEach, describe, expect, it } from 'vitest'
import { useDurable } from '../../plugins/yoga.ts'
import { durableTypeDefs } from '../../schema/index.ts'
import { createDurable } from '../../src/index.ts'
import type { Durable, DurableContext } from '../../src/index.ts'
import { memoryStore } from '../../src/memory.ts'
import { StoreError } from '../../src/store/store.ts'
import type { Store } from '../../src/store/store.ts'
import { createTestClock } from '../../src/testing.ts'
import type { TestClock } from '../../src/testing.ts'

/* What the campaign has found, as the smallest tests that show it. */

const opened: Durable[] = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((durable) => durable.close()))
})

type Answer = { readonly data?: unknown; readonly errors?: unknown; readonly extensions?: { readonly runId: string } }

function serve(store: Store, clock: TestClock, log: string[] = []) {
  const durable = createDurable({ store, clock, hold: 0, onWarning: () => {} })
  opened.push(durable)
  const schema = createSchema<DurableContext>({
    typeDefs: [
      durableTypeDefs,
      'type Query { ok: Boolean } type Mutation { fail: String approve: String nap: String get: String }',
    ],
    resolvers: {
      Mutation: {
        fail: async (_root, _args, { step }) => {
          await step.run('try', () => 1)
          throw new GraphQLError('Refused.')
        },
        get: (_root, _args, { step }) => step.run('get', () => void log.push('get')),
        nap: async (_root, _args, { step }) => {
          await step.sleep('nap', '5s')
          return step.run('get up', () => void log.push('get up'))
        },
        approve: async (_root, _args, { step }) =>
          (await step.waitForEvent<string>('approval', { event: 'approved' }))?.data,
      },
    },
  })
  const yoga = createYoga({ schema, plugins: [useDurable(durable)], logging: false })
  const post = async (query: string): Promise<Answer> => {
    const response = await yoga.fetch('http://localhost/graphql', {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': '"key"' },
      body: JSON.stringify({ query }),
    })
    return (await response.json()) as Answer
  }
  return { durable, post }
}

/** The store has a clock of its own, as a database server has. */
function withClock(store: Store, clock: TestClock, opens: Promise<void>): Store {
  return {
    name: store.name,
    connect: async (options) => {
      await opens
      return store.connect({ ...options, clock })
    },
  }
}

describe('the campaign found that', () => {
  it('a request that joined a run by its key lost where its errors had been located (I7)', async () => {
    const { post } = serve(memoryStore(), createTestClock())
    const query = 'mutation {\n  fail\n}'
    const first = await post(query)
    expect(first).toMatchObject({ errors: [{ message: 'Refused.', locations: [{ line: 2, column: 3 }] }] })
    expect(await post(query)).toEqual(first)
  })

  it('the first run of a process whose clock is fast began in the future, and missed its event for ever (I6)', async () => {
    const clock = createTestClock()
    const storeClock = createTestClock({ now: clock.now() - 5 * 60_000 })
    let open = (): void => {}
    const opens = new Promise<void>((resolve) => (open = resolve))
    const { durable, post } = serve(withClock(memoryStore(), storeClock, opens), clock)
    // Before the store is open, and so before its clock is known.
    const answer = post('mutation { approve }')
    await clock.settle()
    open()
    const { extensions } = await answer
    await durable.send({ name: 'approved', data: 'yes' })
    await clock.advance('3s')
    const run = await durable.runs.get(extensions?.runId ?? '')
    expect(run?.result).toMatchObject({ data: { approve: 'yes' } })
  })

  it('a process that was closed while it was opening its store stayed, and held leases (I4)', async () => {
    const clock = createTestClock()
    const store = memoryStore()
    let open = (): void => {}
    const opens = new Promise<void>((resolve) => (open = resolve))
    const sessions: { closed: boolean }[] = []
    const slow: Store = {
      name: 'slow',
      connect: async (options) => {
        await opens
        const session = await store.connect(options)
        const seen = { closed: false }
        sessions.push(seen)
        return { ...session, close: () => ((seen.closed = true), session.close()) }
      },
    }
    const durable = createDurable({ store: slow, clock, onWarning: () => {} })
    const started = durable.start().catch((error: Error) => error.message)
    const closed = durable.close()
    await clock.settle()
    open()
    await closed
    expect(await started).toMatch('closed')
    expect(sessions).toEqual([{ closed: true }])
    expect(clock.pending).toBe(0)
  })

  it('a process started steps for as long as its lease, though its store gives up on it sooner (I2)', async () => {
    const clock = createTestClock()
    const log: string[] = []
    const store = memoryStore()
    let away = false
    const impatient: Store = {
      name: 'impatient',
      connect: async (options) => {
        const session = await store.connect(options)
        const beat = async () => {
          if (away) throw new StoreError('transient', 'Its liveness connection was cut.')
          return { ...(await session.beat()), goodForMs: 1_500 }
        }
        return { ...session, beat }
      },
    }
    const { durable, post } = serve(impatient, clock, log)
    const { extensions } = await post('mutation { nap }')
    await clock.advance('3s')
    away = true
    await clock.advance('3s')
    expect(log).toEqual([]) // by now others may have taken the run over, and the lease has 12 s to go
    away = false
    await clock.advance('2s')
    expect(log).toEqual(['get up'])
    expect((await durable.runs.get(extensions?.runId ?? ''))?.status).toBe('COMPLETED')
  })

  it('a process that was stopped while its first commit was on its way started a step of a run that was gone (I2)', async () => {
    const clock = createTestClock()
    const log: string[] = []
    const store = memoryStore()
    let stopped = false
    let deliver = (): void => {}
    const delivered = new Promise<void>((resolve) => (deliver = resolve))
    const stoppable: Store = {
      name: 'stoppable',
      connect: async (options) => {
        const session = await store.connect(options)
        return {
          ...session,
          commit: async (batch) => {
            const receipt = await session.commit(batch)
            if (batch.some(({ create }) => create)) await delivered
            return receipt
          },
          beat: async () => {
            if (stopped) throw new StoreError('transient', 'Nothing of it happens.')
            const receipt = await session.beat()
            // The answer that was waiting all the while is read before that of the beat.
            deliver()
            await new Promise((resolve) => setImmediate(resolve))
            return receipt
          },
        }
      },
    }
    const { post } = serve(stoppable, clock, log)
    stopped = true
    const answer = post('mutation { get }')
    await clock.advance('20s')
    const other = await store.connect({ processId: 'other', leaseMs: 15_000, clock })
    expect(await other.reap()).toBe(1)
    expect((await other.claim({ limit: 1, servers: ['default'] })).claimed).toHaveLength(1)
    stopped = false
    await clock.advance('4s')
    expect(log).toEqual([])
    await other.close()
    await clock.advance('10s')
    expect(log).toEqual(['get']) // given back, and claimed
    await answer
  })
})
