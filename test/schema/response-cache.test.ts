import { cacheControlDirective, useResponseCache } from '@graphql-yoga/plugin-response-cache'
import { createSchema, createYoga } from 'graphql-yoga'
import type { Plugin } from 'graphql-yoga'
import { describe, expect, it } from 'vitest'
import { extendSchema } from '../../schema/extend.ts'
import { aRun, runId, START, stubDurable, stubResolvers } from './stub.ts'
import type { StubDurable } from './stub.ts'

const typeDefs = 'type Query { hello: Int }'
const id = runId('a')

/** Extends the schema the way a server plugin does. */
function useExtension(durable: StubDurable, prefix?: string): Plugin {
  const resolvers = stubResolvers(durable, { authorize: () => true })
  return {
    onSchemaChange: ({ schema, replaceSchema }) => {
      const extended = extendSchema(schema, { instance: 'one', resolvers, prefix })
      if (extended !== schema) replaceSchema(extended)
    },
  }
}

function serve({
  sdl = typeDefs,
  cacheFirst = false,
  prefix,
}: {
  sdl?: string
  cacheFirst?: boolean
  prefix?: string
}) {
  const durable = stubDurable([aRun('a')])
  let hellos = 0
  const resolvers = { Query: { hello: () => (hellos += 1) } }
  const plugins = [useExtension(durable, prefix), useResponseCache({ session: () => null })]
  const yoga = createYoga({
    schema: createSchema({ typeDefs: sdl, resolvers }),
    plugins: cacheFirst ? plugins.toReversed() : plugins,
    logging: false,
  })
  return {
    async ask(query: string): Promise<unknown> {
      const response = await yoga.fetch('http://localhost/graphql', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ query }),
      })
      return response.json()
    },
    endRun() {
      durable.stored[0] = aRun('a', { status: 'COMPLETED', endedAt: START, result: { data: { ok: true } } })
    },
    deleteRun() {
      durable.stored.length = 0
    },
    restoreRun() {
      durable.stored.push(aRun('a'))
    },
  }
}

const queries = {
  'a plain query': `{ durableRun(id: "${id}") { id status } }`,
  'no id': `{ durableRun(id: "${id}") { status } }`,
  'nested fields': `{ durableRun(id: "${id}") { status steps { step } waitingOn { step } result } }`,
  'an alias': `{ poll: durableRun(id: "${id}") { state: status } }`,
  'a fragment': `query { ...Poll } fragment Poll on Query { durableRun(id: "${id}") { ...Run } } fragment Run on DurableRun { status }`,
  'an inline fragment': `{ ... on Query { durableRun(id: "${id}") { ... { status } } } }`,
  'a field beside it': `{ hello durableRun(id: "${id}") { status } }`,
  'a list': `{ durableRuns { nodes { status } } }`,
  'the edges of a list': `{ durableRuns { edges { node { status } } } }`,
}

const servers = {
  'that knows no @cacheControl': {},
  'whose cache comes first': { cacheFirst: true },
  'that has the directive': { sdl: `${cacheControlDirective} ${typeDefs}` },
  'whose directive has no scope': { sdl: `directive @cacheControl(maxAge: Int) on FIELD_DEFINITION ${typeDefs}` },
  'whose root has another name': { sdl: 'schema { query: Query } type Query { hello: Int }' },
}

describe.each(Object.entries(servers))('a response cache of a server %s', (_name, options) => {
  it.each(Object.entries(queries))('never answers a polled run: %s', async (_what, query) => {
    const server = serve(options)
    expect(JSON.stringify(await server.ask(query))).toContain('SUSPENDED')
    server.endRun()
    expect(JSON.stringify(await server.ask(query))).toContain('COMPLETED')
  })

  it('never answers that there is no run', async () => {
    const server = serve(options)
    server.deleteRun()
    const query = queries['a plain query']
    expect(await server.ask(query)).toEqual({ data: { durableRun: null } })
    server.restoreRun()
    expect(JSON.stringify(await server.ask(query))).toContain('SUSPENDED')
  })

  it('still answers everything else', async () => {
    const server = serve(options)
    expect(await server.ask('{ hello }')).toEqual({ data: { hello: 1 } })
    expect(await server.ask('{ hello }')).toMatchObject({ data: { hello: 1 } })
  })
})

it('a response cache never answers a polled run under a prefix', async () => {
  const server = serve({ prefix: 'My' })
  const query = `{ myDurableRun(id: "${id}") { status } }`
  expect(JSON.stringify(await server.ask(query))).toContain('SUSPENDED')
  server.endRun()
  expect(JSON.stringify(await server.ask(query))).toContain('COMPLETED')
})
