import { Socket } from 'node:net'
import { Client } from 'pg'
import { describe, expect, it } from 'vitest'
import type { Proxy } from '../support/proxy.ts'
import { type Answer, type App, type AppOptions, codesOf, reason, useWorld } from './world.ts'

const UNAVAILABLE = ['DURABLE_STORE_UNAVAILABLE']
const HOLD_MS = 1_500

describe.skipIf(reason !== null)(`a database that is away${reason === null ? '' : ` (skipped: ${reason})`}`, () => {
  const world = useWorld()

  /** One whose connections the test may cut; it has been at work. */
  async function startApp(options: AppOptions = {}): Promise<{ app: App; proxy: Proxy }> {
    const { proxy, connectionString } = await world.between()
    const app = world.start({ connectionString, hold: HOLD_MS, ...options })
    await app.durable.start()
    expect((await app.ask('mutation { order(n: 0) }')).body).toEqual({ data: { order: 'order 0' } })
    world.calls.length = app.commits.length = 0
    return { app, proxy }
  }

  function runs(): Promise<{ id: string; status: string }[]> {
    return world.sql('select id, status from durable.runs order by created_at')
  }

  it('has a commit tried again with backoff within `hold`; then the client is told, and of no run that is not there (I4)', async () => {
    const { app, proxy } = await startApp()
    proxy.setDown(true)
    const answer = await app.ask('mutation { order(n: 1) }')
    expect(codesOf(answer)).toEqual(UNAVAILABLE)
    expect(answer.status).toBe(200)
    expect(answer.location).toBeNull()
    expect(JSON.stringify(answer.body)).not.toContain('run_')
    expect(answer.body.data).toEqual({ order: null })
    expect(answer.tookMs).toBeGreaterThanOrEqual(HOLD_MS)
    expect(answer.tookMs).toBeLessThan(HOLD_MS + 1_500)
    const pauses = app.commits.slice(1).map((at, index) => at - (app.commits[index] ?? 0))
    expect(pauses.length).toBeGreaterThanOrEqual(4)
    expect(pauses.length).toBeLessThan(12)
    expect(pauses.at(-1)).toBeGreaterThan((pauses[0] ?? 0) * 4)

    proxy.setDown(false)
    // Nobody goes on with it: what was never committed belongs to no run.
    await app.durable.send({ name: 'back' })
    expect(world.calls).toEqual(['1 reserve'])
    expect(await runs()).toHaveLength(1)
  })

  it('and is back within `hold` is not noticed by the client: each step has run once (I2)', async () => {
    const { app, proxy } = await startApp()
    world.gate = async (call) => {
      if (call !== '1 charge') return
      proxy.setDown(true)
      setTimeout(() => proxy.setDown(false), 700)
    }
    const answer = await app.ask('mutation { order(n: 1) }')
    expect(answer.status).toBe(200)
    expect(answer.body).toEqual({ data: { order: 'order 1' } })
    expect(answer.tookMs).toBeGreaterThanOrEqual(700)
    expect(world.calls).toEqual(['1 reserve', '1 charge', '1 ship'])
    await expect.poll(runs).toHaveLength(2)
    await expect.poll(async () => (await runs()).every(({ status }) => status === 'completed')).toBe(true)
  })

  it('for longer than it takes to give a process up, and is back, answers the next request as ever', async () => {
    const { app, proxy } = await startApp()
    proxy.setDown(true)
    expect(codesOf(await app.ask('mutation { order(n: 1) }'))).toEqual(UNAVAILABLE)
    proxy.setDown(false)
    // Before this process has been heard of again.
    const answer = await app.ask('mutation { order(n: 2) }')
    expect(answer.body).toEqual({ data: { order: 'order 2' } })
    expect(answer.tookMs).toBeLessThan(5_000)
  })

  it('in the middle of a run has its client told of the run that is there; the run ends once the database is back (I2, I4)', async () => {
    const { app, proxy } = await startApp()
    world.gate = async (call) => proxy.setDown(call === '1 charge')
    const answer = await app.ask('mutation { order(n: 1) }')
    expect(codesOf(answer)).toEqual(UNAVAILABLE)
    const runId: string = answer.body.errors[0].extensions.runId
    expect((await runs()).map(({ id }) => id)).toContain(runId)
    world.gate = async () => {}
    proxy.setDown(false)
    expect(await app.result(runId)).toEqual({ data: { order: 'order 1' } })
    expect(world.repeated).toEqual([])
    // The outcome that could not be committed was never acknowledged: that step ran again.
    expect(world.calls).toEqual(['1 reserve', '1 charge', '1 charge', '1 ship'])
  })

  it.each([
    ['a wait that has to be committed before anybody is told of it', 'mutation { approval(n: 1) }', {}],
    ['an idempotency key', 'mutation { order(n: 1) }', { 'idempotency-key': 'one' }],
  ])('makes no 202 of %s (I4)', async (_what, text, headers) => {
    const { app, proxy } = await startApp()
    world.gate = async () => proxy.setDown(true)
    if ('idempotency-key' in headers) proxy.setDown(true)
    const answer = await app.ask(text, headers)
    expect(new Set(codesOf(answer))).toEqual(new Set(UNAVAILABLE))
    expect(answer.status).not.toBe(202)
    expect(answer.location).toBeNull()
    const known = (await runs()).map(({ id }) => id)
    for (const [runId] of JSON.stringify(answer.body).matchAll(/run_\w+/g)) expect(known).toContain(runId)
    proxy.setDown(false)
  })

  it('refuses events rather than losing them, and is sent them again under their id (I6)', async () => {
    const { app, proxy } = await startApp()
    const { runId } = (await app.ask('mutation { approval(n: 1) }')).body.extensions
    proxy.setDown(true)
    const event = { id: 'evt', name: 'approved', data: { n: 1, by: 'Bob' } }
    await expect(app.durable.send(event)).rejects.toMatchObject({ code: 'DURABLE_STORE_UNAVAILABLE', retryable: true })
    proxy.setDown(false)
    await expect.poll(() => app.durable.send(event).catch(() => null)).toEqual({ ids: ['evt'] })
    expect(await app.result(runId)).toEqual({ data: { approval: '1 by Bob' } })
    expect(world.repeated).toEqual([])
  })

  it('when the process starts is waited for, and requests meanwhile are told', async () => {
    const { proxy, connectionString } = await world.between()
    proxy.setDown(true)
    const app = world.start({ connectionString, hold: HOLD_MS })
    const answer = await app.ask('mutation { order(n: 1) }')
    expect(codesOf(answer)).toEqual(UNAVAILABLE)
    expect(JSON.stringify(answer.body)).not.toContain('run_')
    proxy.setDown(false)
    await app.durable.start()
    expect((await app.ask('mutation { order(n: 2) }')).body).toEqual({ data: { order: 'order 2' } })
    expect(app.warnings.filter((warning) => warning.startsWith('The store could not be opened'))).toHaveLength(1)
  })

  it('that takes commits and does not answer them has its clients told, and goes on when it does (I2, I4)', async () => {
    const { app } = await startApp()
    // As without a synchronous standby: they are written, and wait for it.
    await world.sql(`alter system set synchronous_standby_names = 'nobody'`)
    await reload()
    let answer: Answer
    try {
      answer = await app.ask('mutation { order(n: 1) }')
    } finally {
      await world.sql('alter system reset synchronous_standby_names')
      await reload()
    }
    expect(codesOf(answer)).toEqual(UNAVAILABLE)
    expect(JSON.stringify(answer.body)).not.toContain('run_')
    expect(answer.tookMs).toBeLessThan(HOLD_MS + 3_000)
    // It was committed after all: then it ends, and its step does not run again.
    await expect
      .poll(async () => (await runs()).map(({ status }) => status), { timeout: 15_000 })
      .toEqual(['completed', 'completed'])
    expect(world.repeated).toEqual([])
    expect(world.calls).toEqual(['1 reserve', '1 charge', '1 ship'])
  })

  const gets = async (app: App, runId: string): Promise<number> =>
    (await app.durable.fetch(new Request(`http://localhost/graphql/runs/${runId}`))).status

  it.each([
    ['with nothing under way', false],
    ['with a commit under way', true],
  ])('that says nothing lets a process close in seconds, %s, and keeps none of its sockets', async (_what, isBusy) => {
    const { proxy } = await world.between()
    const sockets: Socket[] = []
    const stream = (): Socket => sockets[sockets.push(new Socket()) - 1]!
    const address = { host: '127.0.0.1', port: proxy.port, user: 'postgres', database: 'postgres' }
    const app = world.start({ pool: { options: { ...address, stream } }, hold: HOLD_MS })
    await app.durable.start()
    expect((await app.ask('mutation { order(n: 0) }')).body).toEqual({ data: { order: 'order 0' } })
    proxy.setSilent(true)
    const asked = isBusy ? app.ask('mutation { order(n: 1) }') : null
    const from = performance.now()
    await app.durable.close({ timeout: '1s' })
    expect(performance.now() - from).toBeLessThan(isBusy ? 7_000 : 5_000)
    await asked
    await expect.poll(() => sockets.filter(({ closed }) => !closed).length, { timeout: 4_000 }).toBe(0)
    proxy.setSilent(false)
    // It could not say that it goes.
    await world.sql('delete from durable.processes')
    await world.sql('update durable.runs set holder = null')
  })

  it('that says nothing while it is being connected to lets a process close in seconds', async () => {
    const { proxy, connectionString } = await world.between()
    proxy.setSilent(true)
    const app = world.start({ connectionString })
    const starting = app.durable.start().catch(() => {})
    const from = performance.now()
    await app.durable.close({ timeout: '1s' })
    expect(performance.now() - from).toBeLessThan(4_500)
    proxy.setSilent(false)
    await starting
  })

  it.each([
    [
      'holds a table locked',
      async () => {
        const client = new Client({ connectionString: world.server.url })
        await client.connect()
        await client.query(`begin; lock table "${world.schema}".runs in access exclusive mode`)
        return () => client.end()
      },
    ],
    [
      'is behind a network that is parted',
      async (proxy: Proxy) => {
        proxy.setSilent(true)
        return async () => proxy.setSilent(false)
      },
    ],
  ])('that %s says nothing, and whoever asks is told in about `hold` (I4)', async (_what, hang) => {
    const { app, proxy } = await startApp()
    const { runId } = (await app.ask('mutation { approval(n: 1) }')).body.extensions
    const letGo = await hang(proxy)
    const timed = async <T>(ask: Promise<T>): Promise<{ answer: T; tookMs: number }> => {
      const from = performance.now()
      return { answer: await ask, tookMs: performance.now() - from }
    }
    const codeOf = (call: Promise<unknown>): Promise<unknown> => call.catch((error: { code?: unknown }) => error.code)
    try {
      const answers = await Promise.all([
        timed(gets(app, runId)),
        timed(app.ask(`{ durableRun(id: "${runId}") { status } }`).then(codesOf)),
        timed(codeOf(app.durable.runs.get(runId))),
        timed(codeOf(app.durable.runs.list())),
        timed(codeOf(app.durable.runs.wait(runId))),
        timed(codeOf(app.durable.runs.cancel(runId))),
        timed(codeOf(app.durable.send({ name: 'other' }))),
      ])
      const [UNAVAILABLE_CODE] = UNAVAILABLE
      expect(answers.map(({ answer }) => answer)).toEqual([503, UNAVAILABLE, ...Array(5).fill(UNAVAILABLE_CODE)])
      for (const { tookMs } of answers) expect(tookMs).toBeLessThan(HOLD_MS + 4_000)
    } finally {
      await letGo()
    }
    await expect.poll(() => gets(app, runId), { timeout: 15_000 }).not.toBe(503)
    expect((await app.ask('mutation { order(n: 2) }')).body).toEqual({ data: { order: 'order 2' } })
  })

  async function reload(): Promise<void> {
    const setting = `select setting from pg_settings where name = 'synchronous_standby_names'`
    const [before] = await world.sql<{ setting: string }>(setting)
    await world.sql('select pg_reload_conf()')
    await expect.poll(async () => (await world.sql<{ setting: string }>(setting))[0]?.setting).not.toBe(before?.setting)
  }
})
