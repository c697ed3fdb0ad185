import { isAsyncIterable } from '@graphql-tools/utils'
import { GraphQLError, Kind, visit } from 'graphql'
import type {
  DocumentNode,
  ExecutionArgs,
  ExecutionResult,
  FieldNode,
  FragmentDefinitionNode,
  NamedTypeNode,
  OperationDefinitionNode,
  SelectionNode,
  SelectionSetNode,
} from 'graphql'
import { decode, encode, encodeThrown } from '../core/codec.ts'
import { fieldById, fieldKey, isWithin } from '../core/keys.ts'
import type { FieldPolicy } from '../core/policy.ts'
import type { OutcomeRecord } from '../store/store.ts'
import { withoutIncrementalDelivery } from './execute.ts'
import type { Execute } from './execute.ts'
import type { Execution } from './execution.ts'
import { POLICY } from './fields.ts'
import type { Operation } from './operation.ts'

/** A root field of a mutation: its response key, its scope and the nodes that select it. */
interface RootField {
  readonly responseKey: string
  readonly scopeKey: string
  readonly nodes: readonly FieldNode[]
}

/**
 * The root fields of a mutation that is executed field by field: one that has several, with a `@durable` one among
 * them. Null for everything else, which is executed whole, as it came.
 */
export function rootFieldsOf(args: ExecutionArgs): readonly RootField[] | null {
  const { schema, document } = args
  const operation = operationIn(args)
  const type = schema.getMutationType()
  if (operation?.operation !== 'mutation' || !type) return null
  const definitions = type.getFields()
  const policyOf = (name: string): FieldPolicy | undefined =>
    definitions[name]?.extensions[POLICY] as FieldPolicy | undefined // written by wrapResolvers
  if (!Object.keys(definitions).some(policyOf)) return null
  const typeNames = new Set([type.name, ...type.getInterfaces().map((each) => each.name)])
  const fields = collectRootFields(operation, fragmentsOf(document), typeNames, args.variableValues ?? {})
  const selected = [...fields].map(([responseKey, nodes]): RootField & { durable: boolean } => {
    const name = nodes[0]?.name.value ?? responseKey
    const policy = policyOf(name)
    const id = name === responseKey ? policy?.id : undefined
    return { responseKey, nodes, scopeKey: id === undefined ? responseKey : fieldById(id), durable: Boolean(policy) }
  })
  return selected.length > 1 && selected.some((field) => field.durable) ? selected : null
}

/** Whether an idempotency key applies: to every mutation, and to queries with a `@durable` root field. */
export function mayBeKeyed(args: ExecutionArgs): boolean {
  const operation = operationIn(args)
  if (operation?.operation !== 'query') return operation?.operation === 'mutation'
  const fields = args.schema.getQueryType()?.getFields() ?? {}
  return operation.selectionSet.selections.some(
    (node) => node.kind === Kind.FIELD && fields[node.name.value]?.extensions[POLICY] !== undefined,
  )
}

/** The response keys of a mutation's root fields, in their order. None for a query. */
export function mutationKeysOf(args: ExecutionArgs): string[] {
  const operation = operationIn(args)
  const type = args.schema.getMutationType()
  if (operation?.operation !== 'mutation' || !type) return []
  const typeNames = new Set([type.name, ...type.getInterfaces().map((each) => each.name)])
  const fields = collectRootFields(operation, fragmentsOf(args.document), typeNames, args.variableValues ?? {})
  return [...fields].filter(([, nodes]) => nodes[0]?.name.value !== '__typename').map(([key]) => key)
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

export function operationIn({
  document,
  operationName,
}: Pick<ExecutionArgs, 'document' | 'operationName'>): OperationDefinitionNode | undefined {
  return document.definitions.find(
    (node): node is OperationDefinitionNode =>
      node.kind === Kind.OPERATION_DEFINITION && (!operationName || node.name?.value === operationName),
  )
}

/**
 * Executes root fields one after the other, each as an operation of its own, so that one that has finished and is
 * committed is not executed again by a resume (I10). The next field starts once the response of the previous one is
 * committed, or, where there is no run yet, has been put by for the run's first commit.
 */
export async function executeFieldByField(
  operation: Operation,
  args: ExecutionArgs,
  fields: readonly RootField[],
  execute: Execute,
): Promise<ExecutionResult> {
  const data: Record<string, unknown> = {}
  const errors: GraphQLError[] = []
  let extensions: Record<string, unknown> | undefined
  for (const field of fields) {
    const result = await executeField(operation, args, field, execute)
    errors.push(...(result.errors ?? []))
    if (result.extensions) extensions = { ...extensions, ...result.extensions }
    // A non-null root field that failed: nothing after it is executed (specification, 6.4.4).
    if (!result.data) return { errors, data: null, ...(extensions && { extensions }) }
    data[field.responseKey] = result.data[field.responseKey]
  }
  return { ...(errors.length > 0 && { errors }), data, ...(extensions && { extensions }) }
}

async function executeField(
  operation: Operation,
  args: ExecutionArgs,
  field: RootField,
  execute: Execute,
): Promise<ExecutionResult> {
  const finished = operation.finished.get(field.scopeKey)
  if (finished) return finished
  const document = cutDocument(withoutIncrementalDelivery(args.document), args.operationName, field)
  const deferredBefore = operation.deferred.length
  const result = await execute({ ...args, document })
  if (isAsyncIterable(result)) throw new TypeError('Expected a whole result, but the executor answered in parts.')
  // Deferred: the background pass will know how it ends.
  if (operation.deferred.length === deferredBefore) await finish(operation, field, result)
  return result
}

async function finish(operation: Operation, field: RootField, result: ExecutionResult): Promise<void> {
  operation.finished.set(field.scopeKey, result)
  const outcome = {
    key: fieldKey(field.scopeKey),
    kind: 'FIELD' as const,
    ...encodeResponse(result),
    attempts: 1,
    eventId: null,
    startedAt: operation.engine.clock.now(),
  }
  const { run } = operation
  if (!run) {
    operation.carried.push(outcome)
    return
  }
  await new Promise<void>((resolve) => {
    run.whenLive(() => {
      run.commitOutcome(outcome, 0)
      void run.committed().then(resolve)
    })
  })
}

/** For a cold resume: the root fields that the journal has, whose outcomes nobody will ask for. */
export function restoreFinished(operation: Operation, execution: Execution, journal: readonly OutcomeRecord[]): void {
  for (const outcome of journal) {
    if (outcome.kind !== 'FIELD') continue
    const scopeKey = outcome.key.slice(0, -1)
    operation.finished.set(scopeKey, decodeResponse(outcome))
    execution.pump.skip((key) => isWithin(key, scopeKey))
  }
}

// ---- The response of one field, journaled

interface ErrorRecord {
  readonly message: string
  readonly path: readonly (string | number)[] | undefined
  readonly extensions: Record<string, unknown>
  readonly positions: readonly number[] | undefined
  readonly source: string | undefined
  /** What the resolver threw: masking decides by it. */
  readonly thrown: string | null
}

function encodeResponse(result: ExecutionResult): { ok: boolean; body: string } {
  const response = { data: result.data ?? null, errors: result.errors?.map(recordError), extensions: result.extensions }
  try {
    return { ok: true, body: encodeAsSent(response) }
  } catch (error) {
    return { ok: false, body: encodeThrown(error) }
  }
}

/** Scalars may give objects that only say by `toJSON` what they are: of those the client gets no more than JSON either. */
function encodeAsSent(response: unknown): string {
  try {
    return encode(response, 'the response')
  } catch {
    return encode(JSON.parse(JSON.stringify(response)), 'the response')
  }
}

function recordError(error: GraphQLError): ErrorRecord {
  return {
    message: error.message,
    path: error.path,
    extensions: { ...error.extensions },
    positions: error.positions,
    source: error.source?.body,
    thrown: error.originalError ? encodeThrown(error.originalError) : null,
  }
}

function decodeResponse(outcome: OutcomeRecord): ExecutionResult {
  const value = decode(outcome.body)
  if (!outcome.ok) return { data: null, errors: [value as GraphQLError] } // a DurableError that encodeResponse caught
  const { data, errors, extensions } = value as {
    data: Record<string, unknown> | null
    errors?: ErrorRecord[]
    extensions?: Record<string, unknown>
  } // written by encodeResponse
  return {
    data,
    ...(errors && { errors: errors.map(reviveError) }),
    ...(extensions && { extensions }),
  }
}

function reviveError(record: ErrorRecord): GraphQLError {
  const thrown = record.thrown === null ? null : decode(record.thrown)
  return new GraphQLError(record.message, {
    ...(record.path && { path: record.path }),
    ...(record.positions && record.source !== undefined && {
      positions: record.positions,
      source: { body: record.source, name: 'GraphQL request', locationOffset: { line: 1, column: 1 } } as never,
    }),
    extensions: record.extensions,
    ...(thrown instanceof Error && { originalError: thrown }),
  })
}

// ---- Cutting documents

function cutDocument(
  document: DocumentNode,
  operationName: string | null | undefined,
  field: RootField,
): DocumentNode {
  const operation = operationIn({ document, operationName })
  if (!operation) return document
  const cut: OperationDefinitionNode = { ...operation, selectionSet: { ...operation.selectionSet, selections: field.nodes } }
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
