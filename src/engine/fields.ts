import { defaultFieldResolver } from 'graphql'
import type { GraphQLFieldResolver, GraphQLResolveInfo } from 'graphql'
import { fieldById, isNested } from '../core/keys.ts'
import type { FieldPolicy } from '../core/policy.ts'
import { adopt, listsOf } from './adopted.ts'
import { operationOf } from './bound-context.ts'
import { CursorSurroundings, enclosingScope, FieldSurroundings, moveCursor, scopeAt } from './cursor.ts'
import type { Cursor } from './cursor.ts'
import { handOut, keep, takeKept, Thrown } from './field-promises.ts'
import type { FieldCall } from './field-promises.ts'
import { never } from './never.ts'
import type { Operation } from './operation.ts'
import { isThenable, pathOf } from './paths.ts'
import { shadowSignal } from './request-signal.ts'
import { Scope, surroundings } from './scope.ts'
import { toolCalls } from './tool-promises.ts'

type Resolver = GraphQLFieldResolver<unknown, unknown>
/** What a field without a resolver does: what the executor was given for it, which a wrapped field does not see. */
export const resolveByDefault: Resolver = (source, args, context, info) =>
  (operationOf(context)?.fieldResolver ?? defaultFieldResolver)(source, args, context, info)

/**
 * In place of graphql's default resolver: methods of a source object get `step` as well, and what its properties hold
 * is taken once and known to be pending, as what resolvers return is.
 */
export const durableFieldResolver: Resolver = (source, args, context, info) => {
  if ((typeof source !== 'object' || source === null) && typeof source !== 'function') return undefined
  if (somePropertiesAreKept) {
    // Before it is read: a getter may begin something.
    const operation = operationOf(context)
    const kept = operation?.keepsProperties && takeKeptHere(operation, source, info)
    if (kept) return handOut({ ...kept.call, lists: listsOf(info.returnType) }, kept.value)
  }
  const { made } = toolCalls
  const property: unknown = Reflect.get(source, info.fieldName)
  if (typeof property === 'function') return callMethod(source, args, context, info)
  if (typeof property !== 'object' || property === null) return property
  const lists = listsOf(info.returnType)
  // A getter that has called a tool is not read again.
  if (lists > 0 || isThenable(property) || toolCalls.made !== made) {
    const operation = operationOf(context)
    if (!operation || isLeftAlone(operation, info)) return property
    const value = adopt(property, lists)
    if (value !== property || isThenable(value) || toolCalls.made !== made) {
      return keepProperty({ operation, key: operation.labels.keyOf(info, source), info, scope: null, lists }, value)
    }
  }
  // An item's identity has to be known before the fields below it are.
  if (typeof info.path.prev?.key === 'number') operationOf(context)?.labels.note(info, source)
  return property
}

/** Of any operation of this process so far: most have none, and look nowhere (I8). */
let somePropertiesAreKept = false

function keepProperty(field: FieldCall & { readonly operation: Operation }, value: unknown): unknown {
  const { operation, key, scope } = field
  somePropertiesAreKept = true
  operation.keepsProperties = true
  operation.kept.set(key, { value, scope })
  return handOut(field, value)
}

const callMethod = bindField(defaultFieldResolver, null)

const bound = new WeakMap<Resolver, Resolver>()

/** The server's own default resolver, which is called for what it resolves as `durableFieldResolver` would be. */
export function bindFieldResolver(given: Resolver): Resolver {
  if (given === durableFieldResolver || given === defaultFieldResolver) return durableFieldResolver
  const known = bound.get(given) ?? bindField(given, null)
  bound.set(given, known)
  return known
}

/** Fields that run as if there were no operation: of one that is over, and of executions that are none of its own. */
function isLeftAlone(operation: Operation, info: GraphQLResolveInfo): boolean {
  return (operation.phase === 'over' && !operation.run) || operation.isAbandoned || operation.executions.isForeign(info)
}

/** Root fields and `@durable` fields: they have a scope from the start, and their promises are kept. */
export function enterField(
  resolver: Resolver,
  policy: FieldPolicy | null,
  isMutationRoot: boolean,
  lists: number,
): Resolver {
  return (source, args, context, info) => {
    const operation = operationOf(context)
    if (!operation || info.operation.operation === 'subscription') return resolver(source, args, context, info)
    if (operation.isAbandoned) return leaveOut(operation, info)
    if (operation.phase === 'over' && !operation.run) return resolver(source, args, context, info)
    const key = fieldKeyOf(operation, info, source, policy)
    if (key === null) return resolver(source, args, context, info)
    const around = isNested(key) ? (surroundings.getStore()?.scope.policy ?? null) : null
    const inForce = operation.policies.enter(info.path, policy, around)
    if (isMutationRoot && !isNested(key)) assertMayBegin(operation, info)
    const kept = takeKept(operation, key)
    if (kept) return handOut({ operation, key, info, scope: kept.scope, lists }, kept.value)
    const scope = new Scope(key, pathOf(info), inForce)
    operation.run?.pump.openTurn()
    const within = new FieldSurroundings(operation, scope)
    // It may be executed within the synchronous part of another's resolver.
    const outer = moveCursor(null)
    try {
      const value = keep(operation, key, scope, () =>
        surroundings.run(within, () => adopt(resolver(source, args, context, shadowSignal(info, operation)), lists)),
      )
      return handOut({ operation, key, info, scope, lists }, value)
    } finally {
      moveCursor(outer)
    }
  }
}

/**
 * Every other resolver: nothing is entered, unless it lies below a `@durable` field, and what it returns is kept only
 * where it matters.
 *
 * @param fieldLists null where the resolver serves many fields, which it finds on the source: what it gives is the
 * source's own, and begun by whoever made that.
 */
export function bindField(resolver: Resolver, fieldLists: number | null): Resolver {
  const isOfSource = fieldLists === null
  return (source, args, context, info) => {
    const operation = operationOf(context)
    if (operation?.isAbandoned) return leaveOut(operation, info)
    if (!operation || isLeftAlone(operation, info)) return resolver(source, args, context, info)
    const lists = fieldLists ?? listsOf(info.returnType)
    if (operation.kept.size > 0 && operation.run) {
      const kept = takeKeptHere(operation, source, info)
      if (kept) return handOut({ ...kept.call, lists }, kept.value)
    }
    const here: Cursor = { operation, source, info, scope: null, step: null }
    const within = operation.policies.above(info.path) && new CursorSurroundings(here)
    const { made } = toolCalls
    const outer = moveCursor(here)
    let given: unknown
    let value: unknown
    try {
      given = within
        ? surroundings.run(within, resolver, source, args, context, shadowSignal(info, operation))
        : resolver(source, args, context, shadowSignal(info, operation))
      value = adopt(given, lists)
      // What calls a tool later has to belong to a field that is known to be pending.
      if (within && isThenable(value)) scopeAt(here)
    } catch (error) {
      // It has called a tool: the next pass must not call it again.
      if (here.scope) operation.kept.set(here.scope.key, { value: new Thrown(error), scope: here.scope })
      throw error
    } finally {
      moveCursor(outer)
    }
    const { scope } = here
    if (value === given && !scope && !isThenable(value) && !mayHoldMore(operation, value, made)) {
      if (typeof value === 'object' && value !== null && typeof info.path.prev?.key === 'number') {
        operation.labels.note(info, source)
      }
      return value
    }
    if (!scope && !operation.run && !operation.stepTaken && !isOfSource) {
      // It can be waiting for no tool. Adopted by a later pass, should there be one.
      operation.resultsBeforeRun.add(info, source, value)
      return value
    }
    const key = scope?.key ?? operation.labels.keyOf(info, source)
    const field = { operation, key, info, scope, lists }
    if (isOfSource) return keepProperty(field, value)
    operation.kept.set(key, { value, scope })
    return handOut(field, value)
  }
}

/**
 * Whether a value that is no promise is to be kept: its resolver has called a tool of a field around it, or what it
 * gave may hold what will. Called again by the next pass, it would call those tools again.
 */
function mayHoldMore(operation: Operation, value: unknown, callsBefore: number): boolean {
  if (!operation.stepTaken && !operation.run) return false
  return (typeof value === 'object' && value !== null) || toolCalls.made !== callsBefore
}

function takeKeptHere(
  operation: Operation,
  source: unknown,
  info: GraphQLResolveInfo,
): { readonly call: Omit<FieldCall, 'lists'>; readonly value: unknown } | null {
  const key = operation.labels.keyOf(info, source)
  const kept = takeKept(operation, key)
  return kept && { call: { operation, key, info, scope: kept.scope }, value: kept.value }
}

/**
 * The run is over for this process: a resolver that the executor comes to now is not called (I12). An open request gets
 * an entry for it; nobody waits for a background pass.
 */
function leaveOut(operation: Operation, info: GraphQLResolveInfo): Promise<never> {
  if (operation.phase === 'foreground') throw operation.deferral(pathOf(info))
  return never()
}

/** After the switch, root fields of a mutation are not begun in the foreground: they have to follow the deferred one. */
function assertMayBegin(operation: Operation, info: GraphQLResolveInfo): void {
  if (operation.phase === 'foreground') {
    operation.begun.add(String(info.path.key))
    operation.foregroundVariables = info.variableValues
    if (operation.deferring) throw operation.deferral(pathOf(info))
  } else if (operation.foregroundVariables === info.variableValues) {
    throw operation.deferral(pathOf(info))
  }
}

/** Null where the field belongs to an execution that is none of the operation's. */
function fieldKeyOf(
  operation: Operation,
  info: GraphQLResolveInfo,
  source: unknown,
  policy: FieldPolicy | null,
): string | null {
  const isOwn = info.path.prev ? !operation.executions.isForeign(info) : operation.executions.claim(info)
  if (!isOwn) {
    // An execution within a resolver (stitching, `delegateToSchema`) uses the same paths again.
    const enclosing = info.path.prev ? null : operation.executions.enclosing(info, () => enclosingScope(operation))
    if (!enclosing) return null
    operation.labels.rename(info, enclosing.nestedKey(String(info.path.key)))
  } else if (policy?.id !== undefined && isUnaliased(info)) {
    operation.labels.rename(info, fieldById(policy.id))
  }
  return operation.labels.keyOf(info, source)
}

/** Aliases tell two uses of one field apart; `@durable(id:)` does not. */
function isUnaliased(info: GraphQLResolveInfo): boolean {
  return info.path.key === info.fieldName
}
