import { GraphQLError } from 'graphql'
import { describe, expect, it } from 'vitest'
import { createApp, runIdOf, STACKS, useApps, YOGA_STACKS } from './harness.ts'
import type { App, AppSpec } from './harness.ts'

// Who may see what, through a server (I9). The rules themselves are tested in test/schema.

useApps()

const spec: AppSpec = {
  typeDefs: 'type Query { a: String } type Mutation { wait: String @durable }',
  resolvers: {
    Mutation: {
      wait: async (_: unknown, __: unknown, { step }: any) => (await step.waitForEvent('go', { event: 'go' })).id,
    },
  },
  context: ({ request, user }: any) => ({ user: user ?? request?.headers.get('x-user') ?? null }),
}
const as = (user: string) => ({ headers: { 'x-user': user } })
const UNKNOWN = 'run_ffffffffffffffffffffffffffffffff'

const owned: AppSpec = { ...spec, durable: { owner: ({ user }: any) => user } }
const authorized: AppSpec = {
  ...spec,
  durable: { authorize: async ({ context, action }: any) => context.user === 'ada' && action !== 'list' },
}

const get = async (app: App, runId: string, user: string) => {
  const response = await app.fetch(`/graphql/runs/${runId}`, as(user))
  return [response.status, [...response.headers].filter(([name]) => name !== 'date'), await response.text()]
}

describe.each(STACKS)('with $server over $store', (stack) => {
  describe.each([
    ['owner', owned],
    ['authorize', authorized],
  ])('and %s, a run', (_name, given) => {
    it('is visible to whom it belongs, and looks to others like one that does not exist (I9)', async () => {
      const app = await createApp(stack, given)
      const runId = runIdOf(await app.ask('mutation { wait }', as('ada')))
      const read = async (id: string, user: string) =>
        (await app.ask(`{ durableRun(id: "${id}") { operationName waitingOn { step } } }`, as(user))).body
      expect(await read(runId, 'ada')).toMatchObject({ data: { durableRun: { waitingOn: [{ step: 'go' }] } } })
      expect(await read(runId, 'eve')).toEqual(await read(UNKNOWN, 'eve'))
      const cancel = async (id: string) =>
        JSON.parse(
          JSON.stringify(
            (await app.ask(`mutation { cancelDurableRun(id: "${id}") { id } }`, as('eve'))).body,
          ).replaceAll(id, 'ID'),
        )
      expect(await cancel(runId)).toMatchObject({ errors: [{ extensions: { code: 'DURABLE_FORBIDDEN' } }] })
      expect(await cancel(runId)).toEqual(await cancel(UNKNOWN))
      expect((await app.durable.runs.get(runId))?.status).not.toBe('CANCELLED')
    })

    it('can be cancelled by whom it belongs, which nobody can catch (I12)', async () => {
      const app = await createApp(stack, given)
      const runId = runIdOf(await app.ask('mutation { wait }', as('ada')))
      const cancelled = await app.ask(
        `mutation { cancelDurableRun(id: "${runId}", reason: "enough") { status errors } }`,
        as('ada'),
      )
      expect(cancelled.body).toMatchObject({
        data: {
          cancelDurableRun: {
            status: 'CANCELLED',
            errors: [{ message: 'The operation was cancelled: enough', extensions: { code: 'DURABLE_RUN_CANCELLED' } }],
          },
        },
      })
    })
  })

  it('refuses what needs an option that is not set', async () => {
    const app = await createApp(stack, spec)
    const runId = runIdOf(await app.ask('mutation { wait }', as('ada')))
    for (const query of [
      '{ durableRuns { nodes { id } } }',
      `mutation { cancelDurableRun(id: "${runId}") { id } }`,
      'mutation { sendDurableEvent(name: "go") }',
    ]) {
      expect((await app.ask(query, as('ada'))).body).toMatchObject({
        errors: [{ extensions: { code: 'DURABLE_FORBIDDEN' } }],
      })
    }
    expect((await app.ask(`{ durableRun(id: "${runId}") { id } }`, as('eve'))).body).toEqual({
      data: { durableRun: { id: runId } },
    })
  })

  it("lists the caller's own runs", async () => {
    const app = await createApp(stack, owned)
    const mine = runIdOf(await app.ask('mutation { wait }', as('ada')))
    runIdOf(await app.ask('mutation { wait }', as('eve')))
    const list = (await app.ask('{ durableRuns { nodes { id } pageInfo { hasNextPage } } }', as('ada'))).body
    expect(list).toEqual({ data: { durableRuns: { nodes: [{ id: mine }], pageInfo: { hasNextPage: false } } } })
  })

  it('lets a client that may do so send the event that a run waits for', async () => {
    const app = await createApp(stack, authorized)
    const runId = runIdOf(await app.ask('mutation { wait }', as('ada')))
    const send = 'mutation { sendDurableEvent(name: "go", id: "evt-1") }'
    expect((await app.ask(send, as('eve'))).body).toMatchObject({
      errors: [{ extensions: { code: 'DURABLE_FORBIDDEN' } }],
    })
    expect((await app.ask(send, as('ada'))).body).toEqual({ data: { sendDurableEvent: 'evt-1' } })
    expect((await app.ended(runId)).result).toEqual({ data: { wait: 'evt-1' } })
  })

  it('keeps the owner of a run that is resumed cold', async () => {
    const app = await createApp(stack, owned)
    const runId = runIdOf(await app.ask('mutation { wait }', as('ada')))
    await app.restart()
    await app.durable.send({ name: 'go' })
    expect((await app.ended(runId)).owner).toBe('ada')
    expect((await app.ask(`{ durableRun(id: "${runId}") { id } }`, as('eve'))).body).toEqual({
      data: { durableRun: null },
    })
  })
})

describe.each(YOGA_STACKS)('over $store', (stack) => {
  describe.each([
    ['owner', owned],
    ['authorize', authorized],
  ])('GET {path}/{runId} with %s', (_name, given) => {
    it('answers others as if there were no such run, pending and ended (I9)', async () => {
      const app = await createApp(stack, given)
      const runId = runIdOf(await app.ask('mutation { wait }', as('ada')))
      expect((await get(app, runId, 'ada'))[0]).toBe(202)
      expect(await get(app, runId, 'eve')).toEqual(await get(app, UNKNOWN, 'eve'))
      await app.durable.send({ name: 'go', id: 'evt' })
      await app.ended(runId)
      expect((await get(app, runId, 'ada'))[2]).toBe('{"data":{"wait":"evt"}}')
      expect(await get(app, runId, 'eve')).toEqual(await get(app, UNKNOWN, 'ada'))
    })

    it('does not wait for a run that the caller may not see', async () => {
      const app = await createApp(stack, given)
      const runId = runIdOf(await app.ask('mutation { wait }', as('ada')))
      const response = await app.fetch(`/graphql/runs/${runId}?wait=30`, as('eve'))
      expect(response.status).toBe(404)
    })

    it('tells nothing where the context cannot be built', async () => {
      const app = await createApp(stack, {
        ...given,
        context: ({ request }: any) => {
          if (request.headers.get('x-anonymous')) {
            throw new GraphQLError('Sign in', {
              extensions: { http: { status: 401, headers: { 'www-authenticate': 'x' } } },
            })
          }
          if (!request.headers.get('x-user')) throw new Error('The password of the directory is 1234')
          return { user: request.headers.get('x-user') }
        },
      })
      const runId = runIdOf(await app.ask('mutation { wait }', as('ada')))
      const answers = await Promise.all(
        [runId, UNKNOWN].map(async (id) => {
          const response = await app.fetch(`/graphql/runs/${id}`)
          return [response.status, await response.text()]
        }),
      )
      expect(answers[0]).toEqual(answers[1])
      expect(answers[0]?.[0]).toBeGreaterThanOrEqual(400)
      expect(JSON.stringify(answers)).not.toContain('1234')
      const anonymous = await app.fetch(`/graphql/runs/${runId}`, { headers: { 'x-anonymous': '1' } })
      expect([anonymous.status, anonymous.headers.get('www-authenticate')]).toEqual([401, 'x'])
      expect(await anonymous.json()).toEqual({ errors: [{ message: 'Sign in' }] })
    })
  })
})
