import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GraphQLError } from 'graphql'
import { describe, expect, it, onTestFinished } from 'vitest'
import { sqliteStore } from '../../src/sqlite.ts'
import { createApp, runIdOf, STACKS, useApps } from './harness.ts'
import type { AppSpec } from './harness.ts'

// An error that went through a journal is masked, formatted and shown as the one that was thrown (I7, I9).

useApps()

class OutOfStock extends GraphQLError {
  override readonly name = 'OutOfStock'
}
class Internal extends Error {
  override readonly name = 'Internal'
}
const ForeignGraphQLError = class extends Error {
  override readonly name = 'GraphQLError'
  readonly extensions = { code: 'FOREIGN' }
}

const SECRET = 'tok-en-123'
const throws: Record<string, () => unknown> = {
  internal: () => new Internal(`dsn://${SECRET}`),
  graphql: () => new GraphQLError('No tea', { extensions: { code: 'NO_TEA', left: 0 } }),
  subclass: () => new OutOfStock('No tea', { extensions: { code: 'STOCK' } }),
  // What `execute` puts into `result.errors` for an Error that was thrown.
  wrapping: () => new GraphQLError(`dsn://${SECRET}`, { originalError: new Internal(`dsn://${SECRET}`) }),
  wrappingTwice: () =>
    new GraphQLError(SECRET, { originalError: new GraphQLError(SECRET, { originalError: new Error(SECRET) }) }),
  wrappingSubclass: () => new GraphQLError('No tea', { originalError: new OutOfStock('No tea') }),
  foreign: () => new ForeignGraphQLError(SECRET),
  located: () => new GraphQLError('No tea', { path: ['elsewhere', 0], extensions: { code: 'ELSEWHERE' } }),
  object: () => ({ headers: { authorization: SECRET } }),
}

/** Each thrown by a resolver, and in a step; `later` waits before it throws what it got. */
const spec = {
  typeDefs: `
    type Query { a: String }
    type Mutation { ${Object.keys(throws)
      .map((name) => `${name}: String @durable ${name}Step(later: Boolean): String @durable`)
      .join('\n')} wait: String @durable }
  `,
  resolvers: {
    Mutation: {
      wait: async (_: unknown, __: unknown, { step }: any) => {
        await step.waitForEvent('go', { event: 'go' })
        return 'waited'
      },
      ...Object.fromEntries(
        Object.entries(throws).flatMap(([name, error]): [string, any][] => [
          [
            name,
            () => {
              throw error()
            },
          ],
          [
            `${name}Step`,
            async (_: unknown, { later }: any, { step }: any) => {
              const fail = () => {
                throw error()
              }
              try {
                return await step.run('fail', fail, { retries: 0 })
              } catch (caught) {
                if (later) await step.waitForEvent('go', { event: 'go' })
                throw caught
              }
            },
          ],
        ]),
      ),
    },
  },
} satisfies AppSpec

const byClass = (error: any): any => {
  for (let at = error; at; at = at.originalError) {
    if (at instanceof OutOfStock || at instanceof Internal) return new GraphQLError(`It was ${at.constructor.name}`)
  }
  return new GraphQLError('Something broke', { path: error.path })
}
const byName = (error: any): any => new GraphQLError(`It was ${error.originalError?.name}`, { path: error.path })
const maskings: Record<string, Pick<AppSpec, 'maskedErrors' | 'durable'>> = {
  'the default masking': {},
  'a maskError that goes by class': { maskedErrors: { maskError: byClass } },
  'a maskError that goes by class, the classes named': {
    maskedErrors: { maskError: byClass },
    durable: { errorClasses: [OutOfStock, Internal] },
  },
  'a maskError that goes by name': { maskedErrors: { maskError: byName } },
}

const json = (value: unknown): any => JSON.parse(JSON.stringify(value))

describe.each(STACKS)('$server over $store', (stack) => {
  describe.each(Object.entries(maskings))('with %s', (_name, masking) => {
    it.each(['hot', 'cold'] as const)('a root field that has finished fails as it did, %s', async (how) => {
      const app = await createApp(stack, { ...spec, ...masking })
      const names = Object.keys(throws).filter((name) => name !== 'object')
      const alone = []
      for (const name of names) alone.push(await app.ask(`mutation { ${name} }`))
      const runs = []
      for (const name of names) runs.push(runIdOf(await app.ask(`mutation { ${name} wait }`)))
      if (how === 'cold') await app.restart()
      await app.durable.send({ name: 'go' })
      for (const [at, runId] of runs.entries()) {
        const run = await app.ended(runId)
        expect(json(run.result), names[at]).toEqual({
          data: { [names[at]!]: null, wait: 'waited' },
          errors: json(alone[at]?.body.errors),
        })
      }
    })

    it.each(['hot', 'cold'] as const)('a step fails as it did, %s', async (how) => {
      const app = await createApp(stack, { ...spec, ...masking })
      const runs = []
      for (const name of Object.keys(throws)) {
        const sync = await app.ask(`mutation { field: ${name}Step }`)
        const runId = runIdOf(await app.ask(`mutation { field: ${name}Step(later: true) }`))
        runs.push({ name, sync, runId })
      }
      if (how === 'cold') await app.restart()
      await app.durable.send({ name: 'go' })
      for (const { name, sync, runId } of runs) {
        const run = json(await app.ended(runId))
        const without = (errors: any[]) => errors.map((error) => ({ ...error, locations: null })) // the documents differ
        expect(without(run.result.errors), name).toEqual(without(json(sync.body.errors)))
        // Envelop's own masking shows what has the name of a GraphQLError.
        if (JSON.stringify(sync.body).includes(SECRET)) continue
        expect(JSON.stringify(run), name).not.toContain(SECRET)
        const { body } = await app.ask(`{ durableRun(id: "${runId}") { errors steps { error } } }`)
        expect(JSON.stringify(body), name).not.toContain(SECRET)
      }
    })
  })

  it('what a step threw is shown by its reader as the field shows it', async () => {
    const app = await createApp(stack, spec)
    const errorOf = async (name: string): Promise<unknown> => {
      const runId = runIdOf(await app.ask(`mutation { ${name}Step(later: true) }`))
      const { body } = await app.ask(`{ durableRun(id: "${runId}") { steps { error } } }`)
      return (body.data as any).durableRun.steps[0].error
    }
    const hidden = { message: 'Unexpected error.' }
    expect(await errorOf('graphql')).toEqual({ message: 'No tea', extensions: { code: 'NO_TEA', left: 0 } })
    // Envelop's masking goes by the name, Yoga's by the class.
    const subclass = { message: 'No tea', extensions: { code: 'STOCK' } }
    expect(await errorOf('subclass')).toEqual(stack.server === 'Yoga' ? subclass : hidden)
    for (const name of ['internal', 'wrapping', 'wrappingTwice', 'foreign', 'object']) {
      expect(await errorOf(name), name).toEqual(hidden)
    }
  })

  it('names are those that were thrown, for resolvers that catch', async () => {
    const seen: unknown[] = []
    const app = await createApp(stack, {
      typeDefs: 'type Query { a: String }',
      resolvers: {
        Query: {
          a: async (_: unknown, __: unknown, { step }: any) => {
            for (const [name, error] of Object.entries(throws)) {
              const fail = () => Promise.reject(error())
              const caught = await step.run(name, fail, { retries: 0 }).catch((thrown: unknown) => thrown)
              seen.push([name, caught.name, caught.cause?.name ?? null, caught.originalError?.name ?? null])
            }
            await step.waitForEvent('go', { event: 'go' })
          },
        },
      },
    })
    const runId = runIdOf(await app.ask('{ a }'))
    const first = seen.splice(0)
    await app.restart()
    await app.durable.send({ name: 'go' })
    await app.ended(runId)
    expect(seen).toEqual(first)
    expect(Object.fromEntries(first.map(([name, ...rest]: any) => [name, rest]))).toMatchObject({
      internal: ['GraphQLError', 'Internal', null],
      subclass: ['OutOfStock', null, null],
      wrapping: ['GraphQLError', null, 'Internal'],
      object: ['GraphQLError', 'Error', null],
    })
  })
})

describe('with a maskError that hides GraphQLErrors, too', () => {
  it('steps hide them as well, and looking at them again does not ask the masking again', async () => {
    let asked = 0
    const maskError = () => {
      asked++
      return new GraphQLError('Nothing to see')
    }
    const app = await createApp('Yoga', { ...spec, maskedErrors: { maskError } })
    const runId = runIdOf(await app.ask('mutation { graphqlStep(later: true) }'))
    expect((await app.durable.runs.get(runId))?.steps[0]?.error).toEqual({ message: 'Nothing to see' })
    const before = asked
    for (let look = 0; look < 5; look++) await app.durable.runs.get(runId)
    expect(asked).toBe(before)
  })
})

it('steps are masked by the maskError that the Envelop plugin is given', async () => {
  const maskError = (error: any): any => new GraphQLError(`Masked: ${error.message}`)
  const app = await createApp('Envelop', { ...spec, maskedErrors: { maskError }, maskSteps: maskError })
  const shown = async (name: string): Promise<unknown> => {
    const runId = runIdOf(await app.ask(`mutation { ${name}Step(later: true) }`))
    return (await app.durable.runs.get(runId))?.steps[0]?.error?.message
  }
  expect(await shown('graphql')).toBe('Masked: No tea')
  expect(await shown('internal')).toBe('Unexpected error.')
})

describe('on the disk', () => {
  it('nothing is left of what a resolver of a finished root field threw and is no error', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'graphql-durable-'))
    const store = sqliteStore(join(directory, 'runs.db'))
    onTestFinished(() => rmSync(directory, { recursive: true }))
    const app = await createApp('Envelop', { ...spec, durable: { store } })
    const runId = runIdOf(await app.ask('mutation { object wait }'))
    await app.restart()
    const files = readdirSync(directory).map((name) => readFileSync(join(directory, name), 'latin1'))
    expect(files.some((content) => content.includes(runId))).toBe(true)
    expect(files.some((content) => content.includes(SECRET))).toBe(false)
    await app.durable.send({ name: 'go' })
    expect((await app.ended(runId)).status).toBe('FAILED')
  })
})
