import { makeExecutableSchema } from '@graphql-tools/schema'
import { buildSchema, GraphQLObjectType, GraphQLSchema, GraphQLString, isObjectType } from 'graphql'
import { describe, expect, it } from 'vitest'
import { durableDirective, durableTypeDefs } from '../../schema/index.ts'
import { readFieldPolicy } from '../../schema/policy.ts'
import type { FieldPolicy } from '../../src/core/policy.ts'

const FULL = { id: 'pay', retries: 5, timeout: '20s', hold: '2s' }
const PARSED = { id: 'pay', retries: 5, timeoutMs: 20_000, holdMs: 2000 }
const SDL = '@durable(id: "pay", retries: 5, timeout: "20s", hold: "2s")'

function codeFirst(extensions: Record<string, unknown>): GraphQLSchema {
  const fields = { checkout: { type: GraphQLString, extensions }, plain: { type: GraphQLString } }
  return new GraphQLSchema({ query: new GraphQLObjectType({ name: 'Query', fields }) })
}

function sdlFirst(directive: string): GraphQLSchema {
  // Not validated, as servers build theirs.
  return buildSchema(`${durableTypeDefs} type Query { checkout: String ${directive} plain: String }`, {
    assumeValidSDL: true,
  })
}

/** The policies of a schema's fields by coordinate (`Mutation.checkout`). */
function fieldPolicies(schema: GraphQLSchema): ReadonlyMap<string, FieldPolicy> {
  const fields = Object.values(schema.getTypeMap())
    .filter((type) => isObjectType(type))
    .flatMap((type) => Object.values(type.getFields()).map((field) => [`${type.name}.${field.name}`, field] as const))
  return new Map(
    fields.flatMap(([coordinate, field]) => {
      const policy = readFieldPolicy(coordinate, field)
      return policy === null ? [] : [[coordinate, policy] as const]
    }),
  )
}

describe("a field's policy", () => {
  it.each([
    ['the SDL', sdlFirst(SDL)],
    ['extensions.durable', codeFirst({ durable: FULL })],
    ['extensions.directives.durable', codeFirst({ directives: { durable: FULL } })],
    ['extensions.directives.durable, an array of one', codeFirst({ directives: { durable: [FULL] } })],
    ['extensions.directives, a list', codeFirst({ directives: [{ name: 'durable', args: FULL }] })],
  ])('reads %s', (_place, schema) => {
    expect([...fieldPolicies(schema)]).toEqual([['Query.checkout', PARSED]])
  })

  it('reads an extension of a type, and milliseconds', () => {
    const schema = makeExecutableSchema({
      typeDefs: [
        durableTypeDefs,
        'type Query { a: ID } type Mutation { a: ID }',
        'extend type Mutation { b: ID @durable }',
      ],
    })
    expect([...fieldPolicies(schema)]).toEqual([['Mutation.b', {}]])
    expect(readFieldPolicy('Query.a', { extensions: { durable: { hold: 0, timeout: 50 } } })).toEqual({
      holdMs: 0,
      timeoutMs: 50,
    })
  })

  it('takes null for an absent argument', () => {
    expect(fieldPolicies(sdlFirst('@durable(id: null, retries: null)')).get('Query.checkout')).toEqual({})
  })

  it('prefers extensions to the SDL', () => {
    const { astNode } = sdlFirst(SDL).getQueryType()!.getFields()['checkout']!
    const field = { astNode, extensions: { durable: { retries: 0 } } }
    expect(readFieldPolicy('Query.a', field)).toEqual({ retries: 0 })
  })
})

describe('a bad value is refused with its place, what was expected and what came', () => {
  it.each([
    ['@durable(retries: -1)', '@durable(retries:) on Query.checkout to be an integer from 0, but got -1.'],
    ['@durable(retries: 1.5)', '@durable(retries:) on Query.checkout to be an integer from 0, but got 1.5.'],
    ['@durable(retries: "3")', '@durable(retries:) on Query.checkout to be an integer from 0, but got "3".'],
    ['@durable(id: "")', '@durable(id:) on Query.checkout to be a text that is not empty, but got "".'],
    ['@durable(id: 7)', '@durable(id:) on Query.checkout to be a text that is not empty, but got 7.'],
    ['@durable(timeout: "soon")', /@durable\(timeout:\) on Query\.checkout to be milliseconds.*but got "soon"\./],
    ['@durable(timeout: "0s")', '@durable(timeout:) on Query.checkout to be longer than nothing, but got "0s".'],
    ['@durable(hold: "-1s")', /@durable\(hold:\) on Query\.checkout to be milliseconds.*but got "-1s"\./],
    ['@durable(hold: {})', /@durable\(hold:\) on Query\.checkout to be milliseconds.*but got \{\}\./],
    ['@durable(retry: 3)', 'on Query.checkout to have "id", "retries", "timeout" or "hold", but got "retry".'],
  ])('%s', (directive, message) => {
    expect(() => fieldPolicies(sdlFirst(directive))).toThrow(message)
  })

  it.each([
    [{ durable: true }, 'Expected @durable on Query.checkout to be an object such as { retries: 3 }, but got true.'],
    [{ durable: [FULL] }, 'to be an object such as { retries: 3 }, but got [{'],
    [{ directives: { durable: [FULL, FULL] } }, 'Expected @durable once on Query.checkout, but it is there 2 times.'],
  ])('%j', (extensions, message) => {
    expect(() => fieldPolicies(codeFirst(extensions))).toThrow(message)
  })
})

describe('durableDirective', () => {
  it('gives the directive another name, which the transformer makes known', () => {
    const { durableDirectiveTypeDefs, durableDirectiveTransformer } = durableDirective('workflow')
    const schema = makeExecutableSchema({
      typeDefs: [
        durableDirectiveTypeDefs,
        'directive @durable on OBJECT type Query @durable { a: ID @workflow(retries: 1, timeout: "1m") b: ID }',
      ],
    })
    expect([...fieldPolicies(schema)]).toEqual([])
    const transformed = durableDirectiveTransformer(schema)
    expect([...fieldPolicies(transformed)]).toEqual([['Query.a', { retries: 1, timeoutMs: 60_000 }]])
    expect(transformed.getQueryType()!.getFields()['a']!.extensions['durable']).toEqual({ retries: 1, timeout: '1m' })
  })

  it('has the usual name by default', () => {
    expect(durableDirective().durableDirectiveTypeDefs).toBe(durableTypeDefs)
    expect(durableTypeDefs).toContain(
      'directive @durable(id: String, retries: Int, timeout: String, hold: String) on FIELD_DEFINITION',
    )
  })

  it('refuses what is no name', () => {
    expect(() => durableDirective('@workflow')).toThrow('such as \'workflow\', but got "@workflow"')
  })
})
