import { afterEach, describe, expect, it } from 'vitest'
import type { Durable } from '../../src/index.ts'
import { sleep } from '../support/postgres.ts'
import { type Cluster, reason, startCluster } from './cluster.ts'
import { type OrderServer, serve } from './orders.ts'

const CLIENTS = 6

/** When an order was first sent, and when it was answered. */
interface Acknowledgement {
  readonly sentAt: number
  readonly at: number
}

describe.skipIf(reason !== null)(`an old primary${reason === null ? '' : ` (skipped: ${reason})`}`, () => {
  let cluster: Cluster | null = null
  const durables: Durable[] = []

  afterEach(async () => {
    await Promise.all(durables.splice(0).map((durable) => durable.close({ timeout: '1s' })))
    await cluster?.dispose()
    cluster = null
  }, 60_000)

  function start(connectionString: string): OrderServer {
    const server = serve(connectionString, () => sleep(15))
    durables.push(server.durable)
    return server
  }

  /** Clients that order, and order again until they have been answered. */
  function load(servers: readonly OrderServer[]): {
    readonly acknowledged: Map<number, Acknowledgement>
    stop(): Promise<void>
  } {
    const acknowledged = new Map<number, Acknowledgement>()
    let sent = 0
    let open = true
    const client = async (): Promise<void> => {
      while (open) {
        const n = ++sent
        const sentAt = performance.now()
        for (let tries = 0; !acknowledged.has(n) && tries < 600; tries++) {
          const { status, body } = await servers[(n + tries) % servers.length]!.order(n)
          if (status === 202 || (status === 200 && !body.errors)) acknowledged.set(n, { sentAt, at: performance.now() })
          else await sleep(50)
        }
      }
    }
    const clients = Array.from({ length: CLIENTS }, client)
    return {
      acknowledged,
      async stop() {
        open = false
        await Promise.all(clients)
      },
    }
  }

  async function until(holds: () => boolean): Promise<void> {
    for (let tries = 0; !holds() && tries < 1_200; tries++) await sleep(50)
    expect(holds()).toBe(true)
  }

  it('that is frozen and thaws after a promotion is not believed: what was acknowledged is there, and a retry is no conflict (I1, I4)', async () => {
    const standing = (cluster = await startCluster({ synchronous: true }))
    const servers = [0, 1].map(() => start(standing.connectionString))
    const { acknowledged, stop } = load(servers)
    await until(() => acknowledged.size >= 20)
    standing.freezePrimary()
    await standing.promote()
    const promotedAt = performance.now()
    // What was stored before may be answered by "follow it" without the database.
    const firstAt = (): number =>
      Math.min(...[...acknowledged.values()].filter(({ sentAt }) => sentAt > promotedAt).map(({ at }) => at))
    await until(() => firstAt() < Infinity)
    // A host that is lost looks like this: nothing is refused, nothing is answered.
    const tookMs = firstAt() - promotedAt
    console.log('first acknowledgement after the promotion, ms', Math.round(tookMs))
    expect(tookMs).toBeLessThan(8_000)

    const before = acknowledged.size
    await until(() => acknowledged.size >= before + 20)
    standing.thawPrimary()
    // One that has never heard of the promotion, and is asked as soon as the old primary answers again.
    const late = start(standing.connectionString)
    const everybody = [...servers, late]
    const wrong: unknown[] = []
    const orders = [...acknowledged.keys()]
    for (let round = 0; round < 3; round++) {
      for (const n of orders.slice(-40)) {
        for (const server of everybody) {
          const again = await server.order(n)
          // Once the store can be had, it is the same run that answers: with its result, or as one to be followed.
          const codes = again.body.errors?.map((error) => error.extensions?.code) ?? []
          if (codes.includes('DURABLE_IDEMPOTENCY_CONFLICT')) wrong.push(again.body)
          const runId = again.body.extensions?.runId
          if (runId === undefined) continue
          const followed = await server.follow(runId)
          if (followed.body.data?.durableRun === null) wrong.push(followed.body)
        }
      }
    }
    await stop()
    expect(wrong).toEqual([])
    for (const n of acknowledged.keys()) {
      const answer = await late.order(n)
      expect(answer.body).toMatchObject({ data: { order: `order ${n}` } })
    }
  }, 180_000)
})
