import { isAsyncIterable } from '@graphql-tools/utils'
import type { ExecutionArgs, ExecutionResult, FieldNode, GraphQLError } from 'graphql'
import type { DurableError } from '../core/errors.ts'
import { fieldById, fieldKey, isWithin } from '../core/keys.ts'
import { bytesOf, fits, MAX_BYTES } from '../core/limits.ts'
import type { FieldPolicy } from '../core/policy.ts'
import { tooLarge } from '../core/refusals.ts'
import type { OutcomeRecord } from '../store/store.ts'
import { cutToField, operationIn, rootSelections, withoutIncrementalDelivery } from './documents.ts'
import type { Execution } from './execution.ts'
import { decodeResponse, encodeResponse } from './field-response.ts'
import { POLICY } from './field-policy.ts'
import { never } from './never.ts'
import type { Operation } from './operation.ts'
import type { Execute } from './pass.ts'

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
  const type = args.schema.getMutationType()
  if (operationIn(args)?.operation !== 'mutation' || !type) return null
  const definitions = type.getFields()
  const policyOf = (name: string): FieldPolicy | undefined =>
    definitions[name]?.extensions[POLICY] as FieldPolicy | undefined // written by wrapResolvers
  if (!Object.keys(definitions).some(policyOf)) return null
  const selected = [...rootSelections(args)].map(([responseKey, nodes]): RootField & { durable: boolean } => {
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
  return [...rootSelections(args).values()].some(
    ([node]) => node !== undefined && fields[node.name.value]?.extensions[POLICY] !== undefined,
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
  const data = Object.create(null) as Record<string, unknown> // a response key may be `__proto__`
  const errors: GraphQLError[] = []
  let extensions: Record<string, unknown> | undefined
  const { phase } = operation
  const oversized = fields.find(({ scopeKey }) => !fits(fieldKey(scopeKey), MAX_BYTES.key))
  if (oversized) return { errors: [tooLongAlias(oversized)] }
  for (const field of fields) {
    // The request was answered without waiting for this execution: a background pass goes on from here, and alone.
    if (operation.phase !== phase || operation.isAbandoned) return never()
    const result = await executeField(operation, args, field, execute)
    errors.push(...(result.errors ?? []))
    if (result.extensions) extensions = { ...extensions, ...result.extensions }
    // A non-null root field that failed: nothing after it is executed (specification, 6.4.4).
    if (!result.data) return { errors, data: null, ...(extensions && { extensions }) }
    data[field.responseKey] = result.data[field.responseKey]
  }
  return { ...(errors.length > 0 && { errors }), data, ...(extensions && { extensions }) }
}

/** Refused before anything runs: its response could not be kept. */
function tooLongAlias({ responseKey }: RootField): DurableError {
  const expected = `Expected aliases of at most ${MAX_BYTES.key} bytes`
  return tooLarge(`${expected}, but got one of ${bytesOf(responseKey)}. Make it shorter.`)
}

async function executeField(
  operation: Operation,
  args: ExecutionArgs,
  field: RootField,
  execute: Execute,
): Promise<ExecutionResult> {
  const finished = operation.finished.get(field.scopeKey)
  if (finished) return finished
  const document = withoutIncrementalDelivery(cutToField(args, field.nodes))
  const deferredBefore = operation.deferred.length
  operation.executions.expect()
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
    eventName: null,
    startedAt: operation.engine.clock.now(),
  }
  const { run } = operation
  if (!run) {
    operation.carried.push(outcome)
    return
  }
  const commit = (): Promise<void> =>
    new Promise((resolve) => {
      run.whenLive(() => {
        run.commitOutcome(outcome, null)
        void run.committed().then(resolve)
      })
    })
  if (!run.unfinished.isWithin(field.scopeKey)) return commit()
  // A resume calls its steps again, which nobody has awaited. The next field does not wait for them.
  run.unfinished.whenDone(field.scopeKey, () => void commit())
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
