import { mapSchema, MapperKind } from '@graphql-tools/utils'
import { defaultFieldResolver, isNonNullType } from 'graphql'
import type { GraphQLFieldConfig, GraphQLSchema } from 'graphql'
import { fieldById } from '../core/keys.ts'
import type { FieldPolicy } from '../core/policy.ts'
import { listsOf } from './adopted.ts'
import { POLICY } from './field-policy.ts'
import { bindField, durableFieldResolver, enterField, resolveByDefault } from './fields.ts'

/** A string key in `schema.extensions` survives other plugins' copies of a schema. */
const WRAPPED_BY = 'graphql-durable/wrapped'

/** A copy of the schema whose resolvers know their operation; the schema itself where it is such a copy already. */
export function wrapSchema(
  schema: GraphQLSchema,
  instance: string,
  policyOf: (field: GraphQLFieldConfig<unknown, unknown>, coordinate: string) => FieldPolicy | null,
  warnOfNonNull: (coordinate: string) => void,
): GraphQLSchema {
  // One wrapper serves every instance: which operation a resolver belongs to is found on the context.
  if (schema.extensions[WRAPPED_BY]) return schema
  const assertOnly = createIdCheck()
  const wrapped = wrapResolvers(schema, (field, coordinate) => {
    const policy = policyOf(field, coordinate)
    if (policy?.id !== undefined) assertOnly(policy.id, coordinate)
    if (policy && isNonNullType(field.type)) warnOfNonNull(coordinate)
    return policy
  })
  wrapped.extensions = { ...wrapped.extensions, [WRAPPED_BY]: instance }
  return wrapped
}

/**
 * Two fields of one type with the same `@durable(id:)` would share the steps of one scope, and in a mutation the response
 * of whichever finishes first. On different types they never stand at one place of a response.
 */
function createIdCheck(): (id: string, coordinate: string) => void {
  const coordinates = new Map<string, string>()
  return (id, coordinate) => {
    const type = coordinate.slice(0, coordinate.indexOf('.'))
    const key = fieldById(id)
    const other = coordinates.get(`${type}.${key}`)
    if (other !== undefined) {
      throw new TypeError(
        `Expected each @durable(id:) of ${type} once, since steps are named by it, but ${other} and ${coordinate} both have "${id}". Give one of them another id; runs under way look for the old one.`,
      )
    }
    coordinates.set(`${type}.${key}`, coordinate)
  }
}

function wrapResolvers(
  schema: GraphQLSchema,
  policyOf: (field: GraphQLFieldConfig<unknown, unknown>, coordinate: string) => FieldPolicy | null,
): GraphQLSchema {
  const query = schema.getQueryType()?.name
  const mutation = schema.getMutationType()?.name
  return mapSchema(schema, {
    [MapperKind.OBJECT_FIELD]: (field, fieldName, typeName) => {
      const isMutation = typeName === mutation
      const isRoot = isMutation || typeName === query
      const policy = policyOf(field, `${typeName}.${fieldName}`)
      if (!isRoot && !policy && !field.resolve) return undefined
      if (!isRoot && !policy && field.resolve === defaultFieldResolver) {
        return { ...field, resolve: durableFieldResolver }
      }
      const resolver = field.resolve ?? resolveByDefault
      const lists = listsOf(field.type)
      const resolve = isRoot || policy ? enterField(resolver, policy, isMutation, lists) : bindField(resolver, lists)
      return {
        ...field,
        resolve,
        ...(policy && { extensions: { ...field.extensions, [POLICY]: policy } }),
      }
    },
  })
}
