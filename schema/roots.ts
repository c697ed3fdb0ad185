import { Kind, parse, visit } from 'graphql'
import type { DocumentNode, GraphQLSchema } from 'graphql'
import type { Names } from './names.ts'

export interface RootType {
  readonly name: string
  readonly exists: boolean
}

export interface RootTypes {
  readonly Query: RootType
  readonly Mutation: RootType
}

/** The roots as the schema calls them. One that it lacks gets the usual name, or a prefixed one if that is taken. */
export function rootTypes(schema: GraphQLSchema, names: Names): RootTypes {
  const root = (usual: string, name: string | undefined): RootType => {
    if (name !== undefined) return { name, exists: true }
    return { name: schema.getType(usual) ? names.type(usual) : usual, exists: false }
  }
  return {
    Query: root('Query', schema.getQueryType()?.name),
    Mutation: root('Mutation', schema.getMutationType()?.name),
  }
}

/** Turns `extend type Query` into an extension of the schema's own root, or into its definition. */
export function toRootTypes(document: DocumentNode, roots: RootTypes): DocumentNode {
  const renamed: DocumentNode = visit(document, {
    ObjectTypeExtension(node) {
      const root = node.name.value === 'Query' ? roots.Query : roots.Mutation
      const name = { ...node.name, value: root.name }
      return { ...node, name, kind: root.exists ? Kind.OBJECT_TYPE_EXTENSION : Kind.OBJECT_TYPE_DEFINITION }
    },
  })
  const created = (['query', 'mutation'] as const).flatMap((operation) => {
    const root = operation === 'query' ? roots.Query : roots.Mutation
    return root.exists ? [] : parse(`extend schema { ${operation}: ${root.name} }`).definitions
  })
  return { ...renamed, definitions: [...renamed.definitions, ...created] }
}
