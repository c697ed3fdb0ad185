import { describe, expect, it } from 'vitest'
import { resumeInfo } from '../../src/index.ts'
import { createApp, runIdOf, STACKS, useApps, YOGA_STACKS } from './harness.ts'
import type { App, AppSpec } from './harness.ts'

useApps()

/** What a resolver finds in its context, before it waits and after. */
const spec = (see: (context: any) => unknown): AppSpec => ({
  typeDefs: 'type Query { a: String }',
  resolvers: {
    Query: {
      a: async (_: unknown, __: unknown, context: any) => {
        const before = see(context)
        await context.step.waitForEvent('go', { event: 'go' })
        return JSON.stringify([before, see(context)])
      },
    },
  },
})

async function seen(app: App, how: 'hot' | 'cold', make?: () => any): Promise<{ runId: string; seen: any }> {
  const runId = runIdOf(await app.ask('{ a }', make ? { contextValue: make } : {}))
  if (how === 'cold') await app.restart()
  await app.durable.send({ name: 'go' })
  const { result } = await app.ended(runId)
  return { runId, seen: JSON.parse(String(result?.data?.['a'])) }
}

const own = { send: 'ours' }

describe.each(STACKS)('$server over $store', (stack) => {
  describe.each(['hot', 'cold'] as const)('resumed %s', (how) => {
    it('tells of the run, and of what was captured', async () => {
      const inPlugin: unknown[] = []
      const plugin = { onExecute: ({ args }: any) => void inPlugin.push(resumeInfo(args.contextValue)) }
      const app = await createApp(stack, {
        ...spec(resumeInfo),
        before: [plugin],
        durable: { context: { capture: () => 'kept' } },
      })
      const { runId, seen: found } = await seen(app, how)
      const info = { runId, resuming: true, captured: 'kept' }
      expect(found).toEqual(how === 'hot' ? [null, info] : [info, info])
      expect(inPlugin[0]).toBeNull()
      expect(inPlugin.at(-1)).toEqual(info)
    })

    it("leaves a `durable` of the application's own alone", async () => {
      const app = await createApp(stack, {
        ...spec((context) => [context.durable, resumeInfo(context) !== null]),
        context: () => ({ durable: own }),
      })
      const { seen: found } = await seen(app, how)
      expect(found).toEqual([
        [own, how === 'cold'],
        [own, true],
      ])
    })

    it('leaves one alone that restore gives', async () => {
      const context = { capture: () => 1, restore: () => ({ durable: own }) }
      const app = await createApp(stack, {
        ...spec(({ durable }) => durable ?? null),
        durable: { context },
        context: (initial: any) => (resumeInfo(initial) ? {} : { durable: own }),
      })
      expect((await seen(app, how)).seen).toEqual([own, own])
    })

    it('is there where `create` makes the context, frozen as well', async () => {
      for (const freeze of [false, true]) {
        const create = () => {
          const created = { durable: own }
          return freeze ? Object.freeze(created) : created
        }
        const app = await createApp(stack, {
          ...spec((context) => [context.durable ?? null, resumeInfo(context)?.captured ?? null]),
          durable: { context: { capture: () => 'kept', create } },
        })
        const { seen: found } = await seen(app, how)
        expect(found[1]).toEqual(how === 'cold' ? [own, 'kept'] : [expect.anything(), 'kept'])
      }
    })

    it('is told to the context function of a cold pass', async () => {
      const calls: unknown[] = []
      const app = await createApp(stack, {
        ...spec(() => 1),
        context: (initial: any) => {
          calls.push(resumeInfo(initial)?.resuming ?? null)
          return {}
        },
      })
      await seen(app, how)
      expect(calls[0]).toBeNull()
      if (how === 'cold') expect(calls).toContain(true)
    })
  })
})

describe.each(YOGA_STACKS)('hooks over $store', (stack) => {
  it.each(['hot', 'cold'] as const)(
    "of the client's own answer are told of none, those of a pass of it: %s",
    async (how) => {
      const told: unknown[] = []
      const note = (by: string, { data }: any, context: unknown): void =>
        void told.push([by, data.a === null ? 'deferred' : 'result', resumeInfo(context)?.resuming ?? null])
      const plugin = {
        async onExecutionResult({ result, context }: any) {
          await Promise.resolve()
          note('execution', result, context)
        },
        async onResultProcess({ result, serverContext }: any) {
          await new Promise(setImmediate)
          note('process', result, serverContext)
        },
      }
      const app = await createApp(stack, { ...spec(() => 1), before: [plugin] })
      await seen(app, how)
      expect(told).toEqual([
        ['execution', 'deferred', null],
        ['process', 'deferred', null],
        ['execution', 'result', true],
        ['process', 'result', true],
      ])
    },
  )
})

it('is null for what is no context, and has nothing of other properties', () => {
  for (const context of [null, undefined, 1, 'x', {}, { durable: { runId: 'x', resuming: true } }]) {
    expect(resumeInfo(context)).toBeNull()
  }
})

describe.each(['hot', 'cold'] as const)('in a context that %s', (how) => {
  it.each<[string, () => any, string]>([
    ['is frozen', () => Object.freeze({ x: 1 }), 'object'],
    ['is not there', () => undefined, 'object'],
    [
      'has a getter',
      () => ({
        get durable() {
          return 7
        },
      }),
      'number',
    ],
    [
      'inherits a setter',
      () =>
        Object.create({
          set durable(_: unknown) {
            throw new Error('set')
          },
        }),
      'undefined',
    ],
  ])('a resumed run has, one that %s: it is told to resolvers', async (_what, make, durable) => {
    const typeOfDurable = (context: any): string => typeof context.durable
    const app = await createApp(
      'Envelop',
      spec((context) => [resumeInfo(context)?.resuming ?? null, typeOfDurable(context)]),
    )
    const { seen: found } = await seen(app, how, make)
    expect(found[1]).toEqual([true, how === 'hot' ? durable : 'object'])
  })
})

it('tells each of two runs in one context of itself', async () => {
  const shared = {}
  const app = await createApp(
    'Envelop',
    spec((context) => resumeInfo(context)?.runId ?? null),
  )
  const ask = () => app.ask('{ a }', { contextValue: () => shared })
  const runs = [runIdOf(await ask()), runIdOf(await ask())]
  await app.durable.send({ name: 'go' })
  for (const runId of runs) {
    const { result } = await app.ended(runId)
    expect(JSON.parse(String(result?.data?.['a']))[1]).toBe(runId)
  }
})

it('is null again for the next operation of a client in the same context', async () => {
  const shared: any = {}
  const found: unknown[] = []
  const { typeDefs, resolvers } = spec(() => 1)
  const app = await createApp('Envelop', {
    typeDefs: `${typeDefs} extend type Query { b: String }`,
    resolvers: {
      Query: { ...resolvers.Query, b: (_: unknown, __: unknown, context: any) => void found.push(resumeInfo(context)) },
    },
  })
  const runId = runIdOf(await app.ask('{ a }', { contextValue: () => shared }))
  await app.durable.send({ name: 'go' })
  await app.ended(runId)
  expect(resumeInfo(shared)).toMatchObject({ runId })
  await app.ask('{ b }', { contextValue: () => shared })
  expect(found).toEqual([null])
  expect(shared.durable).toBeUndefined()
})
