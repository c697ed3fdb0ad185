import { describe, expect, it } from 'vitest'
import { encode } from '../../src/core/codec.ts'
import { createHash } from 'node:crypto'
import { memoryStore } from '../../src/memory.ts'
import type { Store } from '../../src/store/store.ts'
import { createApp, STACKS, useApps } from '../plugins/harness.ts'
import type { App, AppSpec, AskOptions } from '../plugins/harness.ts'
import { wrapped } from '../engine/world.ts'

// Which requests are the same under one idempotency key.

useApps()

const spec = (log: unknown[]): AppSpec => ({
  typeDefs: `scalar Any
    input Range { from: Int to: Int unit: Unit }
    input Unit { name: String factor: Float }
    type Query { a: Int }
    type Mutation { work(a: Int, b: Float, range: Range, any: Any): Any fail: Int }`,
  resolvers: {
    Mutation: {
      work: (_: unknown, args: object, { step }: any) => step.run('work', () => log.push(args)),
      fail: () => {
        throw new Error('down')
      },
    },
  },
  durable: { context: { capture: () => null } },
})

const MUTATION =
  'mutation Work($a: Int, $b: Float, $range: Range, $any: Any) { work(a: $a, b: $b, range: $range, any: $any) }'
const range = { from: 1, to: 2, unit: { name: 'm', factor: 0.5 } }
const first = { a: 1, b: 2, range, any: [{ x: 1, y: { p: [1], q: 'ü' } }] }

async function isJoined(app: App, log: unknown[], query: string, options: AskOptions): Promise<boolean> {
  const before = log.length
  const { body } = await app.ask(query, { ...options, headers: { 'idempotency-key': 'k' } })
  expect(log.length, 'nothing is executed twice').toBe(before)
  const code = body.errors?.[0]?.extensions?.['code']
  if (code !== undefined) expect(code).toBe('DURABLE_IDEMPOTENCY_CONFLICT')
  return code === undefined
}

describe.each(STACKS)('with $server over $store, a request under a key', (stack) => {
  it.each<[string, string, AskOptions]>([
    ['with its variables in another order', MUTATION, { variables: { any: first.any, range, b: 2, a: 1 } }],
    [
      'with the members of its input objects in another order, at every depth',
      MUTATION,
      {
        variables: {
          ...first,
          range: { unit: { factor: 0.5, name: 'm' }, to: 2, from: 1 },
          any: [{ y: { q: 'ü', p: [1] }, x: 1 }],
        },
      },
    ],
    ['with a number that is written otherwise', MUTATION, { variables: { ...first, b: 2.0 } }],
    ['with the name of its only operation', MUTATION, { variables: first, operationName: 'Work' }],
    [
      'with other white space, commas and comments',
      `# the same\n${MUTATION.replaceAll(', ', ' ').replaceAll('{', '\n{\n  ')}\n`,
      { variables: first },
    ],
    ['with a variable that the operation does not have', MUTATION, { variables: { ...first, trace: 7 } }],
  ])('is the same %s', async (_what, query, options) => {
    const log: unknown[] = []
    const app = await createApp(stack, spec(log))
    await app.ask(MUTATION, { variables: first, headers: { 'idempotency-key': 'k' } })
    expect(log).toHaveLength(1)
    expect(await isJoined(app, log, query, options)).toBe(true)
  })

  const DEFAULTS =
    'mutation ($a: Int = 1, $range: Range = { unit: { factor: 0.5 }, from: 2 }) { work(a: $a, range: $range) }'
  const defaults = { range: { from: 2, unit: { factor: 0.5 } }, a: 1 }
  it.each<[what: string, variables: Record<string, unknown>, isSame: boolean]>([
    ['all of them as variables', defaults, true],
    ['one of them as a variable', { a: 1 }, true],
    ['another value', { a: 2 }, false],
    ['null', { a: null }, false],
  ])('without variables that have defaults meets one with %s', async (_what, variables, isSame) => {
    const log: unknown[] = []
    const app = await createApp(stack, spec(log))
    await app.ask(DEFAULTS, { headers: { 'idempotency-key': 'k' } })
    expect(log).toHaveLength(1)
    expect(await isJoined(app, log, DEFAULTS, { variables })).toBe(isSame)
  })

  it.each<[string, string, AskOptions]>([
    ['another value', MUTATION, { variables: { ...first, a: 2 } }],
    ['a text for a number', MUTATION, { variables: { ...first, any: [{ x: '1', y: { p: [1], q: 'ü' } }] } }],
    [
      'a text of other characters that look the same',
      MUTATION,
      { variables: { ...first, any: [{ x: 1, y: { p: [1], q: 'u\u0308' } }] } },
    ],
    ['a list in another order', MUTATION, { variables: { ...first, any: [...first.any, 1].toReversed() } }],
    ['null for nothing', MUTATION, { variables: { ...first, range: { ...range, unit: null } } }],
    ['another document', MUTATION.replace('{ work', '{ other: work'), { variables: first }],
  ])('is another one with %s', async (_what, query, options) => {
    const log: unknown[] = []
    const app = await createApp(stack, spec(log))
    await app.ask(MUTATION, { variables: first, headers: { 'idempotency-key': 'k' } })
    expect(await isJoined(app, log, query, options)).toBe(false)
  })
})

describe('an error that comes again under a key', () => {
  it('has the locations of the document that it was made for', async () => {
    const app = await createApp('Yoga', spec([]))
    const headers = { 'idempotency-key': 'k' }
    const one = await app.ask('mutation {\n  # fails\n  fail\n}', { headers })
    const other = await app.ask('mutation { fail }', { headers })
    expect(one.body.errors?.[0]?.locations).toEqual([{ line: 3, column: 3 }])
    expect(other.body.errors?.[0]).toMatchObject({ message: 'Unexpected error.', locations: [{ line: 3, column: 3 }] })
    expect(other.status).toBe(one.status)
  })
})

describe('a key that an earlier version has stored', () => {
  it('is taken for the same request still', async () => {
    const log: unknown[] = []
    const document = MUTATION
    const former = createHash('sha256')
      .update(encode([document, 'Work', first]))
      .digest('base64url')
    const older: Store = wrapped(memoryStore(), (session) => ({
      commit: (batch) =>
        session.commit(
          batch.map((part) =>
            part.create?.idempotency
              ? {
                  ...part,
                  create: { ...part.create, idempotency: { ...part.create.idempotency, fingerprint: former } },
                }
              : part,
          ),
        ),
    }))
    const app = await createApp('Yoga', { ...spec(log), durable: { ...spec(log).durable, store: older } })
    await app.ask(MUTATION, { variables: first, headers: { 'idempotency-key': 'k' } })
    expect(await isJoined(app, log, MUTATION, { variables: first })).toBe(true)
    expect(await isJoined(app, log, MUTATION, { variables: { ...first, a: 3 } })).toBe(false)
  })
})
