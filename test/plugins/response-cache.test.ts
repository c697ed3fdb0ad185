import { useResponseCache } from '@graphql-yoga/plugin-response-cache'
import type { Plugin } from 'graphql-yoga'
import { describe, expect, it } from 'vitest'
import { createApp, runIdOf, useApps } from './harness.ts'
import type { App, AppSpec } from './harness.ts'

// The cache stands before the store, whichever that is: over memory alone.
useApps({ postgres: false })

const HOUR = 3_600_000

/** A cache that tells what was put into it, and for how long. */
function recordingCache() {
  const entries = new Map<string, any>()
  const sets: { data: any; ttl: number }[] = []
  return {
    sets,
    cache: {
      get: (id: string) => entries.get(id),
      set: (id: string, data: any, _entities: unknown, ttl: number) => {
        sets.push({ data: JSON.parse(JSON.stringify(data.data)), ttl })
        entries.set(id, data)
      },
      invalidate: () => entries.clear(),
    },
  }
}

async function serve(place: 'before' | 'after', changes: Partial<AppSpec> = {}) {
  const { cache, sets } = recordingCache()
  const calls: string[] = []
  const plugin = useResponseCache({
    session: () => null,
    cache: cache as any,
    ttl: HOUR,
    ttlPerSchemaCoordinate: { 'Query.quick': 5000, 'Query.never': 0 },
  }) as Plugin
  const app = await createApp('Yoga', {
    typeDefs: `
      type Query { hello: String, quick: String, never: String, stepped: String, nap: String @durable, deep: Deep }
      type Deep { id: ID!, nap: String }
      type Mutation { nap: String @durable }
    `,
    resolvers: {
      Query: {
        hello: () => (calls.push('hello'), 'world'),
        quick: () => (calls.push('quick'), 'quick'),
        never: () => (calls.push('never'), 'never'),
        stepped: (_: unknown, __: unknown, { step }: any) => step.run('one', () => (calls.push('stepped'), 'stepped')),
        nap: async (_: unknown, __: unknown, { step }: any) => {
          calls.push('nap')
          await step.sleep('nap', '1h')
          return 'rested'
        },
        deep: () => ({ id: 1 }),
      },
      Deep: { nap: async (_: unknown, __: unknown, { step }: any) => (await step.sleep('nap', '1h'), 'rested') },
      Mutation: { nap: async (_: unknown, __: unknown, { step }: any) => (await step.sleep('nap', '1h'), 'rested') },
    },
    [place]: [plugin],
    ...changes,
  })
  return { app, sets, calls }
}

const poll = async (app: App, runId: string): Promise<unknown> =>
  (await app.ask(`{ durableRun(id: "${runId}") { status data } }`)).body.data?.['durableRun']

describe.each(['before', 'after'] as const)('a response cache registered %s the plugin', (place) => {
  it('keeps what has no steps for as long as it was told', async () => {
    const { app, sets, calls } = await serve(place)
    for (const field of ['hello', 'quick', 'never']) for (let turn = 0; turn < 2; turn++) await app.ask(`{ ${field} }`)
    expect(calls).toEqual(['hello', 'quick', 'never', 'never'])
    expect(sets).toEqual([
      { data: { hello: 'world' }, ttl: HOUR },
      { data: { quick: 'quick' }, ttl: 5000 },
    ])
  })

  it('keeps the response of an operation whose steps did not wait', async () => {
    const { app, sets, calls } = await serve(place)
    const first = await app.ask('{ stepped }')
    expect((await app.ask('{ stepped }')).body).toEqual(first.body)
    expect(first.body).toEqual({ data: { stepped: 'stepped' } })
    expect(calls).toEqual(['stepped'])
    expect(sets).toEqual([{ data: { stepped: 'stepped' }, ttl: HOUR }])
  })

  it.each(['{ nap }', '{ hello nap }', '{ deep { id nap } }'])(
    'never keeps the deferred payload of %s',
    async (query) => {
      const { app, sets } = await serve(place)
      const first = await app.ask(query)
      const second = await app.ask(query)
      expect([first.status, second.status]).toEqual([202, 202])
      expect(runIdOf(first)).not.toBe(runIdOf(second))
      expect(sets).toEqual([])
    },
  )

  it.each(['hot', 'cold', 'crashed'] as const)(
    'keeps nothing but whole responses of a run that goes on, %s',
    async (how) => {
      const { app, sets } = await serve(place)
      const runId = runIdOf(await app.ask('{ hello nap }'))
      if (how === 'cold') await app.restart()
      if (how === 'crashed') await app.crash()
      expect((await app.ended(runId, '30m')).result).toEqual({ data: { hello: 'world', nap: 'rested' } })
      for (const { data } of sets) expect(data).toEqual({ hello: 'world', nap: 'rested' })
      const result = await app.fetch(`/graphql/runs/${runId}`)
      expect([result.status, await result.json()]).toEqual([200, { data: { hello: 'world', nap: 'rested' } }])
    },
  )

  it('answers a polled durableRun with what it is now', async () => {
    const { app, sets } = await serve(place)
    const runId = runIdOf(await app.ask('mutation { nap }'))
    expect(await poll(app, 'run_ffffffffffffffffffffffffffffffff')).toBeNull()
    await app.clock.settle()
    expect(await poll(app, runId)).toEqual({ status: 'SUSPENDED', data: null })
    await app.ended(runId, '30m')
    expect(await poll(app, runId)).toEqual({ status: 'COMPLETED', data: { nap: 'rested' } })
    expect(sets).toEqual([])
  })
})
