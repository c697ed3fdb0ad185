import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { query, sleep, startDatabase } from '../support/postgres.ts'

const FIXTURE = new URL('fixtures/shop.ts', import.meta.url)
const OURS = `application_name like 'graphql-durable%'`

/*
 * On PostgreSQL. On SQLite a process that is stopped counts as alive for as long as it is: its lock on its file is the
 * operating system's word, and all processes are on one host. Nobody takes its runs over, and so nothing has to be
 * refused; the run goes on when the process does.
 */
describe('a process that is frozen past its lease in the middle of a step, and woken', () => {
  let database: Awaited<ReturnType<typeof startDatabase>>
  let directory: string
  const children: ChildProcess[] = []

  beforeAll(async () => {
    database = await startDatabase()
    directory = mkdtempSync(join(tmpdir(), 'durable-fence-'))
  }, 120_000)

  afterEach(async () => {
    for (const child of children.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      child.kill('SIGCONT')
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
  })

  afterAll(async () => {
    await database.dispose()
    rmSync(directory, { recursive: true })
  })

  const log = (): string[] => readFileSync(join(directory, 'log'), 'utf8').trimEnd().split('\n')
  const gateOf = (name: string): string => join(directory, `gate of ${name}`)

  async function start(name: string): Promise<{ child: ChildProcess; url: string }> {
    const args = [name, database.url, join(directory, 'log'), gateOf(name)]
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

  it('has its writes refused, and the run’s result is the other’s (I2, I3)', async () => {
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
    await until(() => log().slice(before).includes('frozen commit after'))
    await sleep(500)

    writeFileSync(gateOf('other'), '')
    const result = `${other.url}/runs/${extensions.runId}?wait=10`
    expect(await (await fetch(result)).json()).toEqual({ data: { pay: 'charged by other' } })
    expect(log().slice(before)).not.toContain('frozen receipt')
    const journal = await query<{ key: string; body: string }>(
      database.url,
      'select o.key, o.body from durable.outcomes o join durable.runs r on r.n = o.run where r.id = $1 order by o.pos',
      [extensions.runId],
    )
    expect(journal).toEqual([
      { key: 'pay>charge', body: '["other"]' },
      { key: 'pay>receipt', body: '["charged by other"]' },
    ])
    const keys = log().flatMap((line) => /began (\S+)/.exec(line)?.[1] ?? [])
    expect(keys).toHaveLength(2)
    expect(new Set(keys).size).toBe(1)

    for (const { child } of [frozen, other]) child.kill('SIGTERM')
    await Promise.all([frozen, other].map(({ child }) => once(child, 'exit')))
    expect(await query(database.url, `select pid from pg_stat_activity where ${OURS}`)).toEqual([])
    expect(await query(database.url, 'select id from durable.processes')).toEqual([])
  }, 120_000)
})
