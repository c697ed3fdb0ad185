import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createApp, STACKS, useApps, YOGA_STACKS } from './harness.ts'
import type { AppSpec } from './harness.ts'

// What clients send that is none: they are told what was expected, whatever it is and wherever it goes.

useApps()

const spec: AppSpec = {
  typeDefs: `
    type Query { nap: String }
  `,
  resolvers: {
    Query: {
      nap: async (_: unknown, __: unknown, { step }: any) => (await step.sleep('nap', '90s'), 'rested'),
    },
  },
  durable: { authorize: () => true },
}

const QUERY = `query ($id: ID!, $wait: Int, $name: String, $first: Int, $after: String) {
  durableRun(id: $id, wait: $wait) { id }
  durableRuns(operationName: $name, first: $first, after: $after) { nodes { id } }
}`
const SEND =
  'mutation ($name: String!, $id: ID, $data: DurableJSON) { sendDurableEvent(name: $name, id: $id, data: $data) }'
const CANCEL = 'mutation ($id: ID!, $reason: String) { cancelDurableRun(id: $id, reason: $reason) { id } }'

const cursor = (text: string): string => Buffer.from(text).toString('base64url')
const NO_CURSORS = [
  '',
  'nonsense',
  '\0',
  '🎉',
  cursor('7'),
  cursor('7 '),
  cursor(' run_1'),
  cursor('-1 run_1'),
  cursor('1e3 run_1'),
  cursor('0x10 run_1'),
  cursor('99999999999999999999 run_1'),
  cursor('9007199254740993 run_1'),
  cursor('1 nobody'),
  cursor('1 run_1 run_2'),
  cursor('1 run_\0'),
  cursor(`1 run_${'x'.repeat(10_000)}`),
  `${cursor('1 run_1')}=`,
  ` ${cursor('1 run_1')}`,
]

describe.each(STACKS)('what a client sends to $server over $store', (stack) => {
  it('as a cursor that is none is BAD_USER_INPUT, with what was expected', async () => {
    const app = await createApp(stack, spec)
    for (const after of NO_CURSORS) {
      const { body } = await app.ask('query ($after: String) { durableRuns(after: $after) { nodes { id } } }', {
        variables: { after },
      })
      expect(body.errors, after).toMatchObject([{ path: ['durableRuns'], extensions: { code: 'BAD_USER_INPUT' } }])
      expect(body.errors?.[0]?.message).toContain('to be the endCursor of another page')
    }
    expect(app.warnings).toEqual([])
  })

  it.each([
    ['durableRuns(first: 0) { nodes { id } }', 'durableRuns(first:)'],
    ['durableRuns(first: -2147483648) { nodes { id } }', 'durableRuns(first:)'],
    ['durableRun(id: "run_1", wait: -1) { id }', 'durableRun(wait:)'],
  ])('as a number that is none: %s', async (selection, what) => {
    const app = await createApp(stack, spec)
    const { body } = await app.ask(`{ ${selection} }`)
    expect(body.errors).toMatchObject([{ extensions: { code: 'BAD_USER_INPUT' } }])
    expect(body.errors?.[0]?.message).toContain(`Expected ${what} to be`)
  })

  it.each<[string, Record<string, unknown>, string]>([
    ['without a name', { name: '' }, 'BAD_USER_INPUT'],
    ['with an id that is none', { name: 'paid', id: '' }, 'BAD_USER_INPUT'],
    ['with a name that is too long', { name: 'x'.repeat(1_001) }, 'DURABLE_TOO_LARGE'],
    ['with an id that is too long', { name: 'paid', id: 'x'.repeat(1_001) }, 'DURABLE_TOO_LARGE'],
    [
      'that is too deep',
      { name: 'paid', data: JSON.parse('['.repeat(3_000) + ']'.repeat(3_000)) },
      'DURABLE_NOT_SERIALIZABLE',
    ],
    ['that is too large', { name: 'paid', data: 'x'.repeat(5_000_000) }, 'DURABLE_TOO_LARGE'],
  ])('as an event %s is refused', async (_name, variables, code) => {
    const app = await createApp(stack, spec)
    const { body } = await app.ask(SEND, { variables })
    expect(body.errors).toMatchObject([{ path: ['sendDurableEvent'], extensions: { code } }])
    expect(body.errors?.[0]?.message).toContain('xpected')
    expect(app.writes).not.toContain('send')
  })

  it('as a reason that is too long is refused', async () => {
    const app = await createApp(stack, spec)
    const { body } = await app.ask('{ nap }')
    const variables = { id: body.extensions?.['runId'], reason: 'x'.repeat(4_001) }
    expect((await app.ask(CANCEL, { variables })).body.errors).toMatchObject([
      { extensions: { code: 'DURABLE_TOO_LARGE' } },
    ])
    expect(await app.durable.runs.get(variables.id)).toMatchObject({ endedAt: null })
  })

  it('as anything at all is answered, refused or not found, and no failure of the server', async () => {
    const app = await createApp(stack, spec)
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 40 }),
      fc.constantFrom(
        '__proto__',
        'constructor',
        'toString',
        '\0',
        '\ud800',
        "'; drop table runs; --",
        '%',
        'run_',
        '-1',
      ),
      fc.string({ unit: 'grapheme', maxLength: 5_000 }),
      fc.stringMatching(/^run_[\w-]{1,70}$/),
      fc.tuple(fc.maxSafeInteger(), fc.string({ maxLength: 10 })).map(([n, id]) => cursor(`${n} ${id}`)),
    )
    const number = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })
    const request = fc.oneof(
      fc.tuple(
        fc.constant(QUERY),
        fc.record({ id: text, wait: fc.constant(0), name: text, first: number, after: text }),
      ),
      fc.tuple(fc.constant(SEND), fc.record({ name: text, id: text, data: fc.jsonValue() })),
      fc.tuple(fc.constant(CANCEL), fc.record({ id: text, reason: text })),
    )
    const allowed = ['BAD_USER_INPUT', 'DURABLE_FORBIDDEN', 'DURABLE_TOO_LARGE']
    await fc.assert(
      fc.asyncProperty(request, async ([query, variables]) => {
        const { body } = await app.ask(query, { variables })
        for (const { message, extensions } of body.errors ?? [])
          expect(allowed, message).toContain(extensions?.['code'])
      }),
      { numRuns: 150 },
    )
    expect(app.warnings).toEqual([])
  })
})

describe.each(YOGA_STACKS)('what a client sends to the route of runs over $store', (stack) => {
  it.each(['', '-1', 'soon', 'NaN', 'Infinity', '1e999', '1e3', '0x10', ' 1', '1,5', '9'.repeat(400)])(
    'as wait=%s is 400, with what was expected',
    async (wait) => {
      const app = await createApp(stack, spec)
      const response = await app.fetch(`/graphql/runs/run_1?wait=${encodeURIComponent(wait)}`)
      expect(response.status).toBe(400)
      expect(await response.json()).toMatchObject({
        errors: [{ message: expect.stringContaining('Expected wait to be'), extensions: { code: 'BAD_USER_INPUT' } }],
      })
    },
  )

  it('as the id of a run that cannot be one is 404', async () => {
    const app = await createApp(stack, spec)
    for (const id of ['%00', '%', '%ff', '__proto__', 'run_', 'x'.repeat(5_000), '%F0%9F%8E%89', "'--"]) {
      expect((await app.fetch(`/graphql/runs/${id}`)).status, id).toBe(404)
    }
    expect(app.warnings).toEqual([])
  })
})

describe.each(STACKS)('input that a step hands on, in $server over $store', (stack) => {
  it.each<[string, (app: { durable: any }) => Promise<unknown>]>([
    ['a cursor', ({ durable }) => durable.runs.list({ after: 'nonsense' })],
    ['a size of a page', ({ durable }) => durable.runs.list({ first: Number.NaN })],
    ['a status', ({ durable }) => durable.runs.list({ status: 'ASLEEP' })],
    ['a status that every object has', ({ durable }) => durable.runs.list({ status: 'constructor' })],
    ['an owner that is nobody', ({ durable }) => durable.runs.list({ owner: undefined })],
    ['no owner', ({ durable }) => durable.runs.list({ owner: null })],
    ['no name', ({ durable }) => durable.runs.list({ operationName: undefined })],
    ['a filter that is misspelt', ({ durable }) => durable.runs.list({ onwer: 'ada' })],
    ['a time to wait', ({ durable }) => durable.runs.wait('run_1', { timeout: 'soon' })],
    ['a reason', ({ durable }) => durable.runs.cancel('run_1', 7)],
    ['an event without a name', ({ durable }) => durable.send({ name: '' })],
    ['an event that is misspelt', ({ durable }) => durable.send({ name: 'paid', dta: 7 })],
    ['no event', ({ durable }) => durable.send()],
  ])('costs no retry, and is not masked: %s', async (_name, call) => {
    let attempts = 0
    const app = await createApp(stack, {
      ...spec,
      resolvers: {
        Query: {
          nap: (_: unknown, __: unknown, { step }: any) =>
            step.run('ask', () => {
              attempts++
              return call(app)
            }),
        },
      },
    })
    const { body } = await app.ask('{ nap }')
    expect(body.errors).toMatchObject([{ path: ['nap'], extensions: { code: 'BAD_USER_INPUT' } }])
    expect(body.errors?.[0]?.message).toContain('xpected')
    expect(attempts).toBe(1)
  })

  it('as a run that cannot be one is not found', async () => {
    const { durable } = await createApp(stack, spec)
    for (const id of ['', '\0', 'nonsense', 'x'.repeat(10_000), undefined, 7, null] as string[]) {
      expect(await durable.runs.get(id)).toBeNull()
      expect(await durable.runs.wait(id)).toBeNull()
      expect(await durable.runs.delete(id)).toBe(false)
      await expect(durable.runs.cancel(id)).rejects.toMatchObject({ code: 'DURABLE_FORBIDDEN' })
    }
  })
})
