import { Client, Pool } from 'pg'
import { afterEach, describe, expect, it } from 'vitest'
import { codesOf, reason, terminateAll, useWorld } from './world.ts'

const MAX_CONNECTIONS = 30
const PATIENCE = { timeout: 10_000 }

describe.skipIf(reason !== null)(`a server${reason === null ? '' : ` (skipped: ${reason})`}`, () => {
  const world = useWorld({ settings: { max_connections: MAX_CONNECTIONS, superuser_reserved_connections: 3 } })
  const taken: Client[] = []

  afterEach(async () => {
    await letGo()
    await world.sql('alter database postgres reset default_transaction_isolation')
    await world.sql('drop owned by shop cascade; drop role shop')
  })

  /** A role that is no superuser, for whom no connection is kept free. */
  async function makeRole(): Promise<string> {
    await world.sql('create role shop login; grant create on database postgres to shop')
    const url = new URL(world.server.url)
    url.username = 'shop'
    return url.href
  }

  /** Takes connections until there are none left. */
  async function takeAll(connectionString: string): Promise<void> {
    for (;;) {
      const client = new Client({ connectionString })
      client.on('error', () => {})
      try {
        await client.connect()
        taken.push(client)
      } catch (error) {
        expect(error).toMatchObject({ code: '53300' })
        return
      }
    }
  }

  async function letGo(): Promise<void> {
    await Promise.all(taken.splice(0).map((client) => client.end()))
  }

  it('whose connections are all taken by others is tried again, then the client is told; then all is well by itself (I4)', async () => {
    const connectionString = await makeRole()
    const app = world.start({ connectionString })
    const { runId } = (await app.ask('mutation { approval(n: 1) }')).body.extensions
    await expect
      .poll(async () => {
        await takeAll(connectionString)
        return terminateAll(world.server.url)
      }, PATIENCE)
      .toBe(0)
    const full = app.commits.length
    const answer = await app.ask('mutation { order(n: 2) }')
    expect(codesOf(answer)).toEqual(['DURABLE_STORE_UNAVAILABLE'])
    expect(JSON.stringify(answer.body)).not.toContain('run_')
    expect(app.commits.length - full).toBeGreaterThan(3)
    await expect(app.durable.send({ name: 'approved', data: { n: 1, by: 'Bob' } })).rejects.toMatchObject({
      code: 'DURABLE_STORE_UNAVAILABLE',
    })
    // Another process comes up meanwhile.
    const late = world.start({ connectionString })
    expect(codesOf(await late.ask('mutation { order(n: 3) }'))).toEqual(['DURABLE_STORE_UNAVAILABLE'])

    await letGo()
    await late.durable.start()
    expect((await late.ask('mutation { order(n: 4) }')).body).toEqual({ data: { order: 'order 4' } })
    expect((await app.ask('mutation { order(n: 5) }')).body).toEqual({ data: { order: 'order 5' } })
    await app.durable.send({ name: 'approved', data: { n: 1, by: 'Bob' } })
    expect(await app.result(runId)).toEqual({ data: { approval: '1 by Bob' } })
    expect(world.repeated).toEqual([])
    expect(app.warnings.some((warning) => warning.includes('max_connections'))).toBe(true)
  })

  it('whose database makes every transaction serializable: processes start at once, runs and events go side by side (I2, I4, I6)', async () => {
    const connectionString = await makeRole()
    await world.sql('alter database postgres set default_transaction_isolation = serializable')
    const apps = Array.from({ length: 4 }, () => world.start({ connectionString, deferAfter: '2s' }))
    await Promise.all(apps.map((app) => app.durable.start()))
    const from = performance.now()
    const orders = Array.from({ length: 120 }, async (_, n) => {
      const kind = (['order', 'parcel', 'approval'] as const)[n % 3] ?? 'order'
      const app = apps[n % apps.length]
      const other = apps[(n + 1) % apps.length]
      const answer = await app?.ask(`mutation { ${kind}(n: ${n}) }`)
      if (kind === 'approval') await other?.durable.send({ name: 'approved', data: { n, by: 'Bob' } })
      const runId = answer?.body.extensions?.runId
      const body = runId ? await other?.result(runId) : answer?.body
      expect(body).toEqual({ data: { [kind]: kind === 'approval' ? `${n} by Bob` : `${kind} ${n}` } })
    })
    await Promise.all(orders)
    const warnings = apps.flatMap((app) => app.warnings)
    const [setting] = await world.sql<{ isolation: string }>(
      `select current_setting('default_transaction_isolation') as isolation`,
    )
    expect(setting?.isolation).toBe('serializable')
    console.log(
      'serializable',
      { tookMs: Math.round(performance.now() - from), warnings: warnings.length },
      warnings.slice(0, 3),
    )
    expect(world.repeated).toEqual([])
    expect(world.calls.length).toBe(new Set(world.calls).size)
  })

  it('that resolvers hold every connection of their own pool of, while they await a step, answers all the same', async () => {
    const connectionString = await makeRole()
    const pool = new Pool({ connectionString, max: 2 })
    const app = world.start({
      pool,
      resolvers: {
        async custom({ n }: { n: number }, { step }) {
          const client = await pool.connect()
          try {
            const text = await step.run('read', async () => {
              const { rows } = await client.query<{ text: string }>(`select 'custom ' || $1 as text`, [n])
              return rows[0]?.text
            })
            await step.sleep('hold on', 20)
            return await step.run('again', () => text)
          } finally {
            client.release()
          }
        },
      },
    })
    const answers = await Promise.all(Array.from({ length: 10 }, (_, n) => app.ask(`mutation { custom(n: ${n}) }`)))
    await pool.end()
    expect(answers.map(({ body }) => body)).toEqual(answers.map((_, n) => ({ data: { custom: `custom ${n}` } })))
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
  })

  it('that lets the application use the schema and not change it is enough, once its owner has made it', async () => {
    const connectionString = await makeRole()
    // As docs/postgres-production.md has it.
    const schema = `"${world.schema}"`
    await world.sql(`create role owner login; create schema ${schema} authorization owner;
      grant usage on schema ${schema} to shop;
      alter default privileges for role owner in schema ${schema}
        grant select, insert, update, delete on tables to shop`)
    await world.sql('revoke create on database postgres from shop')
    world.whenClosed(async () => void (await world.sql('drop owned by owner cascade; drop role owner')))
    const early = world.start({ connectionString })
    await expect(early.durable.start()).rejects.toMatchObject({
      kind: 'broken',
      message: expect.stringMatching(/42501/),
    })
    const url = new URL(connectionString)
    url.username = 'owner'
    const migration = world.start({ connectionString: url.href })
    await migration.durable.start()
    await migration.close()

    const app = world.start({ connectionString })
    const { runId } = (await app.ask('mutation { approval(n: 1) }')).body.extensions
    await app.durable.send({ name: 'approved', data: { n: 1, by: 'Bob' } })
    expect(await app.result(runId)).toEqual({ data: { approval: '1 by Bob' } })
    expect(app.warnings).toEqual([])
    await app.durable.runs.delete(runId)
  })
})
