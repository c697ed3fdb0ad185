import type { Plugin } from 'graphql-yoga'
import { describe, expect, it } from 'vitest'
import { createApp, useApps, YOGA_STACKS } from '../plugins/harness.ts'
import type { App, AppSpec } from '../plugins/harness.ts'

// A batch of operations in one request: under one key, and what there is of each in the answer.

useApps()

interface Entry {
  readonly query?: string
  readonly variables?: Record<string, unknown>
  readonly extensions?: Record<string, unknown>
}

const spec = (log: string[]): AppSpec => ({
  typeDefs:
    'type Query { a: Int } type Mutation { add(x: Int): String @durable wait(x: Int): String @durable fail: Int }',
  resolvers: {
    Query: { a: () => 1 },
    Mutation: {
      add: (_: unknown, { x }: { x: number }, { step }: any) => step.run('x', () => `${x}: ${log.push(`add ${x}`)}`),
      wait: async (_: unknown, { x }: { x: number }, { step }: any) => {
        await step.run('x', () => void log.push(`wait ${x}`))
        await step.sleep('nap', '1h')
        return 'rested'
      },
    },
  },
  batching: true,
  durable: { context: { capture: () => null }, hold: 0 },
})

async function batch(app: App, entries: readonly (Entry | string)[], key: string | null = 'k') {
  const body = entries.map((entry) => (typeof entry === 'string' ? { query: entry } : entry))
  const response = await app.fetch('/graphql', {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(key !== null && { 'idempotency-key': key }) },
    body: JSON.stringify(body),
  })
  const answers = (await response.json()) as any[]
  return {
    status: response.status,
    headers: response.headers,
    answers,
    data: answers.map(({ data }) => data),
    codes: answers.map(({ errors }) => errors?.[0]?.extensions?.code),
    runIds: answers.map(({ extensions }) => extensions?.runId),
  }
}

const add = (x: number) => `mutation { add(x: ${x}) }`
const wait = (x: number) => `mutation { wait(x: ${x}) }`

describe.each(YOGA_STACKS)('a batch over $store, under one key', (stack) => {
  it('executes each of its operations, and joins each to its own run when it comes again', async () => {
    const log: string[] = []
    const app = await createApp(stack, spec(log))
    const one = await batch(app, [add(1), '{ a }', add(2)])
    expect(one.data.map(({ add: added, a }) => a ?? added[0])).toEqual(['1', 1, '2'])
    expect(log.toSorted()).toEqual(['add 1', 'add 2'])
    const again = await batch(app, [add(1), '{ a }', add(2)])
    expect(again.data).toEqual(one.data)
    expect(log).toHaveLength(2)
  })

  it('executes the same operation as often as it is in it, and joins each to its own', async () => {
    const log: string[] = []
    const app = await createApp(stack, spec(log))
    const one = await batch(app, [wait(3), wait(3), wait(3)])
    expect(new Set(one.runIds).size).toBe(3)
    expect(log).toEqual(['wait 3', 'wait 3', 'wait 3'])
    const again = await batch(app, [wait(3), wait(3), wait(3)])
    expect(again.runIds).toEqual(one.runIds)
    expect(log).toHaveLength(3)
  })

  it('refuses those that are others than before, at their places, and executes what is new', async () => {
    const log: string[] = []
    const app = await createApp(stack, spec(log))
    await batch(app, [add(1), add(2)])
    const other = await batch(app, [add(1), add(9), add(3)])
    expect(other.status).toBe(200)
    expect(other.codes).toEqual([undefined, 'DURABLE_IDEMPOTENCY_CONFLICT', undefined])
    expect(log.toSorted()).toEqual(['add 1', 'add 2', 'add 3'])
  })

  it('takes the first operation for that of a request without a batch', async () => {
    const log: string[] = []
    const app = await createApp(stack, spec(log))
    const one = await batch(app, [add(1), add(2)])
    const alone = await app.ask(add(1), { headers: { 'idempotency-key': 'k' } })
    expect(alone.body.data).toEqual(one.data[0])
    expect(log).toHaveLength(2)
  })
})

describe('a batch under keys', () => {
  it('has each operation’s place in them where the option idempotencyKey gives them', async () => {
    const log: string[] = []
    const given = spec(log)
    const app = await createApp('Yoga', { ...given, durable: { ...given.durable, idempotencyKey: () => 'same' } })
    await batch(app, [add(1), add(2), add(2)], null)
    await batch(app, [add(1), add(2), add(2)], null)
    expect(log.toSorted()).toEqual(['add 1', 'add 2', 'add 2'])
  })

  it.each([
    ['copies them', (params: any) => ({ ...params, query: params.query ?? add(params.variables.x) })],
    [
      'makes them anew',
      (params: any) => ({ query: params.query ?? add(params.variables.x), extensions: params.extensions }),
    ],
  ])('knows the places behind a plugin that replaces the parameters and %s', async (_what, replace) => {
    const log: string[] = []
    const persisted: Plugin = {
      async onParams({ params, setParams }) {
        // Later ones are quicker.
        await new Promise((resolve) => setTimeout(resolve, 20 - 5 * Number(params.variables?.['x'] ?? 0)))
        setParams(replace(params))
      },
    }
    const app = await createApp('Yoga', { ...spec(log), before: [persisted] })
    const entries = [1, 2, 2].map((x) => ({
      variables: { x },
      extensions: { persistedQuery: { sha256Hash: String(x) } },
    }))
    const one = await batch(app, entries)
    const again = await batch(app, entries)
    expect(again.answers).toEqual(one.answers)
    expect(log.toSorted()).toEqual(['add 1', 'add 2', 'add 2'])
  })

  it('is answered for what is no operation as without a key', async () => {
    const app = await createApp('Yoga', spec([]))
    const { answers } = await batch(app, [null as never, add(1), {}])
    expect(answers[1].data).toEqual({ add: '1: 1' })
    expect([answers[0], answers[2]]).toEqual([{ errors: [expect.anything()] }, { errors: [expect.anything()] }])
  })
})

describe('the answer to a batch', () => {
  it('is 200 without Location and Retry-After, with all there is to say in each operation’s own part', async () => {
    const log: string[] = []
    const app = await createApp('Yoga', spec(log))
    const { status, headers, answers } = await batch(app, [wait(1), '{ a }', wait(2)], null)
    expect(status).toBe(200)
    expect([headers.get('location'), headers.get('retry-after')]).toEqual([null, null])
    expect(answers[1]).toEqual({ data: { a: 1 } })
    for (const answer of [answers[0], answers[2]]) {
      expect(answer).toEqual({
        data: { wait: null },
        errors: [
          expect.objectContaining({
            path: ['wait'],
            extensions: { code: 'DURABLE_DEFERRED', runId: answer.extensions.runId },
          }),
        ],
        extensions: {
          runId: expect.stringMatching(/^run_/),
          durable: {
            status: 'SUSPENDED',
            retryAfterMs: expect.any(Number),
            waitingOn: [expect.objectContaining({ path: ['wait'], step: 'nap', kind: 'SLEEP' })],
          },
        },
      })
    }
    expect(answers[0].extensions.runId).not.toBe(answers[2].extensions.runId)
    for (const { extensions } of [answers[0], answers[2]]) {
      expect((await app.ended(extensions.runId, '30m')).result).toEqual({ data: { wait: 'rested' } })
    }
  })

  it('has the same for one operation in a batch', async () => {
    const app = await createApp('Yoga', spec([]))
    const { status, headers, answers } = await batch(app, [wait(1)], null)
    expect([status, headers.get('location'), answers.length]).toEqual([200, null, 1])
  })
})
