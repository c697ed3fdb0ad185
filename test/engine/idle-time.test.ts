import { envelop, useEngine, useSchema } from '@envelop/core'
import { execute, parse, subscribe, validate } from 'graphql'
import { createSchema } from 'graphql-yoga'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { useDurable } from '../../plugins/envelop.ts'
import { durableTypeDefs } from '../../schema/index.ts'
import { createDurable } from '../../src/index.ts'
import type { Durable, Step } from '../../src/index.ts'
import { createTestClock } from '../../src/testing.ts'
import type { TestClock } from '../../src/testing.ts'
import { crashSession, openStore } from '../support/stores.ts'
import type { TestStore } from '../support/stores.ts'

const HOUR = 3_600_000

/** Processes on one store and one clock, which is moved in one go. */
describe.each(['memory', 'SQLite'] as const)('a test clock that is moved by days (%s)', (name) => {
  let clock: TestClock
  let stood: TestStore
  const processes: Durable[] = []

  beforeEach(async () => {
    stood = await openStore(name)
    clock = createTestClock()
  })
  afterEach(async () => {
    for (const durable of processes.splice(0)) {
      const closed = durable.close()
      await clock.advance('1m')
      await closed
    }
    await stood.dispose()
  })

  function serve(go: (step: Step) => unknown) {
    let session: object | null = null
    const durable = createDurable({
      store: {
        name: stood.store.name,
        connect: async (options) => {
          const opened = await stood.store.connect(options)
          session = opened
          return opened
        },
      },
      clock,
      onWarning: () => {},
    })
    const schema = createSchema({
      typeDefs: [durableTypeDefs, 'type Query { go: String }'],
      resolvers: { Query: { go: (_: unknown, _args: unknown, { step }: { step: Step }) => go(step) } },
    })
    const getEnveloped: any = envelop({
      plugins: [
        useEngine({ parse, validate, execute, subscribe }),
        useSchema(schema),
        useDurable(durable, { getEnveloped: () => getEnveloped }),
      ],
    })
    processes.push(durable)
    return {
      durable,
      kill() {
        processes.splice(processes.indexOf(durable), 1)
        if (session) crashSession(session)
      },
      async ask(): Promise<string> {
        const { contextFactory, execute: run, schema: wrapped } = getEnveloped({})
        const asked = run({ schema: wrapped, document: parse('{ go }'), contextValue: await contextFactory() })
        await clock.advance('2s')
        return (await asked).extensions.runId
      },
    }
  }

  const timed = async (movement: () => Promise<void>): Promise<number> => {
    const before = performance.now()
    await movement()
    return performance.now() - before
  }

  it('costs a moment while nothing happens, also while somebody waits for a run', async () => {
    const { durable, ask } = serve((step) => step.waitForEvent('never', { event: 'never' }))
    await durable.start()
    const waited = durable.runs.wait(await ask(), { timeout: '29d' })
    expect(await timed(() => clock.advance('30d'))).toBeLessThan(3000)
    expect(await waited).toMatchObject({ status: 'SUSPENDED' })
  })

  it('has everything happen at its own instant', async () => {
    const instants: number[] = []
    const start = clock.now()
    const { durable, ask } = serve(async (step) => {
      for (let n = 1; n <= 3; n++) {
        await step.sleep('nap', '6h')
        instants.push(clock.now() - start)
      }
      await step.sendEvent('send', { name: 'ready' })
      await step.run('retried', ({ attempt }) => {
        instants.push(clock.now() - start)
        if (attempt === 1) throw new Error('not yet')
      }, { retries: 1, backoff: { initial: '2h', max: '2h', jitter: 'none' } }) // prettier-ignore
      return 'done'
    })
    await durable.start()
    const runId = await ask()
    await clock.advance('2d')
    expect(await durable.runs.get(runId)).toMatchObject({ status: 'COMPLETED', result: { data: { go: 'done' } } })
    // Naps are longer than runs are kept in memory: each replay passes through those before.
    expect(new Set(instants.map((at) => Math.round(at / 1000)))).toEqual(
      new Set([6, 12, 18, 20].map((hours) => hours * 3600)),
    )
  })

  it('has no process take another for dead, and both go on at once', async () => {
    const first = serve((step) => step.sleep('nap', '20h'))
    await first.durable.start()
    await clock.advance(333)
    const second = serve((step) => step.sleep('nap', '20h'))
    await second.durable.start()
    const runIds = [await first.ask(), await second.ask()]
    const start = clock.now()
    await clock.advance('1d')
    for (const runId of runIds) {
      const run = await first.durable.runs.get(runId)
      expect(run).toMatchObject({ status: 'COMPLETED', note: null })
      expect(Number(run?.endedAt) - start).toBeLessThan(20 * HOUR)
    }
  })

  it('has the run of a process that died taken over in time', async () => {
    let attempts = 0
    const go = async (step: Step): Promise<string> => {
      await step.sleep('nap', '2s')
      await step.run('work', () => (++attempts === 1 ? new Promise(() => {}) : 'worked'))
      await step.sleep('long nap', '6h')
      return 'done'
    }
    const first = serve(go)
    await first.durable.start()
    const runId = await first.ask()
    await clock.advance('3s')
    expect(attempts).toBe(1)
    const second = serve(go)
    await second.durable.start()
    first.kill()
    const start = clock.now()
    await clock.advance('1d')
    const run = await second.durable.runs.get(runId)
    expect(run).toMatchObject({ status: 'COMPLETED', result: { data: { go: 'done' } } })
    expect(Number(run?.endedAt) - start).toBeLessThan(6 * HOUR + 60_000)
  })
})
