import { once } from 'node:events'
import { chownSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Pool } from 'pg'
import { systemClock } from '../../../src/core/system-clock.ts'
import { postgresStore } from '../../../src/postgres.ts'
import type { PostgresStoreOptions } from '../../../src/postgres.ts'
import { destinationOf } from '../../../src/store/postgres/hosts.ts'
import { Lane } from '../../../src/store/postgres/lane.ts'
import { freePort, nextSchema, startPostgres, sleep } from '../../support/postgres.ts'

const NOBODY = 65_534

describe('a connection string with several hosts', () => {
  it('of which none takes writes does not have each of them asked for every connection that anybody would like', async () => {
    let asked = 0
    const host = createServer((socket) => {
      asked++
      socket.destroy()
    }).listen(0, '127.0.0.1')
    await once(host, 'listening')
    const address = host.address()
    const port = typeof address === 'object' ? address?.port : 0
    const destination = destinationOf({
      connectionString: `postgres://postgres@127.0.0.1:${port},127.0.0.1:${await freePort()}/postgres`,
    })
    const options = { destination, schema: 'durable', size: 1, timeoutMs: 5_000, configure: null, prepares: true }
    const lanes = ['a', 'b', 'c'].map((name) => new Lane({ name, ...options }))
    const until = performance.now() + 2_000
    const using = lanes.map(async (lane) => {
      while (performance.now() < until) {
        await expect(lane.execute('select 1')).rejects.toThrow('no host takes writes')
        await sleep(5)
      }
    })
    await Promise.all(using)
    await Promise.all(lanes.map((lane) => lane.end()))
    host.close()
    expect(asked).toBeGreaterThan(3) // it may have been promoted meanwhile
    expect(asked).toBeLessThan(10)
  })

  it('may name sockets of this machine by their directories, and be that of a pool', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'durable-socket-'))
    if (process.getuid?.() === 0) chownSync(directory, NOBODY, NOBODY)
    const server = await startPostgres({ settings: { unix_socket_directories: directory } })
    const closed = await freePort()
    const socket = `${encodeURIComponent(directory)}:${server.port}`
    const strings = [
      `postgres://postgres@${socket},127.0.0.1:${closed}/postgres`,
      `postgres://postgres@127.0.0.1:${closed},${socket}/postgres`,
    ]
    const stores: PostgresStoreOptions[] = strings.flatMap((connectionString) => [
      { connectionString },
      { pool: new Pool({ connectionString }) },
    ])
    const schema = nextSchema()
    try {
      for (const options of stores) {
        const store = postgresStore({ ...options, schema })
        const session = await store.connect({ processId: 'p', leaseMs: 5_000, clock: systemClock })
        expect(await session.list({ first: 1 })).toEqual([])
        await session.close()
      }
    } finally {
      await server.dispose()
      rmSync(directory, { recursive: true })
    }
  }, 60_000)

  it('has them where the driver looks for one, not among its parameters', () => {
    expect(() => postgresStore({ connectionString: 'postgres:///app?host=a,b&port=1,2' })).toThrow(
      'postgresStore expected several hosts as in postgres://user@a:5432,b:5432/database',
    )
  })
})
