import { GraphQLError } from 'graphql'
import { useExecutionCancellation } from 'graphql-yoga'
import { describe, expect, it } from 'vitest'
import { createApp, runIdOf, useApps, YOGA_STACKS } from './harness.ts'
import type { App, AppSpec } from './harness.ts'

// What clients see over HTTP (API.md, "What clients see").

useApps()

const spec: AppSpec = {
  typeDefs: `
    type Query { hello: String, nap: String, paid: String, teapot(wait: Boolean): String }
    type Mutation { a: String @durable, b: String, refused: String }
  `,
  resolvers: {
    Query: {
      hello: () => 'world',
      nap: async (_: unknown, __: unknown, { step }: any) => (await step.sleep('nap', '90s'), 'rested'),
      paid: () => {
        throw new GraphQLError('Pay first', { extensions: { http: { status: 402, headers: { 'x-due': '7' } } } })
      },
      teapot: async (_: unknown, { wait }: any, { step }: any) => {
        if (wait) await step.sleep('brew', '1m')
        throw new GraphQLError('I am a teapot', {
          extensions: { code: 'TEAPOT', http: { status: 418, headers: { 'content-language': 'green' } } },
        })
      },
    },
    Mutation: {
      a: async (_: unknown, __: unknown, { step }: any) => (await step.waitForEvent('go', { event: 'go' })).data.by,
      b: () => 'b',
      refused: async (_: unknown, __: unknown, { step }: any) => step.sleep('nap', '1m'),
    },
  },
}

const get = async (app: App, path: string, init?: RequestInit) => {
  const response = await app.fetch(path, init)
  const text = await response.text()
  return { status: response.status, headers: response.headers, body: text === '' ? null : JSON.parse(text) }
}

describe.each(YOGA_STACKS)('over $store, the deferred payload', (stack) => {
  it.each(['application/json', 'application/graphql-response+json'])(
    'is a 202 that says where to go on, as %s',
    async (accept) => {
      const app = await createApp(stack, spec)
      const answer = await app.ask('mutation { a b }', { headers: { accept } })
      const runId = runIdOf(answer)
      expect(answer.status).toBe(202)
      expect(answer.headers.get('content-type')).toBe(`${accept}; charset=utf-8`)
      expect(answer.headers.get('location')).toBe(`/graphql/runs/${runId}`)
      expect(answer.headers.get('retry-after')).toBe('1')
      expect(answer.headers.get('cache-control')).toBe('no-store')
      const entry = (key: string) => ({
        message: expect.stringContaining('still running'),
        path: [key],
        extensions: { code: 'DURABLE_DEFERRED', runId },
      })
      expect(answer.body).toEqual({
        data: { a: null, b: null },
        errors: [entry('a'), entry('b')],
        extensions: {
          runId,
          durable: {
            status: 'SUSPENDED',
            retryAfterMs: 1000,
            waitingOn: [{ path: ['a'], responsePath: ['a'], step: 'go', kind: 'EVENT', event: 'go' }],
          },
        },
      })
    },
  )

  it('names when a sleep ends, and asks to come back by then, in a minute at most', async () => {
    const app = await createApp(stack, spec)
    const { body, headers } = await app.ask('{ hello nap }')
    expect(body.data).toEqual({ hello: 'world', nap: null })
    expect(headers.get('retry-after')).toBe('60')
    expect(body.extensions?.['durable']).toEqual({
      status: 'SUSPENDED',
      retryAfterMs: 60_000,
      waitingOn: [
        { path: ['nap'], responsePath: ['nap'], step: 'nap', kind: 'SLEEP', until: '2026-01-01T00:01:30.000Z' },
      ],
    })
  })

  it('stays a 202 beside a field that failed with a status of its own', async () => {
    const app = await createApp(stack, spec)
    const { status, headers, body } = await app.ask('{ paid nap }')
    expect(status).toBe(202)
    expect(headers.get('location')).toContain('/graphql/runs/run_')
    expect(body.errors?.map(({ message, path }) => [message, path])).toEqual([
      ['Pay first', ['paid']],
      [expect.stringContaining('still running'), ['nap']],
    ])
    expect(body.errors?.[0]).toMatchObject({ locations: [{ line: 1, column: 3 }] })
  })

  it('has no Location where nothing is mounted', async () => {
    const app = await createApp(stack, { ...spec, durable: { path: null } })
    const answer = await app.ask('{ nap }')
    expect(answer.status).toBe(202)
    expect(answer.headers.get('location')).toBeNull()
    expect((await get(app, `/graphql/runs/${runIdOf(answer)}`)).status).toBe(404)
  })

  it('says it all in the body where requests come in a batch', async () => {
    const app = await createApp(stack, { ...spec, batching: true })
    const response = await get(app, '/graphql', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify([{ query: '{ nap }' }, { query: '{ hello }' }, { query: 'mutation { a }' }]),
    })
    expect(response.status).toBe(200)
    expect(response.headers.get('location')).toBeNull()
    const [nap, hello, mutation] = response.body
    expect(hello).toEqual({ data: { hello: 'world' } })
    for (const [body, key] of [
      [nap, 'nap'],
      [mutation, 'a'],
    ]) {
      const { runId, durable, ...rest } = body.extensions
      expect(runId).toMatch(/^run_/)
      expect(rest).toEqual({})
      expect(durable).toMatchObject({ status: 'SUSPENDED', waitingOn: [{ path: [key] }] })
      expect(body.errors).toMatchObject([{ path: [key], extensions: { code: 'DURABLE_DEFERRED', runId } }])
    }
    expect(nap.extensions.runId).not.toBe(mutation.extensions.runId)
    await app.durable.send({ name: 'go', data: { by: 'Bob' } })
    expect((await app.ended(mutation.extensions.runId)).result).toEqual({ data: { a: 'Bob' } })
    expect((await app.ended(nap.extensions.runId)).result).toEqual({ data: { nap: 'rested' } })
  })
})

describe.each(YOGA_STACKS)('over $store, GET {path}/{runId}', (stack) => {
  it.each(['hot', 'cold'] as const)(
    "answers 202 before the end, and the operation's own response after it, %s",
    async (how) => {
      const app = await createApp(stack, spec)
      const runId = runIdOf(await app.ask('{ hello nap }'))
      const pending = await get(app, `/graphql/runs/${runId}`)
      expect(pending.status).toBe(202)
      expect(pending.headers.get('retry-after')).toBe('60')
      expect(pending.headers.get('cache-control')).toBe('no-store')
      expect(pending.body).toMatchObject({ data: null, extensions: { runId, durable: { retryAfterMs: 60_000 } } })
      if (how === 'cold') await app.restart()
      await app.ended(runId)
      const ended = await get(app, `/graphql/runs/${runId}`)
      expect(ended.status).toBe(200)
      expect(ended.headers.get('content-type')).toBe('application/json; charset=utf-8')
      expect(ended.headers.get('cache-control')).toBe('no-store')
      expect(ended.headers.get('retry-after')).toBeNull()
      expect(ended.body).toEqual({ data: { hello: 'world', nap: 'rested' } })
    },
  )

  it('answers with the status and headers that the operation would have had (I7)', async () => {
    const app = await createApp(stack, spec)
    const query = 'query T($wait: Boolean) { teapot(wait: $wait) }'
    const sync = await app.ask(query, { variables: { wait: false } })
    expect([sync.status, sync.headers.get('content-language')]).toEqual([418, 'green'])
    const runId = runIdOf(await app.ask(query, { variables: { wait: true } }))
    await app.ended(runId)
    const later = await get(app, `/graphql/runs/${runId}`)
    expect([later.status, later.headers.get('content-language')]).toEqual([418, 'green'])
    expect(later.body).toEqual(sync.body)
  })

  it('waits for the end, as long as it is asked to', async () => {
    const app = await createApp(stack, spec)
    const runId = runIdOf(await app.ask('{ nap }'))
    const inTime = get(app, `/graphql/runs/${runId}?wait=120`)
    const tooShort = get(app, `/graphql/runs/${runId}?wait=5`)
    await app.clock.advance('10s')
    expect((await tooShort).status).toBe(202)
    await app.clock.advance('90s')
    expect(await inTime).toMatchObject({ status: 200, body: { data: { nap: 'rested' } } })
  })

  it('waits no longer than maxHold', async () => {
    const app = await createApp(stack, { ...spec, durable: { maxHold: '3s' } })
    const runId = runIdOf(await app.ask('mutation { a }'))
    const waiting = get(app, `/graphql/runs/${runId}?wait=1000000`)
    await app.clock.advance('4s')
    expect((await waiting).status).toBe(202)
  })

  it('resumes a run that is due where there is no worker', async () => {
    const app = await createApp(stack, { ...spec, durable: { worker: false, hot: { runs: 0 } } })
    const runId = runIdOf(await app.ask('{ nap }'))
    await app.clock.advance('2m')
    const waiting = get(app, `/graphql/runs/${runId}?wait=5`)
    await app.clock.advance('5s')
    expect(await waiting).toMatchObject({ status: 200, body: { data: { nap: 'rested' } } })
  })

  it('lets a waiting client go away without harm to the run', async () => {
    const app = await createApp(stack, spec)
    const runId = runIdOf(await app.ask('{ nap }'))
    const controller = new AbortController()
    const waiting = get(app, `/graphql/runs/${runId}?wait=120`, { signal: controller.signal }).catch(() => null)
    await app.clock.advance('1s')
    controller.abort()
    await app.clock.settle()
    expect((await waiting)?.status ?? 'gone').not.toBe(200)
    expect((await app.ended(runId)).status).toBe('COMPLETED')
  })

  it.each([
    'run_00000000000000000000000000000000',
    'run_',
    'nothing',
    '%',
    '..%2f..',
    "run_' or 1=1",
    'run_%00',
    `run_${'a'.repeat(5000)}`,
  ])('is 404 for an id that is unknown or malformed: %s', async (id) => {
    const app = await createApp(stack, spec)
    const unknown = await get(app, '/graphql/runs/run_ffffffffffffffffffffffffffffffff')
    const answer = await get(app, `/graphql/runs/${id}`)
    expect(answer.status).toBe(404)
    expect(answer.body).toEqual(unknown.body)
    expect([...answer.headers]).toEqual([...unknown.headers])
    expect(answer.headers.get('cache-control')).toBe('no-store')
  })

  it.each(['-1', 'soon', '', 'NaN', 'Infinity', '1e999'])('refuses wait=%s', async (wait) => {
    const app = await createApp(stack, spec)
    const runId = runIdOf(await app.ask('{ nap }'))
    expect((await get(app, `/graphql/runs/${runId}?wait=${wait}`)).status).toBe(400)
  })

  it('answers HEAD without a body, and no other method', async () => {
    const app = await createApp(stack, spec)
    const runId = runIdOf(await app.ask('{ nap }'))
    expect(await get(app, `/graphql/runs/${runId}`, { method: 'HEAD' })).toMatchObject({ status: 202 })
    for (const method of ['POST', 'PUT', 'DELETE']) {
      const refused = await get(app, `/graphql/runs/${runId}`, { method })
      expect([refused.status, refused.headers.get('allow')]).toEqual([405, 'GET, HEAD'])
    }
  })

  it('leaves every other path to the server', async () => {
    const app = await createApp(stack, spec)
    expect((await get(app, '/graphql?query={hello}')).body).toEqual({ data: { hello: 'world' } })
    expect((await app.fetch('/graphql/runs/')).status).toBe(404)
    expect((await app.fetch('/graphql/runs/a/b')).status).toBe(404)
  })
})

describe.each(YOGA_STACKS)('over $store, a client that goes away', (stack) => {
  it.each([false, true])('does not stop its run (with useExecutionCancellation: %s)', async (cancellation) => {
    const log: string[] = []
    let release = (): void => {}
    const gate = new Promise<void>((resolve) => (release = resolve))
    const app = await createApp(stack, {
      typeDefs: 'type Query { work: String }',
      resolvers: {
        Query: {
          work: async (_: unknown, __: unknown, { step }: any, { signal }: any) => {
            await step.run('one', () => gate)
            log.push(`aborted: ${signal?.aborted ?? false}`)
            await step.sleep('nap', '1m')
            return step.run('two', () => 'done')
          },
        },
      },
      before: cancellation ? [useExecutionCancellation()] : [],
    })
    const controller = new AbortController()
    const asking = app.ask('{ work }', { signal: controller.signal }).catch((error: unknown) => error)
    await app.clock.settle()
    controller.abort()
    await app.clock.settle()
    release()
    await app.clock.settle()
    await app.clock.advance('30s')
    const waiting = (await app.durable.runs.list()).runs
    expect(waiting).toHaveLength(1)
    expect((await app.ended(waiting[0]?.id ?? '')).result).toEqual({ data: { work: 'done' } })
    expect(log[0]).toBe('aborted: false')
    await asking
  })
})
