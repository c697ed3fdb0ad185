import { collectFields } from '@graphql-tools/utils'
import { getOperationAST, getVariableValues, Kind, print, visit } from 'graphql'
import type { DocumentNode, ExecutionArgs, FieldNode, FragmentDefinitionNode, OperationDefinitionNode } from 'graphql'

type Named = Pick<ExecutionArgs, 'document' | 'operationName'>

/**
 * The operation that is executed (specification, 6.1). Undefined where there is none of the name, or several and no name:
 * the executor refuses these, and nothing may be done for them before it does.
 */
export function operationIn({ document, operationName }: Named): OperationDefinitionNode | undefined {
  return getOperationAST(document, operationName) ?? undefined
}

type VariableValues = Parameters<typeof collectFields>[2]

/** Null where they are an error of the whole request. */
function coercedVariables(args: ExecutionArgs, operation: OperationDefinitionNode): VariableValues | null {
  const definitions = operation.variableDefinitions ?? []
  const values: object = getVariableValues(args.schema, definitions, args.variableValues ?? {})
  if ('variableValues' in values) return values.variableValues as VariableValues // graphql 17
  return 'coerced' in values ? { coerced: values.coerced as VariableValues['coerced'], sources: {} } : null // graphql 16
}

export function areVariablesValid(args: ExecutionArgs): boolean {
  const operation = operationIn(args)
  return operation !== undefined && coercedVariables(args, operation) !== null
}

/** The text as the client sent it, where the parser kept it. */
export function sourceOf(document: DocumentNode): string {
  return document.loc?.source.body ?? print(document)
}

/** The operation's name, where the document has no other. */
export function onlyOperationName(document: DocumentNode): string | null {
  const names = document.definitions.flatMap((node) =>
    node.kind === Kind.OPERATION_DEFINITION ? [node.name?.value ?? null] : [],
  )
  return names.length === 1 ? (names[0] ?? null) : null
}

const INCREMENTAL = new Set(['defer', 'stream'])

export function withoutIncrementalDelivery(document: DocumentNode): DocumentNode {
  return visit(document, {
    [Kind.DIRECTIVE]: (node) => (INCREMENTAL.has(node.name.value) ? null : undefined),
  })
}

/** The root fields of the operation: response keys, in their order, with the nodes that select each. */
export function rootSelections(args: ExecutionArgs): Map<string, FieldNode[]> {
  const whole = { ...args, document: withoutIncrementalDelivery(args.document) } // fields of deferred fragments, too
  const operation = operationIn(whole)
  const type = operation && args.schema.getRootType(operation.operation)
  const variables = operation && coercedVariables(args, operation)
  if (!type || !variables) return new Map()
  return collectFields(args.schema, fragmentsOf(whole.document), variables, type, operation.selectionSet).fields
}

/** The response keys of the operation's root fields that have a resolver to wait for. */
export function rootKeys(args: ExecutionArgs): string[] {
  return [...rootSelections(args)].filter(([, nodes]) => nodes[0]?.name.value !== '__typename').map(([key]) => key)
}

/** The document with one root field only, and what that needs of variables and fragments. */
export function cutToField({ document, operationName }: Named, nodes: readonly FieldNode[]): DocumentNode {
  const operation = operationIn({ document, operationName })
  if (!operation) return document
  const cut: OperationDefinitionNode = { ...operation, selectionSet: { ...operation.selectionSet, selections: nodes } }
  const fragments = fragmentsOf(document)
  const used = new Set<string>()
  const variables = new Set<string>()
  const collect = (node: FragmentDefinitionNode | OperationDefinitionNode): void => {
    visit(node, {
      [Kind.VARIABLE_DEFINITION]: () => false,
      [Kind.VARIABLE]: (variable) => void variables.add(variable.name.value),
      [Kind.FRAGMENT_SPREAD]: (spread) => {
        const name = spread.name.value
        const fragment = fragments[name]
        if (!fragment || used.has(name)) return
        used.add(name)
        collect(fragment)
      },
    })
  }
  collect(cut)
  return {
    ...document,
    definitions: [
      {
        ...cut,
        variableDefinitions: (operation.variableDefinitions ?? []).filter((d) => variables.has(d.variable.name.value)),
      },
      ...[...used].flatMap((name) => fragments[name] ?? []),
    ],
  }
}

/** Without a prototype: clients choose the names. */
function fragmentsOf(document: DocumentNode): Record<string, FragmentDefinitionNode> {
  const fragments = Object.create(null) as Record<string, FragmentDefinitionNode>
  for (const node of document.definitions) if (node.kind === Kind.FRAGMENT_DEFINITION) fragments[node.name.value] = node
  return fragments
}
