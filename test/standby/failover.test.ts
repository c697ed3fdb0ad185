import { afterEach, describe, expect, it } from 'vitest'
import type { Durable } from '../../src/index.ts'
import { query, sleep } from '../support/postgres.ts'
import { type Cluster, reason, startCluster } from './cluster.ts'
import { type Answer, serve } from './orders.ts'

const CLIENTS = 6

interface Failover {
  /** Orders that a client was told of, by a result or by a run to follow. */
  readonly acknowledged: number
  /** Those among them that the new primary does not know. */
  readonly lost: readonly number[]
  /** Steps that ran again after their outcome had been released, and so been committed. */
  readonly repeated: readonly string[]
  /** Runs that the new primary has, all of them ended. */
  readonly runs: number
  readonly sent: number
}

describe.skipIf(reason !== null)(`a primary that dies${reason === null ? '' : ` (skipped: ${reason})`}`, () => {
  let cluster: Cluster | null = null
  const durables: Durable[] = []

  afterEach(async () => {
    await Promise.all(durables.splice(0).map((durable) => durable.close({ timeout: '1s' })))
    await cluster?.dispose()
    cluster = null
  }, 60_000)

  /** Load, the death of the primary with its standby cut off a moment before, a promotion, and more load. */
  async function failOver(synchronous: boolean): Promise<Failover> {
    const standing = (cluster = await startCluster({ synchronous }))
    const released = new Set<string>()
    const repeated: string[] = []
    const work = async (call: string): Promise<void> => {
      if (released.has(call)) repeated.push(call)
      await sleep(15)
    }
    const servers = [0, 1].map(() => {
      const server = serve(standing.connectionString, work, (call) => released.add(call))
      durables.push(server.durable)
      return server.order
    })
    const acknowledged = new Set<number>()
    let sent = 0
    let open = true
    const client = async (): Promise<void> => {
      while (open) {
        const n = ++sent
        for (let tries = 0; !acknowledged.has(n); tries++) {
          if (tries > 600) throw new Error(`Order ${n} was never answered.`)
          const { status, body } = await servers[(n + tries) % 2]!(n)
          if (status === 202 || (status === 200 && !body.errors)) acknowledged.add(n)
          else await sleep(50)
        }
      }
    }
    const clients = Array.from({ length: CLIENTS }, client)
    const untilAcknowledged = async (count: number): Promise<void> => {
      for (let tries = 0; acknowledged.size < count && tries < 1_200; tries++) await sleep(50)
    }

    await untilAcknowledged(20)
    await standing.cutReplication()
    await sleep(1_000)
    await standing.killPrimary()
    const before = acknowledged.size
    await standing.promote()
    await untilAcknowledged(before + 20)
    open = false
    await Promise.all(clients)

    const unended = 'select count(*)::int as n from durable.runs where ended_at is null'
    for (let tries = 0; tries < 400; tries++) {
      if ((await query<{ n: number }>(standing.standbyUrl, unended))[0]?.n === 0) break
      await sleep(50)
    }
    const results = await query<{ body: string }>(
      standing.standbyUrl,
      'select s.body from durable.runs r join durable.results s on s.run = r.n',
    )
    const ended = new Set(results.map(({ body }) => (JSON.parse(body) as { result: Answer }).result.data?.order))
    const lost = [...acknowledged].filter((n) => !ended.has(`order ${n}`))
    return { acknowledged: acknowledged.size, lost, repeated, runs: results.length, sent }
  }

  it('takes nothing with it that was acknowledged, where its standby is synchronous (I1, I2, I4)', async () => {
    const { acknowledged, lost, repeated, runs, sent } = await failOver(true)
    expect(acknowledged).toBeGreaterThanOrEqual(40)
    expect(lost).toEqual([])
    expect(repeated).toEqual([])
    expect(runs).toBe(sent)
  }, 180_000)

  it('takes the last acknowledgements with it where its standby is asynchronous: what the documentation warns of', async () => {
    const { lost, runs, sent } = await failOver(false)
    expect(lost.length).toBeGreaterThan(0)
    expect(runs).toBeLessThan(sent)
  }, 180_000)
})
