import { AsyncLocalStorage } from 'node:async_hooks'
import { describe, expect, it } from 'vitest'
import { createApp, runIdOf, useApps } from './harness.ts'
import type { App, AppSpec, ServerKind } from './harness.ts'

// What `context.enter` may do wrong, and that no run waits for it for ever (I4).

useApps({ postgres: false })

const user = new AsyncLocalStorage<string>()

function spec(enter: unknown, log: string[]): AppSpec {
  return {
    typeDefs: 'type Query { a: Int } type Mutation { order: String @durable }',
    resolvers: {
      Mutation: {
        order: async (_: unknown, __: unknown, { step }: any) => {
          await step.run('charge', () => void log.push('charged'))
          await step.sleep('nap', '1m')
          return step.run('ship', () => {
            log.push('shipped')
            return `shipped for ${user.getStore() ?? 'nobody'}`
          })
        },
      },
    },
    durable: { context: { capture: () => 'ada', enter: enter as never } },
  }
}

/** Deferred, and then resumed cold by another process, where `enter` does what it does wrong. */
async function resumed(server: ServerKind, enter: unknown): Promise<{ app: App; runId: string; log: string[] }> {
  const log: string[] = []
  const app = await createApp(
    server,
    spec((_captured: unknown, _run: unknown, next: () => unknown) => next(), log),
  )
  const runId = runIdOf(await app.ask('mutation { order }'))
  await app.restart(spec(enter, log))
  return { app, runId, log }
}

type Next = () => Promise<unknown>
const later = () => new Promise((resolve) => setImmediate(resolve))

describe.each(['Yoga', 'Envelop'] as const)('context.enter with %s', (server) => {
  it.each([
    ['returns nothing', () => {}, 'did not call next'],
    ['resolves with nothing', async () => {}, 'did not call next'],
    ['never settles', () => new Promise(() => {}), 'has not called next within 10 seconds'],
  ])(
    'that calls no `next` and %s is a resume failure, which ends the run after so many',
    async (_what, enter, reason) => {
      const { app, runId, log } = await resumed(server, enter)
      await app.clock.advance('1m')
      for (let turn = 0; turn < 5; turn++) await app.clock.advance('5s')
      expect(await app.durable.runs.get(runId)).toMatchObject({ note: expect.stringContaining(reason) })
      const run = await app.ended(runId, '30m')
      expect(run.result?.errors).toMatchObject([{ extensions: { code: 'DURABLE_RESUME_FAILED' } }])
      expect(JSON.stringify(run.result)).not.toContain('enter')
      expect(log).toEqual(['charged'])
    },
  )

  it('that calls `next` once it is in order is tried again, and the run ends as it should', async () => {
    let isBroken = true
    const enter = (captured: string, _run: unknown, next: Next) => (isBroken ? undefined : user.run(captured, next))
    const { app, runId, log } = await resumed(server, enter)
    await app.clock.advance('61s')
    expect((await app.durable.runs.get(runId))?.note).toContain('did not call next')
    isBroken = false
    const run = await app.ended(runId)
    expect(run.result).toEqual({ data: { order: 'shipped for ada' } })
    expect(log).toEqual(['charged', 'shipped'])
  })

  it.each([
    ['forgets to return it', (captured: string, _run: unknown, next: Next) => void user.run(captured, next)],
    [
      'awaits it and forgets to return it',
      async (captured: string, _run: unknown, next: Next) => {
        await later()
        await user.run(captured, next)
      },
    ],
    ['returns something else', (captured: string, _run: unknown, next: Next) => (void user.run(captured, next), 'x')],
    [
      'never settles afterwards',
      async (captured: string, _run: unknown, next: Next) => {
        await user.run(captured, next)
        await new Promise(() => {})
      },
    ],
  ])('that calls `next` and %s changes nothing, with a warning', async (_what, enter) => {
    const { app, runId, log } = await resumed(server, enter)
    const run = await app.ended(runId)
    expect(run.result).toEqual({ data: { order: 'shipped for ada' } })
    expect(log).toEqual(['charged', 'shipped'])
    expect(app.warnings.filter(({ message }) => message.startsWith('context.enter'))).toHaveLength(1)
  })

  it('that calls `next` twice executes the operation once', async () => {
    const enter = (captured: string, _run: unknown, next: Next) =>
      user.run(captured, () => Promise.all([next(), next()]).then(([first]) => first))
    const { app, runId, log } = await resumed(server, enter)
    const run = await app.ended(runId)
    expect(run.result).toEqual({ data: { order: 'shipped for ada' } })
    expect(log).toEqual(['charged', 'shipped'])
    expect(app.warnings.map(({ message }) => message).join()).toContain('called next twice')
  })

  it('that takes its time before and after is waited for, and its own failure is a resume failure', async () => {
    const events: string[] = []
    let isBroken = true
    const enter = async (captured: string, _run: unknown, next: Next) => {
      await later()
      events.push('opened')
      try {
        return await user.run(captured, next)
      } finally {
        await later()
        events.push('closed')
        // oxlint-disable-next-line no-unsafe-finally -- what a transaction that cannot commit does
        if (isBroken) throw new Error('The transaction could not be committed: secret')
      }
    }
    const { app, runId } = await resumed(server, enter)
    await app.clock.advance('61s')
    expect(await app.durable.runs.get(runId)).toMatchObject({ note: expect.stringContaining('could not be committed') })
    isBroken = false
    const run = await app.ended(runId)
    expect(run.result).toEqual({ data: { order: 'shipped for ada' } })
    expect(events.slice(0, 2)).toEqual(['opened', 'closed'])
  })

  it('is called for hot passes, too', async () => {
    const log: string[] = []
    const app = await createApp(
      server,
      spec(() => {}, log),
    )
    const runId = runIdOf(await app.ask('mutation { order }'))
    await app.clock.advance('1s')
    expect((await app.durable.runs.get(runId))?.note).toContain('did not call next')
    const run = await app.ended(runId, '30m')
    expect(run.result?.errors).toMatchObject([{ extensions: { code: 'DURABLE_RESUME_FAILED' } }])
  })
})
