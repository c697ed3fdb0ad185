import { isObjectType, isTypeDefinitionNode, Kind } from 'graphql'
import type { DocumentNode, GraphQLScalarType, GraphQLSchema } from 'graphql'
import type { Names } from './names.ts'

export interface AdditionOptions {
  readonly names: Names
  readonly scalars: readonly GraphQLScalarType[]
  /** Another durable instance has extended the schema before. */
  readonly isOthers: boolean
}

/** @throws TypeError naming everything that the schema already has of what we are about to add. */
export function assertNoConflicts(schema: GraphQLSchema, document: DocumentNode, options: AdditionOptions): void {
  const { names, scalars, isOthers } = options
  const taken = [...scalars.map(({ name }) => name), ...definedTypes(document)].filter((name) => schema.getType(name))
  taken.push(...addedFields(document).filter((coordinate) => hasField(schema, coordinate)))
  if (taken.length === 0) return
  const whose = isOthers ? ', some of which another durable instance added' : ''
  const prefix = names.prefix === '' ? "a prefix: schema: { prefix: 'My' }" : `a prefix other than '${names.prefix}'`
  throw new TypeError(
    `Expected a schema without ${taken.join(', ')}, which graphql-durable adds, but it has ${taken.length === 1 ? 'it' : 'them'} already${whose}. ` +
      `Rename yours, or give createDurable ${prefix}.`,
  )
}

function definedTypes(document: DocumentNode): string[] {
  return document.definitions.filter(isTypeDefinitionNode).map(({ name }) => name.value)
}

/** Coordinates of what is added to types that are there already. */
function addedFields(document: DocumentNode): string[] {
  return document.definitions.flatMap((node) =>
    node.kind === Kind.OBJECT_TYPE_EXTENSION
      ? (node.fields ?? []).map((field) => `${node.name.value}.${field.name.value}`)
      : [],
  )
}

function hasField(schema: GraphQLSchema, coordinate: string): boolean {
  const [typeName = '', fieldName = ''] = coordinate.split('.')
  const type = schema.getType(typeName)
  return isObjectType(type) && type.getFields()[fieldName] !== undefined
}
