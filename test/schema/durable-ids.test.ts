import { makeExecutableSchema } from '@graphql-tools/schema'
import { GraphQLObjectType, GraphQLSchema, GraphQLString } from 'graphql'
import { describe, expect, it } from 'vitest'
import { durableDirective, durableTypeDefs } from '../../schema/index.ts'
import { createDurable } from '../../src/index.ts'
import { memoryStore } from '../../src/memory.ts'

const prepare = (schema: GraphQLSchema): GraphQLSchema => createDurable({ store: memoryStore() }).schema(schema)
const sdl = (typeDefs: string): GraphQLSchema => makeExecutableSchema({ typeDefs: [durableTypeDefs, typeDefs] })
const codeFirst = (a: Record<string, unknown>, b: Record<string, unknown>): GraphQLSchema =>
  new GraphQLSchema({
    query: new GraphQLObjectType({
      name: 'Query',
      fields: { a: { type: GraphQLString, extensions: a }, b: { type: GraphQLString, extensions: b } },
    }),
  })

describe('one @durable(id:) on two fields of a type', () => {
  const refused = /Query\.a and Query\.b both have "pay"/

  it('is refused when the schema is made, in SDL', () => {
    expect(() => prepare(sdl('type Query { a: String @durable(id: "pay") b: String @durable(id: "pay") }'))).toThrow(
      refused,
    )
    expect(() =>
      prepare(sdl('type Query { q: String } type Item { x: Int @durable(id: "x/y") y: Int @durable(id: "x/y") }')),
    ).toThrow(/Item\.x and Item\.y both have "x\/y"/)
    expect(() =>
      prepare(sdl('type Query { a: String @durable(id: "pay") } extend type Query { b: String @durable(id: "pay") }')),
    ).toThrow(TypeError)
  })

  it('is refused in code, in both places of extensions', () => {
    const durable = { id: 'pay' }
    expect(() => prepare(codeFirst({ durable }, { directives: { durable } }))).toThrow(refused)
    expect(() => prepare(codeFirst({ durable }, { directives: [{ name: 'durable', args: durable }] }))).toThrow(refused)
  })

  it('is refused of a directive that is renamed', () => {
    const { durableDirectiveTypeDefs, durableDirectiveTransformer } = durableDirective('workflow')
    const typeDefs = `${durableDirectiveTypeDefs} type Query { a: String @workflow(id: "pay") b: String @workflow(id: "pay") }`
    expect(() => prepare(durableDirectiveTransformer(makeExecutableSchema({ typeDefs })))).toThrow(refused)
  })

  it('is fine on different types, and beside a field of that name', () => {
    const typeDefs = `
      interface Paid { pay: String }
      type Card implements Paid { pay: String @durable(id: "pay") }
      type Cash implements Paid { pay: String @durable(id: "pay") coins: Int }
      type Query { pay: String other: [Paid] @durable(id: "pay") }
      type Mutation { a: String @durable(id: "pay") }
    `
    expect(() => prepare(sdl(typeDefs))).not.toThrow()
  })
})
