import { describe, expect, it } from 'vitest'
import { createDurable } from '../../src/index.ts'
import type { DurableOptions } from '../../src/index.ts'
import { memoryStore } from '../../src/memory.ts'
import { useDurable as useDurableInEnvelop } from '../../plugins/envelop.ts'
import { useDurable as useDurableInYoga } from '../../plugins/yoga.ts'
import { createTestClock } from '../../src/testing.ts'

const NO_DURATIONS = ['soon', '', -1, Number.NaN, Infinity, null, true, {}]
const NO_COUNTS = [-1, 1.5, Number.NaN, Infinity, '3', null, true]
const NO_OBJECTS = [null, true, 7, 'yes', []]
const NO_FUNCTIONS = [null, true, 7, 'yes', {}]

/** What is tried for an option, and the name that the message has to have. */
type Refused = readonly [name: string, values: readonly unknown[], make: (value: unknown) => unknown]
const REFUSED: readonly Refused[] = [
  ...['hold', 'deferAfter', 'maxHold', 'retention'].map(
    (name) => [name, NO_DURATIONS, (value: unknown) => ({ [name]: value })] as const,
  ),
  ['timeout', [...NO_DURATIONS, 0], (timeout) => ({ timeout })],
  ['retries', NO_COUNTS, (retries) => ({ retries })],
  ['backoff', NO_OBJECTS, (backoff) => ({ backoff })],
  ['backoff.initial', NO_DURATIONS, (initial) => ({ backoff: { initial } })],
  ['backoff.factor', [0, Number.NaN, '2', null], (factor) => ({ backoff: { factor } })],
  ['backoff.jitter', ['half', null], (jitter) => ({ backoff: { jitter } })],
  ['limits', NO_OBJECTS, (limits) => ({ limits })],
  ...['stepBytes', 'runBytes', 'inputBytes', 'steps'].map(
    (name) => [`limits.${name}`, [...NO_COUNTS, 0], (value: unknown) => ({ limits: { [name]: value } })] as const,
  ),
  ['limits.waiters', NO_COUNTS, (waiters) => ({ limits: { waiters } })],
  ['worker', NO_OBJECTS, (worker) => ({ worker })],
  ['worker.concurrency', [...NO_COUNTS, 0], (concurrency) => ({ worker: { concurrency } })],
  ['worker.lease', [...NO_DURATIONS, 0], (lease) => ({ worker: { lease } })],
  ['worker.pollInterval', [...NO_DURATIONS, 0], (pollInterval) => ({ worker: { pollInterval } })],
  ['hot', NO_OBJECTS, (hot) => ({ hot })],
  ['hot.runs', NO_COUNTS, (runs) => ({ hot: { runs } })],
  ['hot.bytes', NO_COUNTS, (bytes) => ({ hot: { bytes } })],
  ['hot.ttl', NO_DURATIONS, (ttl) => ({ hot: { ttl } })],
  ['context', NO_OBJECTS, (context) => ({ context })],
  ['context.headers', ['x-user', [7], [''], ['x user'], null], (headers) => ({ context: { headers } })],
  ...['capture', 'restore', 'request', 'create', 'enter'].map(
    (name) => [`context.${name}`, NO_FUNCTIONS, (value: unknown) => ({ context: { [name]: value } })] as const,
  ),
  ...['owner', 'authorize', 'idempotencyKey', 'retryIf', 'identify', 'onWarning'].map(
    (name) => [name, NO_FUNCTIONS, (value: unknown) => ({ [name]: value })] as const,
  ),
  ['version', ['', 7, null, 'x'.repeat(1_001)], (version) => ({ version })],
  [
    'path',
    ['', '/', 'graphql', '/graphql/', '/a//b', '/a?b', '/a b', '/läufe', '/a/../b', '/./a', 7, true],
    (path) => ({ path }),
  ],
  ['schema', [...NO_OBJECTS], (schema) => ({ schema })],
  ['schema.prefix', [7, null, '7', 'a b', '__x'], (prefix) => ({ schema: { prefix } })],
  ['store', [...NO_OBJECTS, {}, 'runs.db'], (store) => ({ store })],
  ['clock', [...NO_OBJECTS, {}, Date], (clock) => ({ clock })],
  ['options of createDurable', NO_OBJECTS, (options) => options],
]

const create = (options: unknown): unknown => createDurable(options as DurableOptions)
const base = { store: memoryStore() }

describe('createDurable', () => {
  it.each(REFUSED)('refuses what makes no sense, names it, and says what was expected: %s', (name, values, make) => {
    for (const value of values) {
      const given = make(value)
      const options =
        typeof given === 'object' && given !== null && !Array.isArray(given) ? { ...base, ...given } : given
      expect(() => create(options), String(value)).toThrow(
        expect.objectContaining({ message: expect.stringContaining('xpected') }),
      )
      expect(() => create(options)).toThrow(name)
    }
  })

  it.each([
    ['deferAfer', 'deferAfter', { deferAfer: '1s' }],
    ['onwarning', 'onWarning', { onwarning: () => {} }],
    ['authorise', 'authorize', { authorise: () => true }],
    ['stepByte', 'stepBytes', { limits: { stepByte: 1 } }],
    ['intial', 'initial', { backoff: { intial: 1 } }],
    ['concurency', 'concurrency', { worker: { concurency: 1 } }],
    ['run', 'runs', { hot: { run: 1 } }],
    ['header', 'headers', { context: { header: [] } }],
    ['prefx', 'prefix', { schema: { prefx: 'My' } }],
  ])('refuses %s, which is misspelt, and says that it may be %s', (wrong, right, options) => {
    expect(() => create({ ...base, ...options })).toThrow(`"${wrong}". Did you mean "${right}"?`)
  })

  it('refuses a name that is like none', () => {
    expect(() => create({ ...base, colour: 'blue' })).toThrow(/^((?!Did you mean).)*"colour"\.$/)
  })

  it('takes what is undefined as absent, and every option at its edges', () => {
    for (const options of [
      {},
      { hold: undefined, limits: undefined, worker: undefined, hot: undefined, schema: undefined, path: undefined },
      { hold: 0, deferAfter: 0, maxHold: 0, retention: 0, retries: 0, backoff: { initial: 0, max: 0, factor: 1 } },
      { worker: false, hot: { runs: 0, ttl: 0 }, limits: { waiters: 0 }, schema: false, path: null },
      {
        path: '/a/b-c.d/l%C3%A4ufe',
        context: { headers: ['X-User'] },
        schema: { prefix: '' },
        clock: createTestClock(),
      },
    ]) {
      expect(() => create({ ...base, ...options })).not.toThrow()
    }
  })
})

describe.each([
  ['Yoga', (name: never) => useDurableInYoga({ store: memoryStore() }, { name })],
  [
    'Envelop',
    (name: never) => useDurableInEnvelop({ store: memoryStore() }, { name, getEnveloped: () => ({}) as never }),
  ],
])('the plugin of %s', (_server, plugin) => {
  it.each(['', 7, 'x'.repeat(101)])('refuses %j as its name', (name) => {
    expect(() => plugin(name as never)).toThrow("a server's name")
  })
})
