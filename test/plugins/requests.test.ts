import { describe, expect, it } from 'vitest'
import { createApp, runIdOf, useApps } from './harness.ts'
import type { App, AppSpec } from './harness.ts'

useApps({ postgres: false })

/** Which operation of a document is executed, and which of its fields, is the specification's to say (6.1, 6.3.2). */
describe.each(['Yoga', 'Envelop'] as const)('a request to %s', (server) => {
  const called: string[] = []
  const field = (name: string) => () => (called.push(name), name)
  const wait = async (_source: unknown, _args: unknown, { step }: any) => {
    await step.sleep('pause', '10s')
    return 'waited'
  }
  const spec: AppSpec = {
    typeDefs: 'type Query { q: String } type Mutation { pay: String @durable log: String wait: String @durable }',
    resolvers: { Query: { q: field('q') }, Mutation: { pay: field('pay'), log: field('log'), wait } },
    durable: { hold: 0 },
  }
  async function appOf(changes: Partial<AppSpec> = {}): Promise<App> {
    called.length = 0
    return createApp(server, { ...spec, ...changes })
  }
  const refusal = (message: RegExp) => ({ errors: [{ message: expect.stringMatching(message) }] })

  it.each([
    ['several operations and no name', 'mutation A { pay log } mutation B { log wait }', undefined, /operation/],
    ['a query among them', 'query Q { q } mutation A { pay log }', undefined, /operation/],
    ['a name that no operation has', 'mutation A { pay log }', 'B', /operation/],
    ['a name of JavaScript’s own', 'mutation A { pay log }', 'constructor', /operation/],
  ])('with %s is refused before anything runs', async (_title, query, operationName, message) => {
    const app = await appOf()
    const ask = (headers?: Record<string, string>) =>
      app.ask(query, { ...(operationName !== undefined && { operationName }), ...(headers && { headers }) })
    expect((await ask()).body).toMatchObject(refusal(message))
    expect((await ask({ 'idempotency-key': '"once"' })).body).toMatchObject(refusal(message))
    expect(called).toEqual([])
    expect(app.writes).toEqual(['connect'])
  })

  it('with several operations executes the one that is named', async () => {
    const app = await appOf()
    const { body } = await app.ask('mutation A { pay log } mutation B { log }', { operationName: 'B' })
    expect(body).toEqual({ data: { log: 'log' } })
    expect(called).toEqual(['log'])
  })

  it('may name its fields, fragments and variables as it likes, also after a crash', async () => {
    const app = await appOf()
    const query = `mutation ($constructor: Boolean!, $valueOf: Boolean = true) {
      __proto__: log
      constructor: log @include(if: $constructor)
      toString: log @include(if: $valueOf)
      ...__proto__ @skip(if: $constructor)
      ...hasOwnProperty @include(if: $valueOf)
    }
    fragment __proto__ on Mutation { left: log }
    fragment hasOwnProperty on Mutation { wait }`
    const answer = await app.ask(query, { variables: { constructor: true } })
    await app.crash()
    const run = await app.ended(runIdOf(answer))
    const data = JSON.parse('{"__proto__":"log","constructor":"log","toString":"log","wait":"waited"}') as unknown
    expect(run.result).toEqual({ data })
    expect(JSON.stringify(run.result)).toContain('"__proto__":"log"')
    expect(called).toEqual(['log', 'log', 'log'])
  })

  it('is refused whole for a variable that is missing or of another type', async () => {
    const app = await appOf()
    const query = 'mutation ($constructor: Boolean!) { pay log @include(if: $constructor) }'
    expect((await app.ask(query, { variables: {} })).body).toMatchObject(refusal(/\$constructor/))
    expect((await app.ask(query, { variables: { constructor: 7 } })).body).toMatchObject(refusal(/\$constructor/))
    expect(called).toEqual([])
  })

  it('gets fields of fragments that are to be deferred in the run’s result', async () => {
    const app = await appOf()
    const query = 'mutation { log ... { pay wait } }'
    const run = await app.ended(runIdOf(await app.ask(query)))
    expect(run.result).toEqual({ data: { log: 'log', pay: 'pay', wait: 'waited' } })
  })
})
