import {
  DirectiveLocation,
  getNullableType,
  GraphQLDirective,
  GraphQLEnumType,
  GraphQLInt,
  isEnumType,
  isRequiredArgument,
  Kind,
  visit,
} from 'graphql'
import type { DirectiveNode, DocumentNode, GraphQLArgument, GraphQLSchema, ValueNode } from 'graphql'

const NAME = 'cacheControl'
const SCOPE = 'CacheControlScope'

/** The schema's own `@cacheControl`, whatever its shape, or one in the form that response caches read. */
export function cacheControlOf(schema: GraphQLSchema): GraphQLDirective {
  const own = schema.getDirective(NAME)
  if (own) return own
  const scope = schema.getType(SCOPE) ?? new GraphQLEnumType({ name: SCOPE, values: { PUBLIC: {}, PRIVATE: {} } })
  return new GraphQLDirective({
    name: NAME,
    locations: [DirectiveLocation.FIELD_DEFINITION, DirectiveLocation.OBJECT],
    // Where the user's CacheControlScope is something else, maxAge does alone: nothing is cached with 0.
    args: { maxAge: { type: GraphQLInt }, ...(isPrivacy(scope) && { scope: { type: scope } }) },
  })
}

/** Takes from our uses of `@cacheControl` what the directive, which may be the user's, does not have. */
export function fitCacheControl(document: DocumentNode, directive: GraphQLDirective): DocumentNode {
  return visit(document, {
    Directive(node, _key, _parent, _path, ancestors) {
      if (node.name.value !== NAME) return undefined
      const isOnField = ancestors.some((ancestor) => 'kind' in ancestor && ancestor.kind === Kind.FIELD_DEFINITION)
      const location = isOnField ? DirectiveLocation.FIELD_DEFINITION : DirectiveLocation.OBJECT
      return directive.locations.includes(location) ? fitArguments(node, directive) : null
    },
  })
}

function fitArguments(node: DirectiveNode, directive: GraphQLDirective): DirectiveNode | null {
  const kept = (node.arguments ?? []).filter(({ name, value }) =>
    directive.args.some((argument) => argument.name === name.value && fits(argument, value)),
  )
  const isComplete = directive.args.every(
    (argument) => !isRequiredArgument(argument) || kept.some(({ name }) => name.value === argument.name),
  )
  return kept.length > 0 && isComplete ? { ...node, arguments: kept } : null
}

function fits({ type }: GraphQLArgument, value: ValueNode): boolean {
  const nullable = getNullableType(type)
  if (value.kind === Kind.ENUM) return isPrivacy(nullable)
  return 'name' in nullable && nullable.name === GraphQLInt.name
}

function isPrivacy(type: unknown): type is GraphQLEnumType {
  return isEnumType(type) && type.getValue('PRIVATE') !== undefined
}
