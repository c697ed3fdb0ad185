import { extendSchema as extendGraphQLSchema, GraphQLSchema, isObjectType, parse, validateSchema } from 'graphql'
import type { GraphQLFieldResolver } from 'graphql'
import { cacheControlOf, fitCacheControl } from './cacheControl.ts'
import { assertNoConflicts } from './conflicts.ts'
import { createNames } from './names.ts'
import type { Names } from './names.ts'
import type { DurableResolvers } from './resolvers.ts'
import { rootTypes, toRootTypes } from './roots.ts'
import type { RootTypes } from './roots.ts'
import { createScalars } from './scalars.ts'
import { clientTypeDefs } from './typeDefs.ts'

/**
 * Where `schema.extensions` says which durable instances have extended it: `{ [instance]: { prefix } }`. A string key,
 * because other plugins replace the schema by mapped copies, which keep neither identity nor symbols.
 */
export const EXTENDED_BY = 'graphql-durable'

export interface ExtendOptions {
  /** Which durable instance this is. Unique in the process. */
  readonly instance: string
  readonly resolvers: DurableResolvers
  /** Renames what is added: see `createNames`. */
  readonly prefix?: string | undefined
}

/**
 * A copy of the schema with the fields and types that clients follow runs with. Roots that the schema lacks are made.
 * A schema that this instance has already extended is returned as it is, also after others mapped or extended it.
 *
 * @throws TypeError where the schema has a type or a field of one of our names.
 */
export function extendSchema(schema: GraphQLSchema, { instance, resolvers, prefix }: ExtendOptions): GraphQLSchema {
  const extendedBy = marks(schema)
  if (Object.hasOwn(extendedBy, instance)) return schema
  const names = createNames(prefix)
  const roots = rootTypes(schema, names)
  const scalars = createScalars(names)
  const cacheControl = cacheControlOf(schema)
  const document = fitCacheControl(toRootTypes(parse(clientTypeDefs(names)), roots), cacheControl)
  assertNoConflicts(schema, document, { names, scalars, isOthers: Object.keys(extendedBy).length > 0 })

  const config = schema.toConfig()
  const base = new GraphQLSchema({
    ...config,
    types: [...config.types, ...scalars],
    directives: config.directives.includes(cacheControl) ? config.directives : [...config.directives, cacheControl],
    assumeValid: true, // the document is validated against it, which must not bring up the user's own errors
  })
  const extended = extendGraphQLSchema(base, document)
  attachResolvers(extended, resolvers, roots, names)
  return new GraphQLSchema({
    ...extended.toConfig(),
    // graphql 16 drops these two. An object without a prototype is taken as it is, symbols included.
    description: config.description,
    extensions: Object.assign(Object.create(null), config.extensions, {
      [EXTENDED_BY]: { ...extendedBy, [instance]: { prefix: names.prefix } },
    }),
    // Set for schemas that were assumed valid, and for those that were validated, with whatever outcome.
    assumeValid: config.assumeValid && validateSchema(schema).length === 0,
  })
}

function marks(schema: GraphQLSchema): Readonly<Record<string, unknown>> {
  return (schema.extensions[EXTENDED_BY] ?? {}) as Record<string, unknown> // written below, and by nobody else
}

/** The schema is our copy, so its fields may be written to. */
function attachResolvers(schema: GraphQLSchema, resolvers: DurableResolvers, roots: RootTypes, names: Names): void {
  for (const [typeName, fields] of Object.entries(resolvers)) {
    const root = typeName === 'Query' || typeName === 'Mutation' ? roots[typeName].name : null
    const type = schema.getType(root ?? names.type(typeName))
    for (const [fieldName, resolve] of Object.entries(fields)) {
      const name = root === null ? fieldName : names.field(fieldName)
      const field = isObjectType(type) ? type.getFields()[name] : undefined
      if (field === undefined) throw new Error(`There is a resolver of ${typeName}.${fieldName}, but no such field.`)
      field.resolve = resolve as GraphQLFieldResolver<unknown, unknown> // the type definitions say what it is called with
    }
  }
}
