import { useRateLimiter } from '@envelop/rate-limiter'
import { GraphQLError } from 'graphql'
import { describe, expect, it } from 'vitest'
import { resumeInfo } from '../../src/index.ts'
import { createApp, runIdOf, STACKS, useApps } from './harness.ts'
import type { App, AppSpec, Stack } from './harness.ts'

// A pass counts only if it reached the executor: a refusal is never a run's result (DESIGN.md, "How a run goes", 8).

useApps()

const spec: AppSpec = {
  typeDefs: 'type Query { a: String } type Mutation { nap: String @durable }',
  resolvers: {
    Mutation: {
      nap: async (_: unknown, __: unknown, { step }: any) => {
        await step.waitForEvent('go', { event: 'go' })
        return step.run('two', () => 'rested')
      },
    },
  },
}

/** One `nap` for each identity; the foreground's is a new one each time. */
const limiter = (identityOf: (app: App) => string, app: () => App | null) =>
  useRateLimiter({
    identifyFn: (context: any) => {
      const current = app()
      return context.durable?.resuming && current ? identityOf(current) : `client-${Math.random()}`
    },
    configByField: [{ type: 'Mutation', field: 'nap', max: 1, window: '10h' }],
  })

async function serve(stack: Stack, place: 'before' | 'after', identityOf: (app: App) => string) {
  let app: App | null = null
  const plugin = limiter(identityOf, () => app)
  app = await createApp(stack, { ...spec, [place]: [plugin] })
  return app
}

describe.each(STACKS)('$server over $store', (stack) => {
  it.each(['hot', 'cold'] as const)(
    'fails a run whose answer is refused in each pass, with backoff, %s',
    async (how) => {
      const refuseIn = (context: unknown): void => {
        if (resumeInfo(context)) throw new Error('the log is full')
      }
      const refuse = { onExecute: ({ args }: any) => ({ onExecuteDone: () => refuseIn(args.contextValue) }) }
      const app = await createApp(stack, { ...spec, before: [refuse] })
      const runId = runIdOf(await app.ask('mutation { nap }'))
      if (how === 'cold') await app.restart()
      await app.durable.send({ name: 'go' })
      const failuresOf = (id: string): unknown[] =>
        app.warnings.filter(({ details }) => details.runId === id).map(({ details }) => details.failures)
      const { status, result, note } = await app.ended(runId)
      expect([status, note]).toEqual(['FAILED', 'the log is full'])
      expect(result?.errors?.[0]).toMatchObject({ extensions: { code: 'DURABLE_RESUME_FAILED', runId } })
      expect(failuresOf(runId)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    },
  )

  describe.each(['before', 'after'] as const)('with a rate limiter registered %s the plugin', (place) => {
    it.each(['hot', 'cold'] as const)(
      'tries a refused pass again, with backoff, until it gets through, %s',
      async (how) => {
        // Each minute has a budget of one pass; the first is used up by somebody else.
        const app = await serve(stack, place, ({ clock }) => `minute-${Math.floor(clock.now() / 60_000)}`)
        const start = app.clock.now()
        const first = runIdOf(await app.ask('mutation { nap }'))
        await app.clock.advance('1s')
        const runId = runIdOf(await app.ask('mutation { nap }'))
        if (how === 'cold') await app.restart()
        for (const id of [first, runId]) {
          await app.durable.send({ name: 'go' })
          expect((await app.ended(id)).result).toEqual({ data: { nap: 'rested' } })
        }
        const refusals = app.warnings.filter(({ details }) => details.runId === runId)
        expect(refusals.length).toBeGreaterThan(2)
        expect(refusals.length).toBeLessThan(8)
        expect(app.clock.now() - start).toBeGreaterThanOrEqual(60_000)
      },
    )

    it.each(['hot', 'cold'] as const)(
      'fails a run that is refused for ever, and shows no refusal to its client, %s',
      async (how) => {
        const app = await serve(stack, place, () => 'always-the-same')
        runIdOf(await app.ask('mutation { nap }'))
        await app.clock.advance('1s')
        const runId = runIdOf(await app.ask('mutation { nap }'))
        if (how === 'cold') await app.restart()
        await app.durable.send({ name: 'go' })
        const run = await app.ended(runId, '30s')
        expect(run.status).toBe('FAILED')
        expect(run.result).toEqual({
          data: null,
          errors: [
            { message: 'The operation could not be carried on.', extensions: { code: 'DURABLE_RESUME_FAILED', runId } },
          ],
        })
        expect(run.note).toMatch(/without executing the operation.*too often/i)
        const failures = app.warnings
          .filter(({ details }) => details.runId === runId)
          .map(({ details }) => details.failures)
        expect(failures).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
      },
    )
  })

  it('counts refusals in a row only: a run that gets through now and then is carried on', async () => {
    let passes = 0
    const app = await createApp(stack, {
      typeDefs: 'type Query { naps: Int }',
      resolvers: {
        Query: {
          naps: async (_: unknown, __: unknown, { step }: any) => {
            for (let nap = 0; nap < 15; nap++) await step.sleep('nap', '10s')
            return 15
          },
        },
      },
      context: (initial: any) => {
        if (initial.durable?.resuming && passes++ % 2 === 0) throw new Error('Every other one')
        return {}
      },
      durable: { hot: { runs: 0 } },
    })
    const runId = runIdOf(await app.ask('{ naps }'))
    await app.clock.advance('15s')
    expect((await app.durable.runs.get(runId))?.note).toBeNull()
    expect((await app.ended(runId)).result).toEqual({ data: { naps: 15 } })
  })

  it('shows a run between two refused passes as suspended, with the reason for its operator (I4)', async () => {
    const app = await createApp(stack, {
      ...spec,
      context: (initial: any) => {
        if (initial.durable?.resuming) throw new GraphQLError('The user directory is down')
        return {}
      },
    })
    const runId = runIdOf(await app.ask('mutation { nap }'))
    await app.restart()
    await app.durable.send({ name: 'go' })
    await app.clock.advance('30s')
    const run = await app.durable.runs.get(runId)
    expect(run).toMatchObject({ status: 'SUSPENDED', note: 'The user directory is down', result: null })
    expect((await app.ask(`{ durableRun(id: "${runId}") { status errors } }`)).body).toEqual({
      data: { durableRun: { status: 'SUSPENDED', errors: null } },
    })
    await app.restart({ context: () => ({}) })
    expect((await app.ended(runId, '1m')).result).toEqual({ data: { nap: 'rested' } })
  })

  it('takes an answer that another plugin gives in place of the executor for a refusal', async () => {
    let refuse = false
    const app = await createApp(stack, {
      ...spec,
      before: [
        {
          onExecute: ({ setResultAndStopExecution }: any) => {
            if (refuse) setResultAndStopExecution({ data: { nap: 'not what you asked for' } })
          },
        },
      ],
    })
    const runId = runIdOf(await app.ask('mutation { nap }'))
    refuse = true
    await app.restart()
    await app.durable.send({ name: 'go' })
    await app.clock.advance('20s')
    expect((await app.durable.runs.get(runId))?.endedAt).toBeNull()
    refuse = false
    expect((await app.ended(runId)).result).toEqual({ data: { nap: 'rested' } })
  })

  it('takes an answer without data for a refusal where a mutation is executed field by field, too (I10)', async () => {
    let refuse = false
    const plugin = {
      onExecute: ({ executeFn, setExecuteFn }: any) =>
        setExecuteFn((args: any) => (refuse ? { errors: [REFUSAL] } : executeFn(args))),
    }
    const app = await createApp(stack, { ...spec, before: [plugin] })
    const runId = runIdOf(await app.ask('mutation { nap again: nap }'))
    refuse = true
    await app.restart()
    await app.durable.send([{ name: 'go' }, { name: 'go' }])
    await app.clock.advance('10s')
    expect(await app.durable.runs.get(runId)).toMatchObject({ status: 'SUSPENDED', result: null })
    refuse = false
    expect((await app.ended(runId)).result).toEqual({ data: { nap: 'rested', again: 'rested' } })
  })

  describe.each<[string, (refuse: () => boolean) => any]>([
    ['throws in onParse', (refuse) => ({ onParse: () => void (refuse() && fail()) })],
    ['throws after parsing', (refuse) => ({ onParse: () => (refuse() ? () => fail() : undefined) })],
    [
      'answers with an error in place of a document',
      (refuse) => ({ onParse: ({ setParsedDocument }: any) => void (refuse() && setParsedDocument(REFUSAL)) }),
    ],
    ['throws in onValidate', (refuse) => ({ onValidate: () => void (refuse() && fail()) })],
    [
      'sets a result in onValidate',
      (refuse) => ({ onValidate: ({ setResult }: any) => void (refuse() && setResult([REFUSAL])) }),
    ],
    [
      'adds a rule',
      (refuse) => ({
        onValidate: ({ addValidationRule }: any) =>
          addValidationRule((context: any) => ({
            Field: () => void (refuse() && context.reportError(new GraphQLError(REFUSAL.message))),
          })),
      }),
    ],
    [
      'replaces what validation found',
      (refuse) => ({
        onValidate:
          () =>
          ({ setResult }: any) =>
            void (refuse() && setResult([REFUSAL])),
      }),
    ],
    ['throws in onContextBuilding', (refuse) => ({ onContextBuilding: () => void (refuse() && fail()) })],
    ['throws in onEnveloped', (refuse) => ({ onEnveloped: () => void (refuse() && fail()) })],
    ['throws in onExecute', (refuse) => ({ onExecute: () => void (refuse() && fail()) })],
    [
      'stands before the executor, and answers in its place',
      (refuse) => ({
        onExecute: ({ executeFn, setExecuteFn }: any) =>
          setExecuteFn((args: any) => (refuse() ? { errors: [REFUSAL] } : executeFn(args))),
      }),
    ],
  ])('with a plugin that %s', (_what, plugin) => {
    const refusing = async (): Promise<{ app: App; runId: string; refuse: { now: boolean } }> => {
      const refuse = { now: false }
      // Yoga keeps refusals of parsing and validation under the document's text.
      const app = await createApp(stack, { ...spec, before: [plugin(() => refuse.now)] })
      const runId = runIdOf(await app.ask('mutation { nap }'))
      refuse.now = true
      await app.restart()
      await app.durable.send({ name: 'go' })
      return { app, runId, refuse }
    }

    it('the run is carried on when it does not any more', async () => {
      const { app, runId, refuse } = await refusing()
      await app.clock.advance('10s')
      const run = await app.durable.runs.get(runId)
      expect(run).toMatchObject({ status: 'SUSPENDED', endedAt: null })
      // A context's error comes masked to whoever is registered after the masking.
      expect(run?.note).toMatch(/ECONNREFUSED|^Unexpected error.$/)
      refuse.now = false
      expect((await app.ended(runId)).result).toEqual({ data: { nap: 'rested' } })
    })

    it('a run that it never lets pass fails, and shows nothing of the refusal', async () => {
      const { app, runId } = await refusing()
      const run = await app.ended(runId, '1m')
      const message = 'The operation could not be carried on.'
      expect(run.result).toEqual({
        data: null,
        errors: [{ message, extensions: { code: 'DURABLE_RESUME_FAILED', runId } }],
      })
      expect(app.warnings.filter(({ details }) => details.runId === runId).at(-1)?.details.failures).toBe(10)
    })
  })
})

const REFUSAL = new GraphQLError('connect ECONNREFUSED redis://:secret@10.0.0.1')

function fail(): never {
  throw new Error(REFUSAL.message)
}

it('a document that the schema refuses is final, whatever else refuses it, and names nothing that the schema has', async () => {
  const typeDefs = (field: string): string => `type Query { a: String } type Mutation { ${field}: String @durable }`
  const app = await createApp('Yoga', spec)
  const runId = runIdOf(await app.ask('mutation { nap }'))
  const before = [{ onValidate: ({ setResult }: any) => setResult([REFUSAL]) }]
  await app.restart({ typeDefs: typeDefs('naps'), resolvers: {}, before })
  await app.durable.send({ name: 'go' })
  await app.clock.advance('5s')
  const run = await app.durable.runs.get(runId)
  expect(run?.result?.errors?.[0]?.message).toBe(
    'The operation could not be carried on. The operation is not valid for the schema any more: Cannot query field "nap" on type "Mutation".',
  )
  expect(app.warnings.filter(({ details }) => details.runId === runId)).toHaveLength(1)
})
