import { createSchema, createYoga } from 'graphql-yoga'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { useDurable } from '../../plugins/yoga.ts'
import { durableTypeDefs } from '../../schema/index.ts'
import { createDurable } from '../../src/index.ts'
import type { Durable, DurableContext } from '../../src/index.ts'
import { postgresStore } from '../../src/postgres.ts'
import { query, sleep } from '../support/postgres.ts'
import { type Cluster, startCluster } from './cluster.ts'

/** The primary has to be one that the test may kill, and whose processes it can see: on this machine, on Linux. */
const reason =
  process.platform !== 'linux'
    ? 'it takes the processes of a server from /proc'
    : process.env['DATABASE_URL'] !== undefined
      ? 'DATABASE_URL names a server, and this test has to kill its own'
      : null

const STEPS = ['reserve', 'charge', 'ship'] as const
const CLIENTS = 6

interface Answer {
  readonly data?: { readonly order?: string | null } | null
  readonly errors?: readonly { readonly extensions?: { readonly code?: string } }[]
  readonly extensions?: { readonly runId?: string }
}

describe.skipIf(reason !== null)(`a primary that is killed${reason === null ? '' : ` (skipped: ${reason})`}`, () => {
  let cluster: Cluster
  const durables: Durable[] = []
  /** Each time that a step's function was called: `order step`. */
  const called: string[] = []
  /** Steps whose outcome the resolver was given, and so was told that it is committed. */
  const released = new Set<string>()
  const repeated: string[] = []

  beforeAll(async () => {
    cluster = await startCluster()
  }, 60_000)

  afterAll(async () => {
    await Promise.all(durables.map((durable) => durable.close({ timeout: '1s' }).catch(() => {})))
    await cluster.dispose()
  }, 30_000)

  function serve(): (body: object, key?: string) => Promise<{ status: number; body: Answer }> {
    const durable = createDurable({
      store: postgresStore({ connectionString: cluster.connectionString }),
      deferAfter: '1s',
      worker: { pollInterval: '200ms', lease: '5s' },
      onWarning: () => {},
    })
    durables.push(durable)
    const schema = createSchema<DurableContext>({
      typeDefs: [durableTypeDefs, 'type Query { ok: Boolean } type Mutation { order(n: Int!): String }'],
      resolvers: {
        Mutation: {
          order: async (_root, { n }: { n: number }, { step }) => {
            for (const name of STEPS) {
              const call = `${n} ${name}`
              await step.run(name, async () => {
                if (released.has(call)) repeated.push(call)
                called.push(call)
                await sleep(15)
              })
              released.add(call)
            }
            return `order ${n}`
          },
        },
      },
    })
    const yoga = createYoga({ schema, plugins: [useDurable(durable)], logging: false })
    return async (body, key) => {
      const response = await yoga.fetch('http://localhost/graphql', {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...(key !== undefined && { 'idempotency-key': key }) },
        body: JSON.stringify(body),
      })
      return { status: response.status, body: (await response.json()) as Answer }
    }
  }

  it('loses nothing that was acknowledged: its synchronous standby has it, and clients find that one (I1, I2, I4)', async () => {
    const servers = [serve(), serve()]
    const acknowledged = new Map<number, string>()
    let next = 0
    let open = true
    const client = async (): Promise<void> => {
      while (open) {
        const n = ++next
        for (let tries = 0; ; tries++) {
          if (tries > 600) throw new Error(`Order ${n} was never answered.`)
          const { status, body } = await servers[(n + tries) % 2]!(
            { query: 'mutation Order($n: Int!) { order(n: $n) }', variables: { n } },
            `order-${n}`,
          )
          if (status === 202 || (status === 200 && !body.errors)) {
            acknowledged.set(n, body.data?.order ?? body.extensions?.runId ?? '')
            break
          }
          await sleep(50)
        }
      }
    }
    const clients = Array.from({ length: CLIENTS }, client)
    await sleep(2_000)
    const before = acknowledged.size
    expect(before).toBeGreaterThan(5)

    await cluster.killPrimary()
    const diedWith = new Map(acknowledged)
    await sleep(1_000)
    await cluster.promote()

    for (let tries = 0; acknowledged.size < before + 20 && tries < 600; tries++) await sleep(50)
    open = false
    await Promise.all(clients)
    expect(acknowledged.size).toBeGreaterThanOrEqual(before + 20)

    const unended = `select count(*)::int as n from durable.runs where ended_at is null`
    for (let tries = 0; tries < 200; tries++) {
      if ((await query<{ n: number }>(cluster.standbyUrl, unended))[0]?.n === 0) break
      await sleep(50)
    }
    const results = await query<{ id: string; body: string }>(
      cluster.standbyUrl,
      'select r.id, s.body from durable.runs r join durable.results s on s.run = r.n',
    )
    const ended = new Set(results.map(({ body }) => (JSON.parse(body) as { result: Answer }).result.data?.order))
    const lost = [...acknowledged.keys()].filter((n) => !ended.has(`order ${n}`))
    expect(lost).toEqual([])
    expect(results).toHaveLength(next)
    expect(repeated).toEqual([])
    expect(diedWith.size).toBeLessThanOrEqual(results.length)
    expect(called.length).toBeGreaterThanOrEqual(STEPS.length * next)
  }, 90_000)
})
