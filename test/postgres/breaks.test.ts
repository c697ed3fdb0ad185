import { describe, expect, it } from 'vitest'
import { sleep } from '../support/postgres.ts'
import { type Answer, reason, terminateAll, useWorld } from './world.ts'

const CLIENTS = 6
const KINDS = ['order', 'parcel', 'approval'] as const
const PATIENCE_MS = 20_000

const BREAKS = {
  'all of the store’s backends are terminated': (server) => terminateAll(server.url),
  async 'the server is restarted, sessions ended'(server) {
    await server.stop('fast')
    await server.start()
  },
  async 'the server crashes and recovers'(server) {
    await server.stop('immediate')
    await server.start()
  },
} satisfies Record<string, (server: ReturnType<typeof useWorld>['server']) => Promise<unknown>>

describe.skipIf(reason !== null)(`when${reason === null ? '' : ` (skipped: ${reason})`}`, () => {
  const world = useWorld()

  /** Two processes under load: steps in flight, runs parked, runs being claimed, events under way. */
  async function load(
    breakIt: () => Promise<unknown>,
    breaks: number,
    pauseMs: number,
  ): Promise<Record<string, number>> {
    world.gate = () => sleep(15)
    const apps = [world.start({ deferAfter: '3s' }), world.start({ deferAfter: '3s' })]
    await Promise.all(apps.map((app) => app.durable.start()))
    const acknowledged = new Map<number, { readonly field: string; readonly answer: Answer }>()
    let sent = 0
    let open = true
    const client = async (): Promise<void> => {
      while (open) {
        const n = ++sent
        const field = KINDS[n % KINDS.length] ?? 'order'
        const giveUpAt = performance.now() + PATIENCE_MS
        for (let tries = 0; ; tries++) {
          const app = apps[(n + tries) % apps.length]
          const answer = await app?.ask(`mutation { ${field}(n: ${n}) }`, { 'idempotency-key': `${field} ${n}` })
          if (answer && (answer.status === 202 || !answer.body.errors)) {
            acknowledged.set(n, { field, answer })
            break
          }
          if (performance.now() > giveUpAt) throw new Error(`Nobody answered: ${JSON.stringify(answer?.body)}`)
          await sleep(50)
        }
        if (field === 'approval') await approve(n)
      }
    }
    const approve = async (n: number): Promise<void> => {
      const event = { id: `approval ${n}`, name: 'approved', data: { n, by: 'Bob' } }
      for (let tries = 0; tries < 200; tries++) {
        const accepted = await apps[(n + tries) % apps.length]?.durable.send(event).catch(() => null)
        if (accepted) return
        await sleep(50)
      }
      throw new Error(`Nobody accepted the approval of ${n}.`)
    }
    const clients = Array.from({ length: CLIENTS }, client)
    const working = Promise.all(clients)
    for (let times = 0; times < breaks; times++) {
      await sleep(pauseMs)
      await breakIt()
    }
    const { size } = acknowledged
    await expect.poll(() => acknowledged.size, { timeout: PATIENCE_MS }).toBeGreaterThanOrEqual(size + 20)
    open = false
    await working

    let deferred = 0
    for (const [n, { field, answer }] of acknowledged) {
      const { runId } = answer.body.extensions ?? {}
      if (runId) deferred++
      const result = runId ? await apps[n % apps.length]?.result(runId) : answer.body
      expect(result).toEqual({ data: { [field]: field === 'approval' ? `${n} by Bob` : `${field} ${n}` } })
    }
    // Also those that no client was told of: they were sent again under their key, and are one run (I4).
    const unended = `select id, status, note from durable.runs where ended_at is null`
    await expect.poll(() => world.sql(unended), { timeout: PATIENCE_MS }).toEqual([])
    const [count] = await world.sql<{ n: number }>('select count(*)::integer as n from durable.runs')
    expect(count?.n).toBe(sent)
    const again = world.calls.length - new Set(world.calls).size
    return { acknowledged: acknowledged.size, deferred, stepsInFlightThatRanAgain: again }
  }

  it.each([
    ['all of the store’s backends are terminated', 12, 250],
    ['the server is restarted, sessions ended', 2, 1_500],
    ['the server crashes and recovers', 2, 1_500],
  ] as const)(
    '%s in the middle of runs, what was acknowledged ends and is not run twice (I1, I2, I4)',
    async (what, breaks, pauseMs) => {
      const figures = await load(() => BREAKS[what](world.server), breaks, pauseMs)
      console.log(what, figures)
      expect(world.repeated).toEqual([])
      expect(figures['acknowledged']).toBeGreaterThan(40)
      expect(figures['deferred']).toBeGreaterThan(10)
    },
  )

  it.each([
    ['and whose promises it has in memory', {}],
    ['and that it has to resume', { hot: { runs: 0 } }],
  ])(
    'the answer to a claim is lost, the process gives back the run that it never heard of %s (I4)',
    async (_which, options) => {
      let lost = 0
      const app = world.start({
        ...options,
        onCommit(phase, what) {
          if (phase !== 'after' || what !== 'claim' || !isSent || lost > 0) return
          lost++
          throw new Error('The connection was lost before the answer came.')
        },
      })
      let isSent = false
      const { runId } = (await app.ask('mutation { approval(n: 1) }')).body.extensions
      await expect.poll(() => world.sql('select id from durable.runs where holder is not null')).toEqual([])
      isSent = true
      await app.durable.send({ name: 'approved', data: { n: 1, by: 'Bob' } })
      const from = performance.now()
      expect(await app.result(runId)).toEqual({ data: { approval: '1 by Bob' } })
      expect(performance.now() - from).toBeLessThan(5_000)
      expect(lost).toBe(1)
      expect(world.repeated).toEqual([])
    },
  )
})
