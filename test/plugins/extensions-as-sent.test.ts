import { GraphQLError } from 'graphql'
import { describe, expect, it } from 'vitest'
import { createApp, runIdOf, STACKS, useApps } from './harness.ts'
import type { AppSpec } from './harness.ts'

useApps()

/** Of which clients get the code, by JSON. */
class Details {
  readonly code = 'DECLINED'
  readonly response = 'tok-en-123'
  toJSON() {
    return { code: this.code }
  }
}

const declined = (): GraphQLError => new GraphQLError('Declined', { extensions: new Details() as any })

const spec = (end: (step: any) => unknown): AppSpec => ({
  typeDefs: 'type Query { a: String } type Mutation { now: String @durable later: String @durable }',
  resolvers: {
    Mutation: {
      now: () => {
        throw declined()
      },
      later: async (_: unknown, __: unknown, { step }: any) => {
        await step.waitForEvent('go', { event: 'go' })
        return end(step)
      },
    },
  },
})

describe.each(STACKS)('extensions that say by toJSON what they are, $server over $store', (stack) => {
  it.each<[string, string, 'hot' | 'cold', (step: any) => unknown]>(
    (['hot', 'cold'] as const).flatMap((how) => [
      ['a resolver', 'mutation { later }', how, () => Promise.reject(declined())],
      ['a step', 'mutation { later }', how, (step: any) => step.run('charge', () => Promise.reject(declined()))],
      ['a root field that had finished', 'mutation { now later }', how, () => 'L'],
    ]),
  )('are that and nothing else in the result and in steps: thrown by %s, in %s, %s', async (_who, query, how, end) => {
    const app = await createApp(stack, spec(end))
    const runId = runIdOf(await app.ask(query))
    if (how === 'cold') await app.restart()
    await app.durable.send({ name: 'go' })
    const run = await app.ended(runId)
    expect(run.result?.errors?.map(({ extensions }) => extensions)).toEqual([{ code: 'DECLINED' }])
    expect(JSON.stringify(run)).not.toContain('tok-en-123')
  })
})
