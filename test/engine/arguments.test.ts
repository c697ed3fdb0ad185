import { buildSchema } from 'graphql'
import { afterAll, describe, expect, it } from 'vitest'
import { createDurable } from '../../src/index.ts'
import type { DurableOptions, ReadOptions } from '../../src/index.ts'
import { memoryStore } from '../../src/memory.ts'
import { postgresStore } from '../../src/postgres.ts'
import { sqliteStore } from '../../src/sqlite.ts'
import { createTestClock } from '../../src/testing.ts'
import { useDurable as useDurableInEnvelop } from '../../plugins/envelop.ts'
import { useDurable as useDurableInYoga } from '../../plugins/yoga.ts'

const durable = createDurable({ store: memoryStore() })
const id = `run_${'0'.repeat(32)}`
const connectionString = 'postgres://app:secret@127.0.0.1:1/app'

/** What is called with what makes no sense, and a part of the message. */
type Call = readonly [name: string, message: string, call: (value: never) => unknown, values: readonly unknown[]]

describe('functions that applications call', () => {
  it.each<Call>([
    ['sqliteStore(path)', 'a path', sqliteStore, [undefined, null, '', 7, {}, { path: '' }, { path: undefined }]],
    ['sqliteStore: names', 'Did you mean "path"?', sqliteStore, [{ pth: 'runs.db' }]],
    ['busyTimeoutMs', 'busyTimeoutMs', (busyTimeoutMs) => sqliteStore({ path: 'x', busyTimeoutMs }), [-1, '5s', null]],
    ['sqliteStore: onWarning', 'onWarning', (onWarning) => sqliteStore({ path: 'x', onWarning }), [null, 'log']],
    ['postgresStore(options)', 'connectionString', postgresStore, [undefined, null, 7, '', connectionString, []]],
    ['postgresStore: names', 'Did you mean "connectionString"?', postgresStore, [{ connectionstring: 'postgres://x' }]],
    ['pool', 'pool', (pool) => postgresStore({ pool }), [null, {}, 7, 'pool']],
    ['schema', 'schema', (schema) => postgresStore({ connectionString, schema }), ['', 7, null]],
    ['connections', 'connections', (connections) => postgresStore({ connectionString, connections }), [0, 1.5, '2']],
    ['memoryStore(options)', 'memoryStore', memoryStore, [null, 7, 'runs', { onComit: () => {} }]],
    ['createTestClock(options)', 'createTestClock', createTestClock, [null, 7, 'now', { nw: 1 }]],
    ['createTestClock: now', 'now', (now) => createTestClock({ now }), [new Date(), '2026', Number.NaN, null]],
    ['createTestClock: seed', 'seed', (seed) => createTestClock({ seed }), ['x', Number.NaN, null]],
    ['useDurable of Yoga', 'useDurable', (options) => useDurableInYoga(durable, options), [null, 7, { nme: 'a' }]],
    ['executionArgs', 'executionArgs', (executionArgs) => useDurableInYoga(durable, { executionArgs }), [7, null, {}]],
    ['ready', 'ready', (ready) => useDurableInYoga(durable, { ready }), [7, null, true]],
    ['useDurable of Envelop', 'getEnveloped', (options) => useDurableInEnvelop(durable, options), [undefined, null, 7]],
    ['getEnveloped', 'getEnveloped', (getEnveloped) => useDurableInEnvelop(durable, { getEnveloped }), [7, null, {}]],
    ['maskError', 'maskError', (maskError) => useDurableInEnvelop(durable, { maskError }), [7, null]],
    ['errorClasses', 'errorClasses', (errorClasses) => create({ errorClasses }), [null, 7, '', 'Error', {}, Error]],
    ['one of errorClasses', 'that extend Error', (each) => create({ errorClasses: [each] }), [null, 'E', Map, Error]],
    ['durable.schema', 'a GraphQLSchema', durable.schema, [undefined, null, 7, 'type Query { a: Int }']],
  ])('refuse what makes no sense, and say what was expected: %s', (_name, message, call, values) => {
    for (const value of values) {
      expect(() => call(value as never), String(value)).toThrow(
        expect.objectContaining({ name: 'TypeError', message: expect.stringMatching(/xpected .*, but got/) }),
      )
      expect(() => call(value as never)).toThrow(message)
    }
  })

  it.each<Call>([
    ['runs.get', 'options', (options) => durable.runs.get(id, options), [null, 7, { step: false }, { summry: true }]],
    ['runs.get: steps', 'steps', (steps) => durable.runs.get(id, { steps }), ['all', null, { frst: 1 }, 7]],
    ['runs.get: first', 'first', (first) => durable.runs.get(id, { steps: { first } }), [-1, 0, '5', null]],
    ['runs.get: after', 'after', (after) => durable.runs.get(id, { steps: { after } }), [7, '', null]],
    ['runs.get: summary', 'summary', (summary) => durable.runs.get(id, { summary }), [1, 'yes', null]],
    ['runs.list', 'options', (options) => durable.runs.list({}, options), [null, { step: false }]],
    ['runs.wait', 'options', (options) => durable.runs.wait(id, options), [null, 7, { timeoutMs: 1 }]],
    ['runs.wait: timeout', 'timeout', (timeout) => durable.runs.wait(id, { timeout }), ['soon', -1, null]],
    ['runs.wait: signal', 'signal', (signal) => durable.runs.wait(id, { signal }), [7, {}, null]],
  ])('of runs are BAD_USER_INPUT, since some of it may be a client’s: %s', async (_name, message, call, values) => {
    for (const value of values) {
      await expect(call(value as never), String(value)).rejects.toMatchObject({
        message: expect.stringContaining(message) as string,
        extensions: { code: 'BAD_USER_INPUT' },
      })
    }
  })

  it.each([null, 7, { timeoutMs: 1 }, { timeout: 'soon' }])('close refuses %j, and stays open', async (options) => {
    await expect(async () => durable.close(options as never)).rejects.toThrow(/xpected .*, but got/)
    expect(await durable.send({ name: 'still-open' })).toMatchObject({ ids: [expect.any(String)] })
  })

  it('never show a connection string, whose password would be read in logs', () => {
    expect(() => postgresStore(connectionString as never)).toThrow(/^((?!secret).)*$/s)
  })

  it('take what is undefined as absent', async () => {
    sqliteStore({ path: 'runs.db', busyTimeoutMs: undefined, onWarning: undefined } as never)
    postgresStore({ connectionString, pool: undefined, schema: undefined, connections: undefined } as never)
    createTestClock({ now: undefined, seed: undefined } as never)
    useDurableInYoga(durable, { name: undefined, executionArgs: undefined } as never)
    useDurableInEnvelop(durable, { getEnveloped: undefined, maskError: undefined } as never)
    expect(durable.schema(buildSchema('type Query { a: Int }'))).toBeDefined()
    const nothing: unknown = { summary: undefined, steps: { first: undefined, after: undefined } }
    expect(await durable.runs.get(id, nothing as ReadOptions)).toBeNull()
  })
})

afterAll(() => durable.close())

function create(options: unknown): unknown {
  return createDurable({ store: memoryStore(), ...(options as DurableOptions) })
}
