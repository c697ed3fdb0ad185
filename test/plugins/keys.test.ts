import { describe, expect, it } from 'vitest'
import { createApp, useApps } from './harness.ts'
import type { AppSpec } from './harness.ts'

// A request under an idempotency key that cannot be executed is answered by every server, and throws at none.

useApps({ postgres: false })

const log: string[] = []
const spec: AppSpec = {
  typeDefs: 'type Query { a: Int } type Mutation { pay: Int }',
  resolvers: { Mutation: { pay: (_: unknown, __: unknown, { step }: any) => step.run('pay', () => log.push('paid')) } },
}
const key = { 'idempotency-key': 'k' }
const throwing = () => {
  throw new Error('secret')
}

describe.each(['Yoga', 'Envelop'] as const)('with %s, a request', (server) => {
  it.each<[string, NonNullable<AppSpec['durable']>, Record<string, string>, string]>([
    ['whose key is none', {}, { 'idempotency-key': '""' }, 'BAD_USER_INPUT'],
    ['whose idempotencyKey is a number', { idempotencyKey: (() => 7) as never }, {}, 'DURABLE_STEP_MISUSED'],
    ['whose idempotencyKey throws', { idempotencyKey: throwing }, {}, 'INTERNAL_SERVER_ERROR'],
    ['whose owner throws', { owner: throwing }, key, 'INTERNAL_SERVER_ERROR'],
    ['whose owner is a promise', { owner: (async () => 'ada') as never }, key, 'DURABLE_STEP_MISUSED'],
    ['whose capture throws', { context: { capture: throwing } }, key, 'INTERNAL_SERVER_ERROR'],
  ])('%s is answered with the reason, and nothing is executed', async (_what, durable, headers, code) => {
    const app = await createApp(server, { ...spec, durable })
    const { body } = await app.ask('mutation { pay }', { headers })
    expect(body.errors?.map(({ extensions }) => extensions?.['code'])).toEqual([code])
    expect(body.data ?? null).toBeNull()
    expect(JSON.stringify(body)).not.toContain('secret')
    expect(log).toEqual([])
  })

  it('is answered where the store takes no run', async () => {
    const app = await createApp(server, { ...spec, durable: { hold: '100ms' } })
    app.failing = () => true
    const asked = app.ask('mutation { pay }', { headers: key })
    for (let turn = 0; turn < 20; turn++) await app.clock.advance('1s')
    expect((await asked).body.errors?.[0]?.extensions?.['code']).toBe('DURABLE_STORE_UNAVAILABLE')
    app.failing = () => false
  })
})
