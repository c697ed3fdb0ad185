import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { query, startDatabase } from '../support/postgres.ts'
import { type Child, createProject, type Project, ROOT } from './project.ts'

/** What the example's processes have by default, and what nobody may have to wait for. */
const LEASE_MS = 15_000
const STEP_MS = 500
const PAUSE_MS = 2_000
const PATIENCE = { timeout: LEASE_MS * 2 }

interface Answer {
  readonly status: number
  readonly body: any
}

describe.each(['SQLite', 'PostgreSQL'])('examples/workers on %s', (store) => {
  let project: Project
  let database: Awaited<ReturnType<typeof startDatabase>> | null = null
  let directory: string
  const children: Child[] = []

  beforeAll(async () => {
    project = await createProject(['pg'])
    cpSync(join(ROOT, 'examples'), join(project.directory, 'examples'), { recursive: true })
    database = store === 'PostgreSQL' ? await startDatabase() : null
    directory = mkdtempSync(join(tmpdir(), 'durable-workers-'))
  }, 120_000)

  afterEach(async () => {
    for (const child of children.splice(0)) await child.stop('SIGKILL')
  })

  afterAll(async () => {
    await project.remove()
    if (database) await query(database.url, 'drop schema if exists durable cascade')
    await database?.dispose()
    rmSync(directory, { recursive: true })
  })

  async function start(role: 'server' | 'worker'): Promise<Child> {
    const where = database ? { DATABASE_URL: database.url } : { DURABLE_DB: join(directory, 'workers.db') }
    const child = project.start(`examples/workers/${role}.ts`, { ...where, ROLE: role, PORT: '0' })
    children.push(child)
    await child.printed(role === 'server' ? '/graphql\n' : 'at work')
    return child
  }

  function urlOf(server: Child): string {
    return /http:\S+/.exec(server.output())?.[0] ?? ''
  }

  async function fetchJson(url: string, init: RequestInit = {}): Promise<Answer> {
    const response = await fetch(url, { ...init, signal: AbortSignal.timeout(10_000) })
    return { status: response.status, body: await response.json() }
  }

  function send(server: Child, pages: number): Promise<Answer> {
    return fetchJson(urlOf(server), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query: `mutation { renderReport(title: "Sales", pages: ${pages}) }` }),
    })
  }

  /** The run's response, asked of a server that does not know the run. */
  async function follow(server: Child, runId: string): Promise<Answer> {
    let answer: Answer | undefined
    await expect
      .poll(async () => (answer = await fetchJson(`${urlOf(server)}/runs/${runId}?wait=5`)).status, PATIENCE)
      .toBe(200)
    return answer as Answer // the poll has ended, and so there is one
  }

  const page = (n: number, by: Child): string => `page ${n} of "Sales" by ${by === undefined ? '' : nameOf(by)}`
  const nameOf = (child: Child): string => `${/^(server|worker)/m.exec(child.output())?.[0]} ${child.process.pid}`
  const renders = (n: number): string[] =>
    children.flatMap((child) => child.output().match(new RegExp(`^.*: page ${n} of "Sales"$`, 'gm')) ?? [])

  it('a rolling deploy loses nothing, and nobody waits for a lease; what a killed worker had, another does (I2, I4)', async () => {
    const [server, other, worker] = await Promise.all([start('server'), start('server'), start('worker')])
    const sent = await send(server, 4)
    expect(sent.status).toBe(202)
    const { runId } = sent.body.extensions as { runId: string }

    // The server that was asked is replaced: the worker goes on.
    expect(await server.stop('SIGTERM')).toBe(0)
    await worker.printed('page 2 of "Sales"')
    const second = performance.now()
    // So is the worker, in the middle of a step: it ends the step, and the next one goes on in time.
    const [next, exitCode] = await Promise.all([start('worker'), worker.stop('SIGTERM')])
    expect(exitCode).toBe(0)
    const closedMs = performance.now() - second
    await next.printed('page 3 of "Sales"')
    const third = performance.now()
    // This one is killed in the middle of a step, which another does again.
    await next.stop('SIGKILL')
    const last = await start('worker')
    await last.printed('page 3 of "Sales"')
    const takenOverMs = performance.now() - third
    const { body } = await follow(other, runId)

    console.log(store, {
      closedMs: Math.round(closedMs),
      delayOfDeployMs: Math.round(third - second - STEP_MS - PAUSE_MS),
      takenOverMs: Math.round(takenOverMs),
    })
    const [one, two, three, four] = body.data.renderReport as string[]
    expect([one, two, three]).toEqual([page(1, server), page(2, worker), page(3, last)])
    expect(four).toMatch(/^page 4 of "Sales" by /)
    // Only what was in flight at the kill was done again.
    expect([1, 2, 3, 4].map((n) => renders(n).length)).toEqual([1, 1, 2, 1])
    expect(closedMs).toBeLessThan(LEASE_MS / 3)
    expect(third - second - STEP_MS - PAUSE_MS).toBeLessThan(LEASE_MS / 3)
    expect(takenOverMs).toBeLessThan(LEASE_MS / 2)
    expect(await last.stop('SIGTERM')).toBe(0)
    expect(await other.stop('SIGTERM')).toBe(0)
  }, 90_000)
})
