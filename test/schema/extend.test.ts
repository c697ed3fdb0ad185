import { makeExecutableSchema } from '@graphql-tools/schema'
import { MapperKind, mapSchema, printSchemaWithDirectives } from '@graphql-tools/utils'
import {
  buildSchema,
  GraphQLEnumType,
  GraphQLNonNull,
  GraphQLObjectType,
  GraphQLScalarType,
  GraphQLSchema,
  GraphQLString,
  graphql,
  lexicographicSortSchema,
  printSchema,
  validateSchema,
} from 'graphql'
import { describe, expect, it } from 'vitest'
import { EXTENDED_BY, extendSchema } from '../../schema/extend.ts'
import { stubResolvers } from './stub.ts'

function extend(schema: GraphQLSchema, prefix?: string, instance = 'one'): GraphQLSchema {
  return extendSchema(schema, { instance, resolvers: stubResolvers(), prefix })
}

const typeDefs = /* GraphQL */ `
  type Query {
    hello: String
  }
`

const federated = /* GraphQL */ `
  extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key"])
  directive @link(url: String!, import: [link__Import]) repeatable on SCHEMA
  directive @key(fields: federation__FieldSet!, resolvable: Boolean = true) repeatable on OBJECT | INTERFACE
  scalar link__Import
  scalar federation__FieldSet
  scalar _Any
  union _Entity = Product
  type _Service {
    sdl: String
  }
  type Product @key(fields: "id") {
    id: ID!
  }
  type Query {
    _entities(representations: [_Any!]!): [_Entity]!
    _service: _Service!
  }
`

const bases: Record<string, () => GraphQLSchema> = {
  buildSchema: () => buildSchema(typeDefs),
  makeExecutableSchema: () => makeExecutableSchema({ typeDefs, resolvers: { Query: { hello: () => 'world' } } }),
  'code first': () =>
    new GraphQLSchema({
      query: new GraphQLObjectType({ name: 'Query', fields: { hello: { type: GraphQLString } } }),
    }),
  'custom root names': () =>
    buildSchema('schema { query: Root mutation: Change } type Root { hello: String } type Change { poke: String }'),
  'a federated subgraph': () => buildSchema(federated),
  'a mutation type': () => buildSchema(`${typeDefs} type Mutation { poke: String }`),
  'a type called Mutation that is none, with a prefix': () => buildSchema(`${typeDefs} type Mutation { poke: String }`),
}

describe.each(Object.entries(bases))('extendSchema over %s', (_name, base) => {
  it('gives a valid schema that can be printed and read again', () => {
    const extended = extend(base())
    expect(validateSchema(extended)).toEqual([])
    expect(validateSchema(buildSchema(printSchemaWithDirectives(extended)))).toEqual([])
  })

  it('adds the documented root fields', () => {
    const extended = extend(base())
    expect(Object.keys(extended.getQueryType()!.getFields())).toEqual(
      expect.arrayContaining(['durableRun', 'durableRuns']),
    )
    expect(Object.keys(extended.getMutationType()!.getFields())).toEqual(
      expect.arrayContaining(['cancelDurableRun', 'sendDurableEvent']),
    )
  })

  it('leaves the schema that it was given alone', () => {
    const schema = base()
    const before = printSchema(schema)
    extend(schema)
    expect(printSchema(schema)).toBe(before)
    expect(schema.extensions).not.toHaveProperty(EXTENDED_BY)
  })
})

it('adds exactly what is documented', () => {
  const added = printSchema(lexicographicSortSchema(extend(buildSchema(typeDefs))))
  const withoutDescriptions = added.replace(/^ *"""[\s\S]*?"""\n/gm, '').replace(/\n\n(?= )/g, '\n')
  expect(withoutDescriptions).toMatchInlineSnapshot(`
    "directive @cacheControl(maxAge: Int, scope: CacheControlScope) on FIELD_DEFINITION | OBJECT

    enum CacheControlScope {
      PRIVATE
      PUBLIC
    }

    scalar DurableDateTime @specifiedBy(url: "https://www.rfc-editor.org/rfc/rfc3339")

    scalar DurableJSON

    type DurablePageInfo {
      endCursor: String
      hasNextPage: Boolean!
    }

    type DurableRun {
      createdAt: DurableDateTime!
      data: DurableJSON
      endedAt: DurableDateTime
      errors: [DurableJSON!]
      id: ID!
      operationName: String
      result: DurableJSON
      retryAfterMs: Int
      status: DurableRunStatus!
      steps: [DurableStep!]!
      updatedAt: DurableDateTime!
      version: String
      waitingOn: [DurableWait!]!
    }

    type DurableRunConnection {
      edges: [DurableRunEdge!]!
      nodes: [DurableRun!]!
      pageInfo: DurablePageInfo!
    }

    type DurableRunEdge {
      cursor: String!
      node: DurableRun!
    }

    enum DurableRunStatus {
      CANCELLED
      COMPLETED
      FAILED
      QUEUED
      RUNNING
      SUSPENDED
    }

    type DurableStep {
      attempts: Int!
      endedAt: DurableDateTime
      error: DurableJSON
      id: ID!
      kind: DurableStepKind!
      output: DurableJSON
      path: [String!]!
      startedAt: DurableDateTime
      status: DurableStepStatus!
      step: String!
    }

    enum DurableStepKind {
      CALLBACK
      DEFER
      EVENT
      FIELD
      INVOKE
      RUN
      SEND
      SLEEP
    }

    enum DurableStepStatus {
      COMPLETED
      FAILED
      RUNNING
      WAITING
    }

    type DurableWait {
      event: String
      kind: DurableWaitKind!
      path: [String!]!
      responsePath: [DurableJSON!]
      since: DurableDateTime!
      step: String!
      until: DurableDateTime
    }

    enum DurableWaitKind {
      CALLBACK
      EVENT
      RETRY
      RUN
      SLEEP
    }

    type Mutation {
      cancelDurableRun(id: ID!, reason: String): DurableRun!
      sendDurableEvent(data: DurableJSON, id: ID, name: String!): ID!
    }

    type Query {
      durableRun(id: ID!, wait: Int = 0): DurableRun
      durableRuns(after: String, first: Int = 20, operationName: String, status: DurableRunStatus): DurableRunConnection!
      hello: String
    }"
  `)
})

describe('what the schema has', () => {
  it('is kept: descriptions, extensions, resolvers, subscribe functions, isTypeOf, scalars and enum values', async () => {
    const symbol = Symbol('symbol')
    const upper = new GraphQLScalarType({
      name: 'Upper',
      serialize: (value) => String(value).toUpperCase(),
      extensions: { scalar: true },
    })
    const color = new GraphQLEnumType({ name: 'Color', values: { RED: { value: 0xff0000 } } })
    const node = new GraphQLObjectType({
      name: 'Node',
      fields: { self: { type: upper } },
      isTypeOf: () => true,
      extensions: { type: true },
    })
    const subscribe = async function* () {
      yield { tick: 1 }
    }
    const schema = new GraphQLSchema({
      description: 'A schema',
      extensions: { mine: 1, [symbol]: 2 },
      query: new GraphQLObjectType({
        name: 'Query',
        description: 'The root',
        fields: {
          loud: { type: new GraphQLNonNull(upper), resolve: () => 'loud', extensions: { field: true } },
          color: { type: color, resolve: () => 0xff0000 },
          node: { type: node },
        },
      }),
      subscription: new GraphQLObjectType({ name: 'Subscription', fields: { tick: { type: upper, subscribe } } }),
    })
    const extended = extend(schema)
    expect(extended.description).toBe('A schema')
    expect(extended.extensions).toMatchObject({ mine: 1, [symbol]: 2 })
    expect(extended.getQueryType()!.description).toBe('The root')
    expect(extended.getQueryType()!.getFields()['loud']!.extensions).toMatchObject({ field: true })
    expect(extended.getType('Upper')!.extensions).toMatchObject({ scalar: true })
    expect(extended.getType('Node')).toMatchObject({ isTypeOf: node.isTypeOf, extensions: { type: true } })
    expect(extended.getSubscriptionType()!.getFields()['tick']!.subscribe).toBe(subscribe)
    expect(await graphql({ schema: extended, source: '{ loud color }' })).toEqual({
      data: { loud: 'LOUD', color: 'RED' },
    })
  })

  it('is still assumed valid where it was', () => {
    const odd = (assumeValid: boolean) =>
      new GraphQLSchema({
        query: new GraphQLObjectType({ name: 'Query', fields: { __odd: { type: GraphQLString } } }),
        assumeValid,
      })
    expect(validateSchema(extend(odd(true)))).toEqual([])
    expect(validateSchema(extend(odd(false)))).not.toEqual([])
    const known = odd(false)
    validateSchema(known)
    expect(validateSchema(extend(known))).not.toEqual([])
  })
})

describe('applied twice', () => {
  const schema = extend(buildSchema(typeDefs))

  it('returns the schema as it is', () => {
    expect(extend(schema)).toBe(schema)
  })

  it('also when another plugin has mapped it, or sorted it', () => {
    for (const replaced of [
      mapSchema(schema, { [MapperKind.OBJECT_FIELD]: (field) => ({ ...field }) }),
      lexicographicSortSchema(schema),
    ]) {
      expect(extend(replaced)).toBe(replaced)
    }
  })

  it('also when another durable instance has extended it under a prefix', () => {
    const both = extend(schema, 'Other', 'two')
    expect(extend(both)).toBe(both)
    expect(extend(both, 'Other', 'two')).toBe(both)
    expect(validateSchema(both)).toEqual([])
    expect(Object.keys(both.getQueryType()!.getFields())).toEqual(
      expect.arrayContaining(['durableRun', 'otherDurableRun']),
    )
  })

  it('by another instance under the same names is refused', () => {
    expect(() => extend(schema, undefined, 'two')).toThrow(
      /another durable instance added.*schema: \{ prefix: 'My' \}/s,
    )
  })
})

describe('names', () => {
  it('that the schema has already are refused, all of them, with the remedy', () => {
    const taken = buildSchema(
      'type Query { durableRun: DurableJSON, hello: DurableRun } scalar DurableJSON type DurableRun { a: ID }',
    )
    expect(() => extend(taken)).toThrow(
      new TypeError(
        "Expected a schema without DurableJSON, DurableRun, Query.durableRun, which graphql-durable adds, but it has them already. Rename yours, or give createDurable a prefix: schema: { prefix: 'My' }.",
      ),
    )
    expect(validateSchema(extend(taken, 'My'))).toEqual([])
  })

  it('that the schema has only partly are refused as well', () => {
    const taken = buildSchema(`${typeDefs} type Mutation { cancelDurableRun: ID }`)
    expect(() => extend(taken)).toThrow(/without Mutation\.cancelDurableRun, .*has it already/)
  })

  it('are prefixed: types with the prefix, root fields with its camel case', () => {
    const extended = extend(buildSchema(typeDefs), 'my')
    const ours = Object.keys(extended.getTypeMap()).filter((name) => name.includes('Durable'))
    expect(ours.every((name) => name.startsWith('MyDurable'))).toBe(true)
    expect(Object.keys(extended.getQueryType()!.getFields())).toEqual(['hello', 'myDurableRun', 'myDurableRuns'])
    expect(Object.keys(extended.getMutationType()!.getFields())).toEqual(['myCancelDurableRun', 'mySendDurableEvent'])
    expect(extended.getQueryType()!.getFields()['myDurableRun']!.resolve).toBeTypeOf('function')
  })

  it.each(['1st', '__x', 'a-b'])('cannot begin with %j', (prefix) => {
    expect(() => extend(buildSchema(typeDefs), prefix)).toThrow(/Expected schema\.prefix to be the beginning/)
  })

  it('of a root that is made do not collide with a type of that name under a prefix', () => {
    const schema = buildSchema('schema { query: Query } type Query { a: Mutation } type Mutation { b: ID }')
    expect(() => extend(schema)).toThrow(/without Mutation, /)
    expect(extend(schema, 'My').getMutationType()!.name).toBe('MyMutation')
  })
})

describe('@cacheControl', () => {
  const printed = (sdl: string) => printSchemaWithDirectives(extend(buildSchema(sdl)))

  it('is declared where it is absent, and on our fields', () => {
    const sdl = printed(typeDefs)
    expect(sdl).toContain('directive @cacheControl(maxAge: Int, scope: CacheControlScope) on FIELD_DEFINITION | OBJECT')
    expect(sdl).toMatch(/durableRun\(.*\): DurableRun @cacheControl\(maxAge: 0, scope: PRIVATE\)/)
    expect(sdl).toContain('type DurableRun @cacheControl(maxAge: 0, scope: PRIVATE)')
  })

  it.each([
    {
      shape: 'another set of arguments',
      sdl: 'directive @cacheControl(maxAge: Int!, swr: Int) on FIELD_DEFINITION',
      field: '@cacheControl(maxAge: 0)',
      type: '',
    },
    {
      shape: "Apollo's",
      sdl: 'enum CacheControlScope { PUBLIC PRIVATE } directive @cacheControl(maxAge: Int, scope: CacheControlScope, inheritMaxAge: Boolean) on FIELD_DEFINITION | OBJECT | INTERFACE | UNION',
      field: '@cacheControl(maxAge: 0, scope: PRIVATE)',
      type: ' @cacheControl(maxAge: 0, scope: PRIVATE)',
    },
    {
      shape: 'other types of the arguments',
      sdl: 'directive @cacheControl(maxAge: String, scope: String) on FIELD_DEFINITION',
      field: '',
      type: '',
    },
    {
      shape: 'an argument that we cannot give',
      sdl: 'directive @cacheControl(maxAge: Int, tag: String!) on FIELD_DEFINITION',
      field: '',
      type: '',
    },
    { shape: 'another place', sdl: 'directive @cacheControl(maxAge: Int) on QUERY', field: '', type: '' },
    {
      shape: 'no directive, but a scope of its own kind',
      sdl: 'scalar CacheControlScope',
      field: '@cacheControl(maxAge: 0)',
      type: ' @cacheControl(maxAge: 0)',
    },
    {
      shape: 'no directive, but its scope',
      sdl: 'enum CacheControlScope { PRIVATE }',
      field: '@cacheControl(maxAge: 0, scope: PRIVATE)',
      type: ' @cacheControl(maxAge: 0, scope: PRIVATE)',
    },
  ])('of $shape does not break the schema', ({ sdl, field, type }) => {
    const result = printed(`${typeDefs} ${sdl}`)
    expect(validateSchema(buildSchema(result))).toEqual([])
    expect(result).toContain(`after: String): DurableRunConnection!${field && ` ${field}`}\n`)
    expect(result).toContain(`type DurableRun${type} {`)
  })
})
