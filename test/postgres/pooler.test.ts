import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { hasPgbouncer, startPooler } from '../support/pgbouncer.ts'
import { type App, codesOf, reason as noServer, useWorld } from './world.ts'

const VICTIM = fileURLToPath(new URL('fixtures/victim.ts', import.meta.url))
const LEASE_MS = 4_000
const reason = noServer ?? (hasPgbouncer() ? null : 'there is no pgbouncer on the PATH')

describe.skipIf(reason !== null)(`through PgBouncer${reason === null ? '' : ` (skipped: ${reason})`}`, () => {
  const world = useWorld()
  const children: ChildProcess[] = []

  async function pool(mode: 'session' | 'transaction', size?: number): Promise<string> {
    const pooler = await startPooler(world.server.url, { mode, ...(size !== undefined && { size }) })
    world.whenClosed(() => pooler.dispose())
    return pooler.url
  }

  afterEach(async () => {
    for (const child of children.splice(0)) if (child.signalCode === null) await kill(child)
  })

  async function kill(child: ChildProcess): Promise<void> {
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }

  const DEAF = /pooler in transaction mode/
  const deaf = ({ warnings }: App): string[] => warnings.filter((warning) => DEAF.test(warning))

  async function play(connectionString: string): Promise<App[]> {
    const apps = [world.start({ connectionString }), world.start({ connectionString })]
    const [one, other] = apps as [App, App]
    const answers = await Promise.all(
      Array.from({ length: 30 }, async (_, n) => {
        const kind = (['order', 'parcel', 'approval'] as const)[n % 3] ?? 'order'
        const answer = await one.ask(`mutation { ${kind}(n: ${n}) }`)
        if (kind === 'approval') await other.durable.send({ name: 'approved', data: { n, by: 'Bob' } })
        const { runId } = answer.body.extensions ?? {}
        const body = runId ? await other.result(runId) : answer.body
        expect(body).toEqual({ data: { [kind]: kind === 'approval' ? `${n} by Bob` : `${kind} ${n}` } })
        return runId
      }),
    )
    expect(answers.filter(Boolean).length).toBeGreaterThanOrEqual(20)
    expect(world.calls.length).toBe(new Set(world.calls).size)
    expect(world.repeated).toEqual([])
    return apps
  }

  /** How long it takes until somebody else ends the run of a process that is killed. */
  async function takeOver(connectionString: string): Promise<number> {
    const child = fork(VICTIM, [connectionString, world.schema, String(LEASE_MS)], { execArgv: [] })
    children.push(child)
    const messages: unknown[] = []
    child.on('message', (message) => messages.push(message))
    await expect.poll(() => messages, { timeout: 10_000 }).toHaveLength(1)
    const response = await fetch(`http://127.0.0.1:${String(messages[0])}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query: 'mutation { order(n: 7) }' }),
      signal: AbortSignal.timeout(10_000),
    })
    expect(response.status).toBe(202)
    const { extensions } = (await response.json()) as { extensions: { runId: string } }
    await expect.poll(() => messages, { timeout: 10_000 }).toContain('began')
    const app = world.start({ connectionString })
    await app.durable.start()
    const from = performance.now()
    await kill(child)
    expect(await app.result(extensions.runId)).toEqual({ data: { order: 'order 7' } })
    expect(world.calls).toEqual(['7 charge', '7 ship'])
    return Math.round(performance.now() - from)
  }

  it('in transaction mode a process says once that it hears nothing, and polls: operations, waits, and events of another process (I2, I6)', async () => {
    const apps = await play(await pool('transaction'))
    for (const app of apps) expect(deaf(app)).toHaveLength(1)
    expect(await world.sql('select id from durable.processes where locked_in is not null')).toEqual([])
  })

  it('in transaction mode the runs of a process that is killed are taken over after its lease (I2, I4)', async () => {
    const tookMs = await takeOver(await pool('transaction'))
    console.log('taken over, transaction mode', { leaseMs: LEASE_MS, tookMs })
    expect(tookMs).toBeGreaterThan(LEASE_MS - 1_000)
    expect(tookMs).toBeLessThan(LEASE_MS + 4_000)
  })

  it('in session mode it is as without it: notifications are heard, and locks are held', async () => {
    const apps = await play(await pool('session'))
    for (const app of apps) expect(deaf(app)).toEqual([])
    const locked = await world.sql('select id from durable.processes where locked_in is not null')
    expect(locked).toHaveLength(2)
  })

  it('in session mode the runs of a process that is killed are taken over before its lease is over (I2, I4)', async () => {
    const tookMs = await takeOver(await pool('session'))
    console.log('taken over, session mode', { leaseMs: LEASE_MS, tookMs })
    expect(tookMs).toBeLessThan(LEASE_MS - 500)
  })

  it('in a session pool with too few connections a process waits until there is room, and its clients are told', async () => {
    const connectionString = await pool('session', 5)
    const one = world.start({ connectionString })
    const answers = await Promise.all([0, 1, 2].map((n) => one.ask(`mutation { order(n: ${n}) }`)))
    expect(answers.map(({ body }) => body.data.order)).toEqual(['order 0', 'order 1', 'order 2'])
    await Promise.all(answers.map(() => one.durable.runs.list()))
    const other = world.start({ connectionString })
    const answer = await other.ask('mutation { order(n: 3) }')
    expect(codesOf(answer)).toEqual(['DURABLE_STORE_UNAVAILABLE'])
    const isWarned = (): boolean => other.warnings.some((each) => each.startsWith('The store could not be opened'))
    await expect.poll(isWarned, { timeout: 10_000 }).toBe(true)
    await one.close()
    await other.durable.start()
    expect((await other.ask('mutation { order(n: 4) }')).body).toEqual({ data: { order: 'order 4' } })
  })
})
