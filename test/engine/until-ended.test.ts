import { expect, it } from 'vitest'
import type { Durable } from '../../src/index.ts'
import type { Store } from '../../src/store/store.ts'
import { internalsOf } from '../../src/durable.ts'
import { deferred, oneField, overStores, wrapped } from './world.ts'

/** Counts what is asked of a store about runs. */
function counted(store: Store): {
  readonly store: Store
  readonly asked: { read: number; peek: number; claim: number }
} {
  const asked = { read: 0, peek: 0, claim: 0 }
  return {
    asked,
    store: wrapped(store, (session) => ({
      read: (runId, parts) => (asked.read++, session.read(runId, parts)),
      peek: (runIds) => (asked.peek++, session.peek(runIds)),
      claim: (request) => ((asked.claim += request.runId === undefined ? 0 : 1), session.claim(request)),
    })),
  }
}

const poll = (durable: Durable, runId: string, wait: number, signal?: AbortSignal): Promise<Response> =>
  durable.fetch(new Request(`http://test/graphql/runs/${runId}?wait=${wait}`, signal ? { signal } : {}))

const waiting = oneField(async (_source, { n }, { step }) => {
  for (let at = 0; at < (n ?? 0); at++) await step.sleep(`nap ${at}`, '10s')
  await step.waitForEvent('event', { event: 'told' })
  return 'told'
})

overStores('whoever waits for a run', (world) => {
  it('costs one look at each change of it, however many they are, and one read of its end', async () => {
    const { store, asked } = counted(world().store)
    const server = world().serve({ ...waiting, durable: { store, hold: 0 } })
    const { runId } = await server.ask('{ go(n: 5) }')
    const waits = Array.from({ length: 400 }, (_, at) =>
      at % 2 === 0 ? server.durable.runs.wait(runId, { summary: true }) : poll(server.durable, runId, 600),
    )
    await world().advance('500ms')
    Object.assign(asked, { read: 0, peek: 0, claim: 0 })
    await world().advance('60s')
    expect(asked.read).toBe(0)
    expect(asked.claim).toBeLessThan(10)
    expect(asked.peek).toBeLessThan(90) // once a second, and the changes
    await server.durable.send({ name: 'told' })
    const ends = await world().until(Promise.all(waits))
    expect(ends.every((end) => (end instanceof Response ? end.status === 200 : end?.status === 'COMPLETED'))).toBe(true)
    expect(asked.read).toBeLessThan(4) // the end, and its result
  })

  it('is not woken by what other runs do', async () => {
    const { store, asked } = counted(world().store)
    const server = world().serve({ ...waiting, durable: { store, hold: 0 } })
    const runIds = await Promise.all(Array.from({ length: 30 }, async () => (await server.ask('{ go }')).runId))
    const aborting = new AbortController()
    const waits = runIds.map((runId) => server.durable.runs.wait(runId, { signal: aborting.signal, summary: true }))
    await world().settle()
    Object.assign(asked, { read: 0, peek: 0, claim: 0 })
    for (let n = 0; n < 20; n++) await server.ask('{ go(n: 3) }')
    expect(asked).toMatchObject({ read: 0, claim: 0 })
    expect(asked.peek).toBeLessThan(5)
    await world().advance('10s')
    expect(asked.peek).toBeLessThan(16) // one look for all of them, once a second
    aborting.abort()
    await world().until(Promise.all(waits))
  })

  it('is one read for a thousand aliases of one request', async () => {
    const { store, asked } = counted(world().store)
    const server = world().serve({ ...waiting, durable: { store, hold: 0 } })
    const { runId } = await server.ask('{ go }')
    Object.assign(asked, { read: 0, peek: 0, claim: 0 })
    const aliases = Array.from(
      { length: 1000 },
      (_, n) => `w${n}: durableRun(id: "${runId}", wait: 60) { status result }`,
    )
    const answer = server.send(`{ ${aliases.join(' ')} }`)
    await world().settle()
    await server.durable.send({ name: 'told' })
    const { data } = await world().until(answer)
    expect(Object.values(data)).toEqual(
      Array.from({ length: 1000 }, () => ({ status: 'COMPLETED', result: { data: { go: 'told' } } })),
    )
    expect(asked.read).toBeLessThan(5)
    expect(asked.peek).toBeLessThan(5)
  })

  it('is asked about once before it waits and once when it is answered, whatever happens meanwhile (I9)', async () => {
    let asked = 0
    const authorize = (): boolean => (asked++, true)
    const server = world().serve({ ...waiting, durable: { hold: 0, authorize } })
    const { runId } = await server.ask('{ go(n: 5) }')
    const answer = server.send(`{ durableRun(id: "${runId}", wait: 600) { status } }`)
    await world().advance('60s')
    expect(asked).toBe(1)
    await server.durable.send({ name: 'told' })
    expect((await world().until(answer)).data.durableRun.status).toBe('COMPLETED')
    expect(asked).toBe(2)
  })

  it('leaves no timer behind when it goes away', async () => {
    const server = world().serve({ ...waiting, durable: { hold: 0 } })
    const { runId } = await server.ask('{ go }')
    await world().settle()
    const before = server.clock.pending
    const aborting = new AbortController()
    const polls = Array.from({ length: 50 }, () => poll(server.durable, runId, 60, aborting.signal))
    await world().settle()
    expect(server.clock.pending).toBeGreaterThan(before)
    aborting.abort()
    await world().until(Promise.all(polls))
    expect(server.clock.pending).toBe(before)
  })

  it('hears of an end that no hint tells of', async () => {
    const server = world().serve({ ...waiting, durable: { hold: 0 } })
    const other = world().serve({ ...waiting, durable: { worker: false }, deaf: true })
    const { runId } = await server.ask('{ go }')
    const waited = other.durable.runs.wait(runId)
    await world().settle()
    await server.durable.send({ name: 'told' })
    expect((await world().until(waited, '10s'))?.status).toBe('COMPLETED')
  })

  it('is told where a run that it waits for is deleted', async () => {
    const server = world().serve({ ...waiting, durable: { hold: 0, authorize: () => true } })
    const { runId } = await server.ask('{ go }')
    const other = world().serve({ ...waiting, deaf: true })
    await other.durable.start()
    const waited = other.durable.runs.wait(runId)
    await world().settle()
    await server.durable.runs.cancel(runId)
    await server.durable.runs.delete(runId)
    expect(await world().until(waited, '10s')).toBeNull()
  })

  it('fails where the store cannot be asked, and not before it has been asked for a while', async () => {
    let isAway = false
    const store = wrapped(world().store, (session) => ({
      peek: (runIds) => (isAway ? Promise.reject(new Error('away')) : session.peek(runIds)),
    }))
    const server = world().serve({ ...waiting, durable: { store, hold: 0 } })
    const { runId } = await server.ask('{ go }')
    const waits = Array.from({ length: 3 }, () => server.durable.runs.wait(runId).catch((error: unknown) => error))
    await world().settle()
    isAway = true
    for (const error of await world().until(Promise.all(waits)))
      expect(error).toMatchObject({ code: 'DURABLE_STORE_UNAVAILABLE' })
  })
})

overStores('limits.waiters', (world) => {
  const full = async () => {
    const server = world().serve({ ...waiting, durable: { hold: 0, limits: { waiters: 2 } } })
    const { runId } = await server.ask('{ go }')
    const aborting = new AbortController()
    const first = server.durable.runs.wait(runId, { signal: aborting.signal })
    const second = poll(server.durable, runId, 60)
    await world().settle()
    return { server, runId, aborting, first, second }
  }

  it('answers 503 with Retry-After to long polls beyond it', async () => {
    const { server, runId } = await full()
    const response = await world().until(poll(server.durable, runId, 60))
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '1'])
    expect(await response.json()).toMatchObject({ errors: [{ extensions: { code: 'DURABLE_TOO_MANY_WAITERS' } }] })
    expect(server.warnings).toContainEqual(expect.stringContaining('limits.waiters'))
  })

  it('answers 503 with Retry-After to operations that wait beyond it', async () => {
    const { server, runId } = await full()
    const answer = await server.ask(`{ durableRun(id: "${runId}", wait: 60) { status } }`)
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '1'])
    expect(answer.data).toEqual({ durableRun: null })
    expect(answer.errors).toMatchObject([{ extensions: { code: 'DURABLE_TOO_MANY_WAITERS' } }])
  })

  it('rejects runs.wait beyond it, and says so once in the log', async () => {
    const { server, runId } = await full()
    for (let n = 0; n < 3; n++) {
      await expect(world().until(server.durable.runs.wait(runId))).rejects.toMatchObject({
        code: 'DURABLE_TOO_MANY_WAITERS',
        retryable: true,
      })
    }
    expect(server.warnings.filter((message) => message.includes('limits.waiters'))).toHaveLength(1)
  })

  it('lets everybody look who does not wait, and lets the next one in when somebody has gone', async () => {
    const { server, runId, aborting, first } = await full()
    expect((await world().until(poll(server.durable, runId, 0))).status).toBe(202)
    expect((await server.ask(`{ durableRun(id: "${runId}") { status } }`)).data.durableRun.status).toBe('SUSPENDED')
    aborting.abort()
    await world().until(first)
    const next = server.durable.runs.wait(runId)
    await world().settle()
    await server.durable.send({ name: 'told' })
    expect((await world().until(next))?.status).toBe('COMPLETED')
  })

  it('counts requests that join a run by their key', async () => {
    const once = world().serve({
      typeDefs: 'scalar Any type Query { _: Int } type Mutation { go: Any }',
      resolvers: { Mutation: { go: (_source, _args, { step }) => step.waitForEvent('event', { event: 'told' }) } },
      durable: { idempotencyKey: () => 'key', hold: '5s', limits: { waiters: 1 } },
    })
    const first = once.send('mutation { go }')
    await world().settle()
    const joins = [once.send('mutation { go }'), once.send('mutation { go }')]
    const answers = await world().until(Promise.all(joins))
    expect(answers.map(({ status }) => status).toSorted()).toEqual([202, 503])
    await world().until(first)
  })
})

overStores('closing', (world) => {
  it('answers whoever waits for a run, those who joined it by its key included', async () => {
    const work = deferred<string>()
    const server = world().serve({
      typeDefs: 'scalar Any type Query { _: Int } type Mutation { go: Any }',
      resolvers: { Mutation: { go: (_source, _args, { step }) => step.run('work', () => work.promise) } },
      durable: { hold: '20s', idempotencyKey: () => 'key' },
    })
    const first = server.send('mutation { go }')
    await world().settle()
    const join = server.send('mutation { go }')
    await world().settle()
    const runId = internalsOf(server.durable).engine.liveRuns[0]?.runId ?? ''
    const others = [server.durable.runs.wait(runId), poll(server.durable, runId, 60)]
    await world().settle()
    const closing = server.durable.close({ timeout: '10s' })
    let isClosed = false
    void closing.then(() => (isClosed = true))
    expect((await world().until(join, '1s')).status).toBe(202)
    await world().until(Promise.all(others), '1s')
    expect(isClosed).toBe(false)
    work.resolve('worked')
    await world().until(Promise.all([closing, first]))
  })
})
