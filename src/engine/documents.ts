import { getVariableValues, Kind, print, visit } from 'graphql'
import type {
  DocumentNode,
  ExecutionArgs,
  FieldNode,
  FragmentDefinitionNode,
  NamedTypeNode,
  OperationDefinitionNode,
  SelectionNode,
  SelectionSetNode,
} from 'graphql'

type Named = Pick<ExecutionArgs, 'document' | 'operationName'>

/** The operation that is executed; undefined where the executor will say that there is none. */
export function operationIn({ document, operationName }: Named): OperationDefinitionNode | undefined {
  return document.definitions.find(
    (node): node is OperationDefinitionNode =>
      node.kind === Kind.OPERATION_DEFINITION && (!operationName || node.name?.value === operationName),
  )
}

export function areVariablesValid(args: ExecutionArgs): boolean {
  const definitions = operationIn(args)?.variableDefinitions ?? []
  return getVariableValues(args.schema, definitions, args.variableValues ?? {}).errors === undefined
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
  const operation = operationIn(args)
  const type = operation && args.schema.getRootType(operation.operation)
  if (!operation || !type) return new Map()
  const typeNames = new Set([type.name, ...type.getInterfaces().map((each) => each.name)])
  return collectRootFields(operation, fragmentsOf(args.document), typeNames, args.variableValues ?? {})
}

/** The response keys of the operation's root fields that have a resolver to wait for. */
export function rootKeys(args: ExecutionArgs): string[] {
  return [...rootSelections(args)].filter(([, nodes]) => nodes[0]?.name.value !== '__typename').map(([key]) => key)
}

/** The specification's CollectFields (6.3.2), for the root of an operation. */
function collectRootFields(
  operation: OperationDefinitionNode,
  fragments: Readonly<Record<string, FragmentDefinitionNode>>,
  typeNames: ReadonlySet<string>,
  variables: Readonly<Record<string, unknown>>,
): Map<string, FieldNode[]> {
  const fields = new Map<string, FieldNode[]>()
  const visited = new Set<string>()
  const isTrue = (name: 'skip' | 'include', node: SelectionNode): boolean | undefined => {
    const value = node.directives?.find((directive) => directive.name.value === name)?.arguments?.[0]?.value
    if (value?.kind === Kind.BOOLEAN) return value.value
    if (value?.kind !== Kind.VARIABLE) return undefined
    const variable = value.name.value
    if (variable in variables) return variables[variable] === true
    const fallback = operation.variableDefinitions?.find((d) => d.variable.name.value === variable)?.defaultValue
    return fallback?.kind === Kind.BOOLEAN && fallback.value
  }
  const applies = (condition: NamedTypeNode | undefined): boolean => !condition || typeNames.has(condition.name.value)
  const collect = ({ selections }: SelectionSetNode): void => {
    for (const node of selections) {
      if (isTrue('skip', node) === true || isTrue('include', node) === false) continue
      if (node.kind === Kind.FIELD) {
        const key = node.alias?.value ?? node.name.value
        fields.set(key, [...(fields.get(key) ?? []), node])
      } else if (node.kind === Kind.INLINE_FRAGMENT) {
        if (applies(node.typeCondition)) collect(node.selectionSet)
      } else if (!visited.has(node.name.value)) {
        visited.add(node.name.value)
        const fragment = fragments[node.name.value]
        if (fragment && applies(fragment.typeCondition)) collect(fragment.selectionSet)
      }
    }
  }
  collect(operation.selectionSet)
  return fields
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

function fragmentsOf(document: DocumentNode): Record<string, FragmentDefinitionNode> {
  return Object.fromEntries(
    document.definitions.flatMap((node) => (node.kind === Kind.FRAGMENT_DEFINITION ? [[node.name.value, node]] : [])),
  )
}
