import { GraphQLError } from 'graphql'
import { describe, expect, it } from 'vitest'
import { createApp, runIdOf, STACKS, useApps } from './harness.ts'
import type { AppSpec } from './harness.ts'

useApps()

class Internal extends Error {
  override readonly name = 'Internal'
}

/** The same failures, waiting or not: what the waiting ones come to has to be what the others were answered. */
const failures = {
  typeDefs: `
    type Query { a: String }
    type Mutation {
      plain(wait: Boolean!): String @durable
      graphql(wait: Boolean!): String @durable
      step(wait: Boolean!): String @durable
      graphqlInStep(wait: Boolean!): String @durable
      fine(wait: Boolean!): String @durable
    }
  `,
  resolvers: {
    Mutation: Object.fromEntries(
      Object.entries({
        plain: () => {
          throw new Internal('the password is 1234')
        },
        graphql: () => {
          throw new GraphQLError('Out of stock', { extensions: { code: 'OUT_OF_STOCK', left: 0 } })
        },
        step: (step: any) =>
          step.run('charge', () => Promise.reject(new Internal('the password is 1234')), { retries: 0 }),
        graphqlInStep: (step: any) =>
          step.run('charge', () => Promise.reject(new GraphQLError('No card', { extensions: { code: 'NO_CARD' } }))),
        fine: () => 'fine',
      }).map(([name, end]) => [
        name,
        async (_: unknown, { wait }: { wait: boolean }, { step }: any) => {
          if (wait) await step.waitForEvent('go', { event: 'go' })
          return end(step)
        },
      ]),
    ),
  },
} satisfies AppSpec

const maskings = {
  'the default masking': {},
  'a custom maskError': {
    maskedErrors: {
      maskError: (error: any) =>
        error?.extensions?.code
          ? error
          : new GraphQLError('Something broke', { path: error.path, extensions: { code: 'BROKEN', ref: 7 } }),
    },
  },
  'a maskError that erases everything': { maskedErrors: { maskError: () => new GraphQLError('Nothing to see') } },
  'no masking': { maskedErrors: false as const },
}

describe.each(STACKS)('$server over $store', (stack) => {
  describe.each(Object.entries(maskings))('with %s', (name, masking) => {
    it.each(['hot', 'cold'] as const)('stores what a synchronous client would have got (I7), %s', async (how) => {
      const app = await createApp(stack, { ...failures, ...masking })
      const runs = []
      for (const field of Object.keys(failures.resolvers.Mutation)) {
        const query = `mutation M($wait: Boolean!) { ${field}(wait: $wait) }`
        const sync = await app.ask(query, { variables: { wait: false } })
        expect(sync.body.extensions).toBeUndefined()
        const runId = runIdOf(await app.ask(query, { variables: { wait: true } }))
        runs.push({ field, runId, sync })
      }
      if (how === 'cold') await app.restart()
      await app.durable.send({ name: 'go' })
      for (const { field, runId, sync } of runs) {
        const run = await app.ended(runId)
        expect(JSON.parse(JSON.stringify(run.result)), field).toEqual(sync.body)
        expect(run.status).toBe(field === 'fine' ? 'COMPLETED' : 'FAILED')
        if (name !== 'no masking') expect(JSON.stringify(run)).not.toContain('1234')
      }
    })

    it.each(['hot', 'cold'] as const)(
      'masks several root fields as if they were one operation (I7, I10), %s',
      async (how) => {
        const app = await createApp(stack, { ...failures, ...masking })
        const query = `mutation M($wait: Boolean!) {
        a: plain(wait: false) b: graphql(wait: false) c: fine(wait: $wait) d: step(wait: $wait) e: plain(wait: $wait)
      }`
        const sync = await app.ask(query, { variables: { wait: false } })
        const runId = runIdOf(await app.ask(query, { variables: { wait: true } }))
        if (how === 'cold') await app.restart()
        for (let turn = 0; turn < 3; turn++) {
          await app.durable.send({ name: 'go' })
          await app.clock.advance('5s')
        }
        expect(JSON.parse(JSON.stringify((await app.ended(runId)).result))).toEqual(sync.body)
      },
    )

    it('keeps the entries of pending fields, with code and runId', async () => {
      const app = await createApp(stack, { ...failures, ...masking })
      const answer = await app.ask('mutation { a: plain(wait: false) b: fine(wait: true) c: fine(wait: false) }')
      const runId = runIdOf(answer)
      const code = (error: any): unknown => error.extensions?.code
      expect(answer.body.errors?.filter((error) => code(error) === 'DURABLE_DEFERRED').map(({ path }) => path)).toEqual(
        [['b'], ['c']],
      )
      expect(answer.body.errors).toHaveLength(3)
      expect(answer.body.data).toEqual({ a: null, b: null, c: null })
      for (const error of answer.body.errors?.slice(1) ?? []) expect(error.extensions?.['runId']).toBe(runId)
    })
  })
})
