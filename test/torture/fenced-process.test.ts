import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/core/system-clock.ts'
import { sqliteStore } from '../../src/sqlite.ts'
import { query, sleep, startDatabase } from '../support/postgres.ts'

const FIXTURE = new URL('fixtures/shop.ts', import.meta.url)
const OURS = `application_name like 'graphql-durable%'`

/** What a store has of a run, and of the processes that used it. */
interface Place {
  readonly database: string
  readonly journal: (runId: string) => Promise<{ key: string; body: string }[]>
  /** Connections, locks and registrations. */
  readonly leftovers: () => Promise<unknown[]>
}

describe.each(['PostgreSQL', 'SQLite'])('a process on %s that is frozen past its lease, and woken', (store) => {
  let server: Awaited<ReturnType<typeof startDatabase>> | null = null
  let directory: string
  let place: Place
  const children: ChildProcess[] = []

  beforeAll(async () => {
    server = store === 'PostgreSQL' ? await startDatabase() : null
  }, 120_000)

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'durable-fence-'))
    place = server ? onPostgres(server.url) : onSqlite(directory)
  })

  afterEach(async () => {
    for (const child of children.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      child.kill('SIGCONT')
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    rmSync(directory, { recursive: true })
  })

  afterAll(async () => server?.dispose())

  const log = (): string[] => readFileSync(join(directory, 'log'), 'utf8').trimEnd().split('\n')
  const gateOf = (name: string): string => join(directory, `gate of ${name}`)

  async function start(name: string): Promise<{ child: ChildProcess; url: string }> {
    const args = [name, place.database, join(directory, 'log'), gateOf(name)]
    const child = fork(FIXTURE, args, { execArgv: [] })
    children.push(child)
    const [port] = (await once(child, 'message')) as [number]
    return { child, url: `http://127.0.0.1:${port}/graphql` }
  }

  async function until<T>(
    look: () => T | null | undefined | false | Promise<T | null | undefined | false>,
  ): Promise<T> {
    for (let tries = 0; tries < 1_000; tries++) {
      const found = await look()
      if (found) return found
      await sleep(20)
    }
    throw new Error(`It did not come to pass. The log: ${log().join(', ')}`)
  }

  it('in the middle of a step: its writes are refused, and the run’s result is the other’s (I2, I3)', async () => {
    const frozen = await start('frozen')
    const response = await fetch(frozen.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query: 'mutation { pay }' }),
    })
    expect(response.status).toBe(202)
    const { extensions } = (await response.json()) as { extensions: { runId: string } }
    const other = await start('other')

    frozen.child.kill('SIGSTOP')
    await until(() => log().some((line) => line.startsWith('other began')))

    // Woken while the other is in the middle of it: it comes to its end first, and tries to commit that.
    const before = log().length
    writeFileSync(gateOf('frozen'), '')
    frozen.child.kill('SIGCONT')
    await until(() => log().slice(before).includes('frozen charged'))
    // On SQLite a beat is answered sooner than that, and tells it that the run is lost.
    if (store === 'PostgreSQL') await until(() => log().slice(before).includes('frozen commit after'))
    await sleep(500)

    writeFileSync(gateOf('other'), '')
    const result = `${other.url}/runs/${extensions.runId}?wait=10`
    expect(await (await fetch(result)).json()).toEqual({ data: { pay: 'charged by other' } })
    expect(log().slice(before)).not.toContain('frozen receipt')
    expect(await place.journal(extensions.runId)).toEqual([
      { key: 'pay>charge', body: '["other"]' },
      { key: 'pay>receipt', body: '["charged by other"]' },
    ])
    const keys = log().flatMap((line) => /began (\S+)/.exec(line)?.[1] ?? [])
    expect(keys).toHaveLength(2)
    expect(new Set(keys).size).toBe(1)

    for (const { child } of [frozen, other]) child.kill('SIGTERM')
    await Promise.all([frozen, other].map(({ child }) => once(child, 'exit')))
    expect(await place.leftovers()).toEqual([])
  }, 120_000)
})

function onPostgres(database: string): Place {
  return {
    database,
    journal: (runId) =>
      query(
        database,
        'select o.key, o.body from durable.outcomes o join durable.runs r on r.n = o.run where r.id = $1 order by o.pos',
        [runId],
      ),
    leftovers: async () => [
      ...(await query(database, `select pid from pg_stat_activity where ${OURS}`)),
      ...(await query(database, 'select id from durable.processes')),
    ],
  }
}

function onSqlite(directory: string): Place {
  const database = join(directory, 'runs.db')
  return {
    database,
    async journal(runId) {
      const observer = { processId: 'observer', leaseMs: 1_000, clock: systemClock }
      const session = await sqliteStore(database).connect(observer)
      const view = await session.read(runId, { journal: true })
      await session.close()
      return view?.journal?.map(({ key, body }) => ({ key, body })) ?? []
    },
    leftovers: async () => readdirSync(directory).filter((name) => name.includes('-process-')),
  }
}
