import { describe, expect, it } from 'vitest'
import { createApp, runIdOf, YOGA_STACKS, useApps } from './harness.ts'
import type { Answer, App, AppSpec } from './harness.ts'

// What Yoga's hooks make of an answer after the executor's hooks are through is what the client gets, and so it is the
// run's result (I7).

useApps()

/** `tag` says which of its hooks an answer has been through, and how often. */
function tagging(name: string): any {
  const tag = (result: any, by: string): any => ({
    ...result,
    extensions: { ...result.extensions, tags: [...(result.extensions?.tags ?? []), `${name}.${by}`] },
  })
  return {
    onExecutionResult({ result, setResult, context, request }: any) {
      expect(context.request).toBe(request)
      expect(request.method).toBe('POST')
      setResult(tag(result, 'execution'))
    },
    async onResultProcess({ result, setResult, request, serverContext, acceptableMediaTypes }: any) {
      expect(acceptableMediaTypes).toBeInstanceOf(Array)
      expect(serverContext.request ?? request).toBe(request)
      await Promise.resolve()
      setResult(Array.isArray(result) ? result.map((each) => tag(each, 'process')) : tag(result, 'process'))
    },
  }
}

const spec: AppSpec = {
  typeDefs: 'type Query { a: String } type Mutation { now: String @durable later: String @durable plain: String }',
  resolvers: {
    Query: { a: (_: unknown, __: unknown, { step }: any) => step.run('one', () => 'A') },
    Mutation: {
      now: (_: unknown, __: unknown, { step }: any) => step.run('one', () => 'N'),
      later: async (_: unknown, __: unknown, { step }: any) => {
        await step.waitForEvent('go', { event: 'go' })
        return 'L'
      },
      plain: () => 'P',
    },
  },
  before: [tagging('before')],
  after: [tagging('after')],
}
const ALL = ['before.execution', 'after.execution', 'before.process', 'after.process']

async function onlyRun(app: App): Promise<any> {
  await app.clock.settle()
  const { runs } = await app.durable.runs.list()
  expect(runs).toHaveLength(1)
  return app.durable.runs.get(runs[0]!.id)
}

describe.each(YOGA_STACKS)('over $store', (stack) => {
  it.each(['{ a }', 'mutation { now }', 'mutation { now plain }'])(
    'an operation that is answered at once stores what its client got: %s',
    async (query) => {
      const app = await createApp(stack, spec)
      const { body } = await app.ask(query)
      expect(body.extensions).toEqual({ tags: ALL })
      const run = await onlyRun(app)
      expect(run).toMatchObject({ status: 'COMPLETED', result: body })
      expect(app.clock.pending).toBeLessThan(10)
    },
  )

  it.each(['hot', 'cold'] as const)(
    'a background pass goes through the hooks of all plugins, once, %s',
    async (how) => {
      const app = await createApp(stack, spec)
      const runId = runIdOf(await app.ask('mutation { later }'))
      if (how === 'cold') await app.restart()
      await app.durable.send({ name: 'go' })
      const result = { data: { later: 'L' }, extensions: { tags: ALL } }
      expect((await app.ended(runId)).result).toEqual(result)
      const stored = await app.fetch(`/graphql/runs/${runId}`)
      expect(await stored.json()).toEqual(result)
      const { body } = await app.ask(`{ durableRun(id: "${runId}") { result } }`)
      expect((body.data as any).durableRun.result).toEqual(result)
    },
  )

  it('a request that joins a run gets the stored response as it is', async () => {
    const app = await createApp(stack, spec)
    const ask = (): Promise<Answer> => app.ask('mutation { now }', { headers: { 'idempotency-key': 'k' } })
    const first = await ask()
    expect(first.body).toEqual({ data: { now: 'N' }, extensions: { tags: ALL } })
    await app.clock.settle()
    expect((await ask()).body).toEqual(first.body)
    expect((await ask()).body).toEqual(first.body)
  })

  it('each operation of a batch stores its own part', async () => {
    const app = await createApp(stack, { ...spec, batching: true })
    const response = await app.fetch('/graphql', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify([{ query: '{ a }' }, { query: 'mutation { plain }' }, { query: 'mutation { now }' }]),
    })
    const parts: any[] = (await response.json()) as any[]
    expect(parts.map(({ data }) => data)).toEqual([{ a: 'A' }, { plain: 'P' }, { now: 'N' }])
    await app.clock.settle()
    const { runs } = await app.durable.runs.list()
    const results = await Promise.all(runs.map(async ({ id }) => (await app.durable.runs.get(id))?.result))
    expect(results).toHaveLength(2)
    for (const result of results) {
      const part = parts.find(({ data }) => JSON.stringify(data) === JSON.stringify(result?.data))
      // What became of the whole batch cannot be told apart where other objects were made of its parts.
      expect(result?.extensions).toEqual({ tags: part.extensions.tags.slice(0, 2) })
    }
  })

  it('a hook that throws makes no result: a background pass goes through it again', async () => {
    let broken = true
    const plugin = {
      onExecutionResult() {
        if (broken) throw new Error('The cache is down')
      },
    }
    const app = await createApp(stack, { ...spec, before: [plugin], after: [] })
    expect((await app.ask('{ a }')).body.errors).toMatchObject([{ message: 'Unexpected error.' }])
    await app.clock.settle()
    const { id } = (await app.durable.runs.list()).runs[0]!
    expect(await app.durable.runs.get(id)).toMatchObject({ endedAt: null })
    broken = false
    expect((await app.ended(id)).result).toEqual({ data: { a: 'A' } })
  })

  it('a hook that never answers loses no run (I4)', async () => {
    let hangs = true
    const plugin = { onExecutionResult: () => (hangs ? new Promise<void>(() => {}) : undefined) }
    const app = await createApp(stack, { ...spec, before: [plugin], after: [] })
    void app.ask('{ a }')
    await app.clock.settle()
    hangs = false
    await app.clock.advance('2s')
    expect(await onlyRun(app)).toMatchObject({ status: 'COMPLETED', result: { data: { a: 'A' } } })
  })
})

describe.each(YOGA_STACKS)('a run that is cancelled, over $store,', (stack) => {
  it.each(['hot', 'cold'] as const)('gets no hook of the pass that was being made, %s (I12)', async (how) => {
    const called: string[] = []
    const outside = Promise.withResolvers<string>()
    let hooked = Promise.withResolvers<void>()
    const note = (name: string): any => ({
      onExecute: () => ({ onExecuteDone: () => void called.push(`${name}.done`) }),
      onExecutionResult() {
        called.push(`${name}.execution`)
        return hooked.promise
      },
      onResultProcess: () => void called.push(`${name}.process`),
    })
    const app = await createApp(stack, {
      typeDefs: 'type Query { a: String } type Mutation { slow: String @durable quick: String @durable }',
      resolvers: {
        Mutation: {
          async slow(_: unknown, __: unknown, { step }: any) {
            await step.waitForEvent('go', { event: 'slow' })
            return outside.promise
          },
          async quick(_: unknown, __: unknown, { step }: any) {
            await step.waitForEvent('go', { event: 'quick' })
            return 'Q'
          },
        },
      },
      before: [note('before')],
      after: [note('after')],
    })
    const begin = async (name: string): Promise<string> => {
      hooked.resolve()
      const runId = runIdOf(await app.ask(`mutation { ${name} }`))
      if (how === 'cold') await app.restart()
      hooked = Promise.withResolvers()
      called.length = 0
      await app.durable.send({ name })
      await app.clock.settle()
      return runId
    }
    const atHooks = await begin('quick')
    expect(called).toEqual(['before.done', 'after.done', 'before.execution'])
    await app.durable.runs.cancel(atHooks)
    called.length = 0
    hooked.resolve()
    await app.clock.settle()
    expect(called).toEqual([])

    const atResolver = await begin('slow')
    expect(called).toEqual([])
    await app.durable.runs.cancel(atResolver)
    outside.resolve('S')
    await app.clock.settle()
    expect(called).toEqual([])
  })
})

it('an execution that is asked for without HTTP has no such hooks, and its run ends all the same', async () => {
  let server: any
  const grab = { onYogaInit: ({ yoga }: any) => void (server = yoga) }
  const app = await createApp('Yoga', { ...spec, before: [grab, ...(spec.before ?? [])] })
  const run = async (initial: object): Promise<unknown> => {
    const { schema, parse, contextFactory, execute } = server.getEnveloped(initial)
    return execute({ schema, document: parse('{ a }'), contextValue: await contextFactory() })
  }
  expect(await run({})).toEqual({ data: { a: 'A' } })
  expect(await onlyRun(app)).toMatchObject({ status: 'COMPLETED', result: { data: { a: 'A' } } })
})

it('an operation without steps writes nothing (I8)', async () => {
  const app = await createApp('Yoga', spec)
  expect((await app.ask('mutation { plain }')).body.extensions).toEqual({ tags: ALL })
  expect(app.writes.filter((what) => what !== 'connect')).toEqual([])
})
