import { MapperKind, mapSchema } from '@graphql-tools/utils'
import type { GraphQLSchema } from 'graphql'
import { readDirectiveArguments } from './policy.ts'

/** What the SDL has to know before it can use `@durable`: list it among the type definitions. */
export const durableTypeDefs = typeDefs('durable')

export interface RenamedDurableDirective {
  readonly durableDirectiveTypeDefs: string
  /** A copy in which each field that carries the directive has its arguments in `extensions.durable`. */
  readonly durableDirectiveTransformer: (schema: GraphQLSchema) => GraphQLSchema
}

/**
 * `@durable` under another name, for schemas that have a directive of that name already.
 *
 * @example
 * const { durableDirectiveTypeDefs, durableDirectiveTransformer } = durableDirective('workflow')
 * const schema = durableDirectiveTransformer(createSchema({ typeDefs: [durableDirectiveTypeDefs, typeDefs], resolvers }))
 */
export function durableDirective(name = 'durable'): RenamedDurableDirective {
  if (!/^(?!__)[_A-Za-z]\w*$/.test(name)) {
    throw new TypeError(`Expected the name of a directive, such as 'workflow', but got ${JSON.stringify(name)}.`)
  }
  return {
    durableDirectiveTypeDefs: typeDefs(name),
    durableDirectiveTransformer: (schema) => copyArguments(schema, name),
  }
}

function typeDefs(name: string): string {
  return `"""
The steps of this field are committed, and the field goes on after a crash.
id: names the field in step keys. retries: of a step, after its first attempt. timeout: of an attempt, such as "20s".
hold: how long a request may stay suspended here before it is deferred.
"""
directive @${name}(id: String, retries: Int, timeout: String, hold: String) on FIELD_DEFINITION
`
}

function copyArguments(schema: GraphQLSchema, name: string): GraphQLSchema {
  return mapSchema(schema, {
    [MapperKind.OBJECT_FIELD]: (field, fieldName, typeName) => {
      const found = readDirectiveArguments(`${typeName}.${fieldName}`, field, name)
      return found === undefined ? undefined : { ...field, extensions: { ...field.extensions, durable: found } }
    },
  })
}
