import { expect, it } from 'vitest'
import type { DurableError, Step } from '../../src/index.ts'
import { RetryAfterError } from '../../src/index.ts'
import { oneField, overStores } from './world.ts'

type Call = (step: Step, ran: () => void) => Promise<unknown>

const run =
  (options: unknown): Call =>
  (step, ran) =>
    step.run('x', ran, options as never)
const wait =
  (options: unknown): Call =>
  (step) =>
    step.waitForEvent('x', options as never)
const sleep =
  (duration: unknown): Call =>
  (step) =>
    step.sleep('x', duration as never)
const until =
  (date: unknown): Call =>
  (step) =>
    step.sleepUntil('x', date as never)
const send =
  (event: unknown): Call =>
  (step) =>
    step.sendEvent('x', event as never)

const NO_OPTIONS = [null, 7, 'soon', [], () => 1]
const NO_COUNTS = [Number.NaN, -1, 1.5, Infinity, '3', null, true]
const NO_DURATIONS = ['soon', '', -1, Number.NaN, Infinity, null, true, {}, '5 parsecs']
const NO_FUNCTIONS = [null, true, 'yes', {}]

/** What each call gets, and what its message has to name. */
const MISUSES: readonly [
  name: string,
  nonsense: readonly unknown[],
  call: (nonsense: unknown) => Call,
  names: string,
][] = [
  [
    'fn of run',
    [undefined, null, 'fn', {}, Promise.resolve()],
    (fn) => (step) => step.run('x', fn as never),
    'function',
  ],
  ['options of run', NO_OPTIONS, run, 'options'],
  ['an option that is misspelt', [3], (retrys) => run({ retrys }), '"retries"'],
  ['retries', NO_COUNTS, (retries) => run({ retries }), 'retries'],
  ['timeout of run', [...NO_DURATIONS, 0], (timeout) => run({ timeout }), 'timeout'],
  ['retryIf', NO_FUNCTIONS, (retryIf) => run({ retryIf }), 'retryIf'],
  ['backoff', NO_OPTIONS, (backoff) => run({ backoff }), 'backoff'],
  ['a part of backoff that is misspelt', [2], (factr) => run({ backoff: { factr } }), '"factor"'],
  ['backoff.initial', NO_DURATIONS, (initial) => run({ backoff: { initial } }), 'backoff.initial'],
  ['backoff.factor', [0, 0.5, -1, Number.NaN, Infinity, '2', null], (factor) => run({ backoff: { factor } }), 'factor'],
  ['backoff.max', NO_DURATIONS, (max) => run({ backoff: { max } }), 'backoff.max'],
  ['backoff.jitter', ['half', true, null, 0], (jitter) => run({ backoff: { jitter } }), 'jitter'],
  ['sleep', [undefined, ...NO_DURATIONS], sleep, 'duration'],
  [
    'sleepUntil',
    [undefined, null, true, '', ' ', '5m', '1', 'tomorrow', {}, [], Number.NaN, Infinity, new Date('')],
    until,
    'Date',
  ],
  ['options of waitForEvent', [undefined, ...NO_OPTIONS], wait, 'options'],
  ['an option of waitForEvent that is misspelt', ['1s'], (timeOut) => wait({ event: 'e', timeOut }), '"timeout"'],
  ['event', [undefined, null, '', 7, {}], (event) => wait({ event }), "event's name"],
  ['timeout of waitForEvent', NO_DURATIONS, (timeout) => wait({ event: 'e', timeout }), 'timeout'],
  ['match', [null, 7, 'order', true, [], [{}], () => 1], (match) => wait({ event: 'e', match }), 'match'],
  [
    'what match decides by',
    [
      undefined,
      Number.NaN,
      Infinity,
      () => 1,
      Symbol('s'),
      7n,
      new Date(),
      new Map(),
      new Set([1]),
      new URL('http://a'),
      /a/,
    ],
    (order) => wait({ event: 'e', match: { is: { order: [order] } } }),
    'is.order.0',
  ],
  ['signal', [null, true, {}, 'abort', new AbortController()], (signal) => wait({ event: 'e', signal }), 'signal'],
  ['events', [undefined, null, 'paid', 7, [undefined], [[]]], send, 'an event'],
  ['a name of an event', [undefined, null, '', 7, {}], (name) => send({ name }), 'name'],
  ['an id of an event', [null, '', 7, {}], (id) => send([{ name: 'paid' }, { name: 'paid', id }]), 'id'],
  ['a part of an event that is misspelt', [{}], (dta) => send({ name: 'paid', dta }), '"data"'],
]

overStores('arguments of a tool that make no sense', (world) => {
  it.each(MISUSES)('are DURABLE_STEP_MISUSED before anything begins: %s', async (_name, nonsense, make, names) => {
    let ran = 0
    const server = world().serve(
      oneField(async (_source, { n }, { step }) => {
        const promise = make(nonsense[n])(step, () => void ran++)
        await new Promise((resolve) => setImmediate(resolve)) // awaited late
        return promise
      }),
    )
    for (const n of nonsense.keys()) {
      const { errors, extensions } = await server.ask(`{ go(n: ${n}) }`)
      expect(errors, String(n)).toMatchObject([{ path: ['go'], extensions: { code: 'DURABLE_STEP_MISUSED' } }])
      expect(errors?.[0].message).toContain('step "x"')
      expect(errors?.[0].message).toContain('xpected')
      expect(errors?.[0].message).toContain(names)
      expect(extensions).toBeUndefined()
    }
    expect(ran).toBe(0)
    expect(server.commits).toEqual([])
  })

  it.each(MISUSES)('are the same in a run that waits and in its replay, and are not counted: %s', async (...each) => {
    const [, nonsense, make] = each
    const options = oneField(async (_source, _args, { step }) => {
      const codes: unknown[] = []
      for (const each of nonsense) {
        const code = await make(each)(step, () => void world().log.push('ran')).catch(
          (error: DurableError) => error.code,
        )
        codes.push(code)
      }
      const kept = await step.run('x', () => 'kept')
      world().log.push(codes.every((code) => code === 'DURABLE_STEP_MISUSED') ? kept : codes.join())
      await step.sleep('nap', '30s')
      return kept
    })
    const first = world().serve(options)
    const { runId } = await first.ask('{ go }')
    first.kill()
    const run = await world().serve(options).finish(runId)
    expect(run.result).toEqual({ data: { go: 'kept' } })
    expect(world().log).toEqual(['kept', 'kept'])
    expect(run.steps.map(({ step }) => step)).toEqual(['x', 'nap'])
  })

  it('leave an execution that is kept in memory as it was', async () => {
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        const refused = async () => step.sleep('nonsense', 'soon').catch((error: DurableError) => error.code)
        const before = await refused()
        await step.sleep('nap', '30s')
        return [before, await refused(), await step.run('last', () => 'last')]
      }),
    )
    const { runId } = await server.ask('{ go }')
    const go = ['DURABLE_STEP_MISUSED', 'DURABLE_STEP_MISUSED', 'last']
    expect((await server.finish(runId)).result).toEqual({ data: { go } })
  })

  it('end nothing where nobody awaits them', async () => {
    const server = world().serve(
      oneField((_source, _args, { step }) => {
        void step.run('x', () => 1, { retries: Number.NaN })
        void step.sleepUntil('y', null as never)
        return 'answered'
      }),
    )
    expect(await server.ask('{ go }')).toMatchObject({ status: 200, data: { go: 'answered' } })
    expect(server.commits).toEqual([])
  })

  it('may be undefined, which is as if they were absent', async () => {
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        const nothing = { retries: undefined, backoff: undefined, timeout: undefined, retryIf: undefined }
        const value = await step.run('x', () => 1, nothing as never)
        await step.run('y', () => 1, { backoff: { initial: undefined } as never })
        await step.sendEvent('z', { name: 'e', id: undefined, data: undefined } as never)
        const event = await step.waitForEvent('e', { event: 'e', match: undefined, signal: undefined } as never)
        return [value, event?.data]
      }),
    )
    expect(await server.ask('{ go }')).toMatchObject({ data: { go: [1, null] } })
  })

  it.each(['soon', Number.NaN, null, new Date('')])('%s after a RetryAfterError ends the step', async (after) => {
    let attempts = 0
    const server = world().serve(
      oneField((_source, _args, { step }) =>
        step.run('x', () => {
          attempts++
          throw new RetryAfterError('busy', after as never)
        }),
      ),
    )
    const { errors } = await server.ask('{ go }')
    expect(errors).toMatchObject([{ extensions: { code: 'DURABLE_STEP_MISUSED' } }])
    expect(errors?.[0].message).toContain('RetryAfterError.after')
    expect(attempts).toBe(1)
  })
})
