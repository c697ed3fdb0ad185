import { GraphQLError } from 'graphql'
import { describe, expect, it } from 'vitest'
import { decodeResult } from '../../src/engine/result.ts'
import { createApp, runIdOf, useApps } from './harness.ts'
import type { App, AppSpec } from './harness.ts'

// What a result says of its response in `extensions.http`, stored and delivered later.

useApps({ postgres: false })

const serve = (http: unknown): Promise<App> => {
  const failing = async (_: unknown, { later }: any, { step }: any): Promise<never> => {
    if (later) await step.waitForEvent('go', { event: 'go' })
    throw new GraphQLError('Failed', { extensions: { code: 'X', http: http as object } })
  }
  const spec: AppSpec = {
    typeDefs: 'type Query { a: String } type Mutation { a(later: Boolean): String @durable }',
    resolvers: { Mutation: { a: failing } },
  }
  return createApp('Yoga', spec)
}

async function delivered(app: App): Promise<Response> {
  const runId = runIdOf(await app.ask('mutation { a(later: true) }', { headers: { 'idempotency-key': 'k' } }))
  await app.durable.send({ name: 'go' })
  await app.ended(runId)
  return app.fetch(`/graphql/runs/${runId}`)
}

const body = {
  errors: [{ message: 'Failed', locations: [{ line: 1, column: 12 }], path: ['a'], extensions: { code: 'X' } }],
  data: { a: null },
}

describe('a status', () => {
  it.each([200, 201, 400, 404, 418, 429, 500, 503, 599])('that a response can have is kept: %s', async (status) => {
    expect((await delivered(await serve({ status }))).status).toBe(status)
  })

  it.each<unknown>([
    0,
    99,
    100,
    101,
    103,
    199,
    204,
    205,
    304,
    600,
    999,
    1000,
    -1,
    200.5,
    NaN,
    Infinity,
    null,
    '404',
    {},
    [404],
  ])('that it cannot have is as good as none: %s', async (status) => {
    const app = await serve({ status })
    const response = await delivered(app)
    expect(response.status).toBe(200)
    expect(await response.json()).toEqual(body)
    const joined = await app.ask('mutation { a(later: true) }', { headers: { 'idempotency-key': 'k' } })
    expect([joined.status, joined.body]).toEqual([200, body])
  })

  it('that says "not yet" is not kept: whoever follows the run would never stop', async () => {
    expect((await delivered(await serve({ status: 202 }))).status).toBe(200)
  })
})

describe('headers', () => {
  const cookie = { 'Set-Cookie': 'session=tok-en-123' }
  it.each<[string, unknown]>([
    ['a cookie', cookie],
    ['cookies in a list', { 'set-cookie': ['session=tok-en-123', 'b=tok-en-123'] }],
    ['Headers', new Headers(cookie)],
    ['pairs', [['SET-COOKIE', 'session=tok-en-123']]],
    ['a Map', new Map(Object.entries(cookie))],
    ['credentials', { authorization: 'tok-en-123', 'x-auth-token': 'tok-en-123', 'www-authenticate': 'tok-en-123' }],
    ['names that are none', { 'bad name': 'x', '': 'y', bäd: 'z', 'content-language': 'de' }],
    ['values that are none', { 'content-language': 'a\nb', sunset: 'ü\u0100', deprecation: null, warning: {} }],
    ['no object', 'content-language: de'],
    [
      'what throws when it is looked at',
      {
        get 'content-language'() {
          throw new Error('trap')
        },
      },
    ],
  ])('nothing of them goes to other readers, or breaks their answer: %s', async (_what, headers) => {
    const app = await serve({ status: 400, headers })
    const response = await delivered(app)
    expect(response.status).toBe(400)
    expect(await response.json()).toEqual(body)
    expect(JSON.stringify([...response.headers])).not.toContain('tok-en-123')
    const joined = await app.ask('mutation { a(later: true) }', { headers: { 'idempotency-key': 'k' } })
    expect([joined.status, joined.body]).toEqual([400, body])
    expect(JSON.stringify([...joined.headers])).not.toContain('tok-en-123')
  })

  it.each<[string, unknown]>([
    ['an object', { 'Content-Language': 'de' }],
    ['Headers', new Headers({ 'content-language': 'de' })],
    ['pairs', [['content-language', 'de']]],
  ])('that say something of the response are kept: %s', async (_what, headers) => {
    expect((await delivered(await serve({ headers }))).headers.get('content-language')).toBe('de')
  })
})

it('a deferred answer names its run, whatever a plugin says of the response', async () => {
  const http = { status: 1000, headers: { 'bad name': 'x', 'content-language': 'de', 'Cache-Control': 'public' } }
  const onExecuteDone = ({ result, setResult }: any): void => setResult({ ...result, extensions: { http } })
  const app = await createApp('Yoga', {
    typeDefs: 'type Query { a: String }',
    resolvers: { Query: { a: (_: unknown, __: unknown, { step }: any) => step.sleep('nap', '1h') } },
    before: [{ onExecute: () => ({ onExecuteDone }) }],
  })
  const answer = await app.ask('{ a }')
  runIdOf(answer)
  expect([answer.status, answer.headers.get('content-language'), answer.headers.get('cache-control')]).toEqual([
    202,
    'de',
    'no-store',
  ])
})

it('what an earlier version has stored is looked at when it is delivered', () => {
  const stored = (http: unknown): string => JSON.stringify({ result: { data: null }, http })
  expect(decodeResult(stored({ status: 1000, headers: { 'Set-Cookie': 'a=b', 'bad name': 'x' } })).http).toBeNull()
  expect(decodeResult(stored({ status: 404, headers: { 'Content-Language': 'de' } })).http).toEqual({
    status: 404,
    headers: { 'content-language': 'de' },
  })
  for (const http of [null, undefined, 'x', [], { status: null, headers: null }]) {
    expect(decodeResult(stored(http)).http).toBeNull()
  }
})

it('whoever is refused a context for it still gets the whole response', async () => {
  const http = { status: 401, headers: { 'WWW-Authenticate': 'Bearer' } }
  const app = await createApp('Yoga', {
    typeDefs: 'type Query { a: String }',
    context: () => {
      throw new GraphQLError('Who are you?', { extensions: { http } })
    },
    durable: { owner: () => 'ada' },
  })
  const response = await app.fetch('/graphql/runs/run_00000000000000000000000000000000')
  expect([response.status, response.headers.get('www-authenticate')]).toEqual([401, 'Bearer'])
})
