import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { sleep, startDatabase } from '../support/postgres.ts'

const FIXTURE = new URL('fixtures/poison.ts', import.meta.url)
/** As many as the engine takes before it holds a run responsible: fewer where it was alone. */
const DEATHS = [5, 6, 7]

interface Life {
  readonly child: ChildProcess
  readonly url: string
}

describe.each(['SQLite', 'PostgreSQL'])('two supervised processes on %s, and a run that', (store) => {
  let server: Awaited<ReturnType<typeof startDatabase>> | null = null
  let directory: string
  let database: string
  let lives: (Life | null)[]
  let deaths: number
  let isOver: boolean

  beforeAll(async () => {
    server = store === 'PostgreSQL' ? await startDatabase() : null
  }, 120_000)

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'durable-poison-'))
    database = server?.url ?? join(directory, 'runs.db')
    ;[lives, deaths, isOver] = [[null, null], 0, false]
    await Promise.all([supervise(0), supervise(1)])
  }, 120_000)

  afterEach(async () => {
    isOver = true
    const left = lives.flatMap((life) => life?.child ?? [])
    const exits = left.map((child) => once(child, 'exit'))
    for (const child of left) child.kill('SIGKILL')
    await Promise.all(exits)
    rmSync(directory, { recursive: true })
  })

  afterAll(async () => server?.dispose())

  /** Resolves once it listens; whenever it dies it is started again. */
  async function supervise(place: number): Promise<void> {
    const child = fork(FIXTURE, [database, join(directory, 'log')], { execArgv: [] })
    child.once('exit', () => {
      lives[place] = null
      if (isOver) return
      deaths++
      void supervise(place)
    })
    const port = await Promise.race([
      once(child, 'message').then(([port]) => Number(port)),
      once(child, 'exit').then(() => 0),
    ])
    if (isOver) child.kill('SIGKILL')
    else if (port > 0) lives[place] = { child, url: `http://127.0.0.1:${port}/graphql` }
  }

  const log = (): string[] =>
    readFileSync(join(directory, 'log'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => line.slice(line.indexOf(' ') + 1))

  async function begin(query: string): Promise<string> {
    const response = await fetch(lives[0]?.url ?? '', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query }),
    })
    const { extensions } = (await response.json()) as { extensions: { runId: string } }
    return extensions.runId
  }

  /** Its result, from whoever is up. */
  async function resultOf(runId: string): Promise<any> {
    const giveUpAt = performance.now() + 90_000
    for (;;) {
      const [up] = lives.filter((life) => life !== null)
      try {
        const response = up && (await fetch(`${up.url}/runs/${runId}?wait=1`, { signal: AbortSignal.timeout(10_000) }))
        if (response?.status === 200) return await response.json()
      } catch {
        // It died while it was asked.
      }
      if (performance.now() > giveUpAt) throw new Error(`${runId} has not ended. The log: ${log().join(', ')}`)
      await sleep(100)
    }
  }

  it('kills its process each time: it is given up, and takes nothing down with it (I2, I4)', async () => {
    const innocents = await Promise.all([1, 2, 3].map((n) => begin(`mutation { slow(n: ${n}) }`)))
    const poison = await begin('mutation { kill }')
    const given = await resultOf(poison)
    expect(given).toMatchObject({ data: null, errors: [{ extensions: { code: 'DURABLE_RESUME_FAILED' } }] })
    for (const [at, runId] of innocents.entries()) {
      expect(await resultOf(runId)).toEqual({ data: { slow: `slow ${at + 1} is done` } })
    }
    expect(DEATHS).toContain(deaths)
    expect(log().filter((line) => line === 'kill')).toHaveLength(deaths)
  }, 150_000)

  it('blocks the event loop for longer than the lease each time: it is given up as well (I3)', async () => {
    const innocents = await Promise.all([1, 2].map((n) => begin(`mutation { slow(n: ${n}) }`)))
    const poison = await begin('mutation { block }')
    const given = await resultOf(poison)
    expect(given).toMatchObject({ data: null, errors: [{ extensions: { code: 'DURABLE_RESUME_FAILED' } }] })
    for (const [at, runId] of innocents.entries()) {
      expect(await resultOf(runId)).toEqual({ data: { slow: `slow ${at + 1} is done` } })
    }
    expect(DEATHS).toContain(log().filter((line) => line === 'block').length)
    expect(deaths).toBe(0)
  }, 150_000)
})
