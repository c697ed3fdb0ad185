import { createGraphQLError } from 'graphql-yoga'
import type { Plugin } from 'graphql-yoga'
import { describe, expect, it } from 'vitest'
import { createApp, runIdOf, useApps } from './harness.ts'
import type { AppSpec } from './harness.ts'

// Clients and pages that come with rules of their own: event streams, other origins, CSRF prevention.

useApps({ postgres: false })

const spec: AppSpec = {
  typeDefs: 'type Query { hello: String nap: String } type Mutation { order: String @durable }',
  resolvers: {
    Query: {
      hello: () => 'world',
      nap: async (_: unknown, __: unknown, { step }: any) => (await step.sleep('nap', '90s'), 'rested'),
    },
    Mutation: {
      order: async (_: unknown, __: unknown, { step }: any) => (await step.sleep('nap', '90s'), 'shipped'),
    },
  },
  durable: { context: { capture: () => null } },
}

describe('a client that takes nothing but a stream of events', () => {
  it.each(['text/event-stream', 'text/event-stream;q=0.9, text/event-stream', 'Text/Event-Stream'])(
    'gets the deferred payload as one, with a status that it accepts (%s)',
    async (accept) => {
      const app = await createApp('Yoga', spec)
      const response = await app.fetch(`/graphql?query=${encodeURIComponent('{ hello nap }')}`, { headers: { accept } })
      expect(response.status).toBe(200)
      expect(response.headers.get('content-type')).toContain('text/event-stream')
      const events = (await response.text()).split('\n\n').filter((event) => event !== ':' && event !== '')
      expect(events.map((event) => event.split('\n')[0])).toEqual(['event: next', 'event: complete'])
      const payload = JSON.parse(events[0]?.split('\n')[1]?.slice('data: '.length) ?? '') as any
      expect(payload).toMatchObject({
        data: { hello: 'world', nap: null },
        errors: [{ path: ['nap'], extensions: { code: 'DURABLE_DEFERRED' } }],
        extensions: { durable: { status: 'SUSPENDED' } },
      })
      expect((await app.ended(payload.extensions.runId)).result).toEqual({ data: { hello: 'world', nap: 'rested' } })
    },
  )

  it.each([
    'application/json, text/event-stream',
    'text/event-stream, application/graphql-response+json',
    'text/event-stream, */*',
    'text/plain, application/json',
    '*/*',
  ])('and gets 202 in JSON where it takes that, too (%s)', async (accept) => {
    const app = await createApp('Yoga', spec)
    const response = await app.fetch(`/graphql?query=${encodeURIComponent('{ nap }')}`, { headers: { accept } })
    expect(response.status).toBe(202)
    expect(response.headers.get('content-type')).toContain('json')
    await response.text()
  })
})

describe('a page of another origin', () => {
  const origin = { origin: 'https://shop.example' }

  it('may ask for a run as it may for anything else: Yoga’s CORS goes for the route', async () => {
    const app = await createApp('Yoga', spec)
    const runId = runIdOf(await app.ask('mutation { order }'))
    const path = `/graphql/runs/${runId}`
    const preflight = await app.fetch(path, {
      method: 'OPTIONS',
      headers: { ...origin, 'access-control-request-method': 'GET', 'access-control-request-headers': 'authorization' },
    })
    expect(preflight.status).toBe(204)
    expect(preflight.headers.get('access-control-allow-origin')).toBe('https://shop.example')
    expect(preflight.headers.get('access-control-allow-headers')).toBe('authorization')
    for (const [method, address, status] of [
      ['GET', path, 202],
      ['HEAD', path, 202],
      ['GET', '/graphql/runs/run_none', 404],
    ] as const) {
      const response = await app.fetch(address, { method, headers: origin })
      expect([response.status, response.headers.get('access-control-allow-origin')]).toEqual([status, origin.origin])
    }
  })
})

/** As @graphql-yoga/plugin-csrf-prevention does: what a page could send without a preflight needs a header. */
const csrfPrevention: Plugin = {
  onRequestParse({ request }) {
    if (
      request.headers.get('content-type')?.startsWith('application/json') ||
      request.headers.has('x-graphql-yoga-csrf')
    )
      return
    throw createGraphQLError('Required CSRF header(s) not present', { extensions: { http: { status: 403 } } })
  },
}

describe('the route, where the caller decides', () => {
  it('answers HEAD as GET, without a body, and no other method', async () => {
    const owner = ({ request }: { request: Request }) => request.headers.get('x-user')
    const app = await createApp('Yoga', { ...spec, durable: { ...spec.durable, owner } })
    const runId = runIdOf(await app.ask('mutation { order }', { headers: { 'x-user': 'ada' } }))
    const head = async (user: string) => {
      const response = await app.fetch(`/graphql/runs/${runId}`, { method: 'HEAD', headers: { 'x-user': user } })
      return [response.status, response.headers.get('retry-after'), await response.text()]
    }
    expect(await head('ada')).toEqual([202, '60', ''])
    expect(await head('eve')).toEqual([404, null, ''])
    for (const method of ['POST', 'PUT', 'DELETE']) {
      const refused = await app.fetch(`/graphql/runs/${runId}`, { method, headers: { 'x-user': 'ada' } })
      expect([refused.status, refused.headers.get('allow')]).toEqual([405, 'GET, HEAD'])
    }
  })
})

describe('beside a plugin that prevents CSRF', () => {
  const guarded: AppSpec = { ...spec, before: [csrfPrevention] }

  it('runs go on in the background, hot and cold: their own requests are no page’s', async () => {
    const app = await createApp('Yoga', guarded)
    const runId = runIdOf(await app.ask('mutation { order }'))
    await app.restart()
    expect((await app.ended(runId)).result).toEqual({ data: { order: 'shipped' } })
    expect(app.warnings.filter(({ message }) => message.includes('could not be resumed'))).toEqual([])
  })

  it('the route answers without its header where the id is all that it takes', async () => {
    const app = await createApp('Yoga', guarded)
    const runId = runIdOf(await app.ask('mutation { order }'))
    expect((await app.fetch(`/graphql/runs/${runId}`)).status).toBe(202)
  })

  it('the route asks it where the caller decides, as for an operation, and the same for every id (I9)', async () => {
    const app = await createApp('Yoga', { ...guarded, durable: { ...spec.durable, owner: () => 'ada' } })
    const runId = runIdOf(await app.ask('mutation { order }'))
    const refused = await Promise.all(
      [runId, 'run_none'].map(async (id) => {
        const response = await app.fetch(`/graphql/runs/${id}`)
        return [response.status, await response.text()]
      }),
    )
    expect(refused[0]).toEqual([403, '{"errors":[{"message":"Required CSRF header(s) not present"}]}'])
    expect(refused[1]).toEqual(refused[0])
    const headers = { 'x-graphql-yoga-csrf': '1' }
    expect((await app.fetch(`/graphql/runs/${runId}`, { headers })).status).toBe(202)
    expect((await app.fetch(`/graphql/runs/${runId}`, { method: 'HEAD', headers })).status).toBe(202)
  })
})
