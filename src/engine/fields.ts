import { mapSchema, MapperKind } from '@graphql-tools/utils'
import { defaultFieldResolver, isNonNullType } from 'graphql'
import type { GraphQLFieldConfig, GraphQLFieldResolver, GraphQLResolveInfo, GraphQLSchema } from 'graphql'
import { fieldById, isNested } from '../core/keys.ts'
import type { FieldPolicy } from '../core/policy.ts'
import { never } from './never.ts'
import { adopt, listsOf } from './adopted.ts'
import { toolCalls } from './call.ts'
import { handOut, keep, takeKept, Thrown } from './field-promises.ts'
import type { FieldCall } from './field-promises.ts'
import type { Operation } from './operation.ts'
import { isThenable, pathOf } from './paths.ts'
import { unmarkResumed } from './resume-info.ts'
import { ambientStep, Scope, surroundings } from './scope.ts'
import type { Surroundings } from './scope.ts'
import type { Step } from '../types.ts'
import { createStep } from './tools.ts'

type Resolver = GraphQLFieldResolver<unknown, unknown>
/** Where the operation hangs on the context. A string key would show up when contexts are spread or logged. */
const OPERATION = Symbol('graphql-durable.operation')

interface BoundContext {
  [OPERATION]?: Operation
}

export function operationOf(context: unknown): Operation | undefined {
  return typeof context === 'object' && context !== null ? (context as BoundContext)[OPERATION] : undefined
}

/**
 * Puts the operation and `step` on the context. Where the context serves another operation that is still going on, or
 * cannot be extended, the answer is a new object that inherits from it.
 */
export function bindContext(context: unknown, operation: Operation): object {
  const given = typeof context === 'object' && context !== null ? context : {}
  const other = operationOf(given)
  const taken = other !== undefined && other !== operation && other.phase !== 'over'
  operation.isInner = taken && surroundings.getStore() !== undefined
  const target: object = taken || !Object.isExtensible(given) ? Object.create(given) : given
  if (target === given && operation.phase === 'foreground') unmarkResumed(given)
  Object.defineProperty(target, OPERATION, { value: operation, configurable: true, writable: true, enumerable: false })
  Object.defineProperty(target, 'step', { get: currentStep, configurable: true, enumerable: true })
  return target
}

/**
 * The resolver that is running synchronously right now. Entering an AsyncLocalStorage for each trivial resolver costs
 * a third of a server's throughput, so that is kept for root and `@durable` fields; everywhere else this cursor binds
 * `{ step }` in the parameters.
 */
interface Cursor {
  readonly operation: Operation
  readonly source: unknown
  readonly info: GraphQLResolveInfo
  scope: Scope | null
  step: Step | null
}
let cursor: Cursor | null = null

/** Without a cursor the tools find their field when they are called. */
function currentStep(): Step {
  return cursor ? stepAt(cursor) : (surroundings.getStore()?.step ?? ambientStep)
}

function stepAt(at: Cursor): Step {
  at.operation.stepTaken = true
  return (at.step ??= createStep(at.operation, scopeAt(at)))
}

function scopeAt(at: Cursor): Scope {
  if (at.scope) return at.scope
  const { operation, info, source } = at
  at.scope = new Scope(operation.labels.keyOf(info, source), pathOf(info), operation.policies.above(info.path))
  // Not for what a resolver that has returned does later: nothing records when that comes.
  if (cursor === at) operation.run?.pump.openTurn()
  return at.scope
}

/** For an operation that a resolver or a step begins: it is none of that field's, and neither are its tools. */
export function outsideOfFields<T>(run: () => T): T {
  const outer = cursor
  cursor = null
  try {
    return surroundings.getStore() ? surroundings.exit(run) : run()
  } finally {
    cursor = outer
  }
}

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

/** String keys survive other plugins' copies of a schema. */
export const POLICY = 'graphql-durable/policy'

/** What a field without a resolver does: what the executor was given for it, which a wrapped field does not see. */
const resolveByDefault: Resolver = (source, args, context, info) =>
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
function enterField(resolver: Resolver, policy: FieldPolicy | null, isMutationRoot: boolean, lists: number): Resolver {
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
    const outer = cursor
    cursor = null
    try {
      const value = keep(operation, key, scope, () =>
        surroundings.run(within, () => adopt(resolver(source, args, context, shadowSignal(info, operation)), lists)),
      )
      return handOut({ operation, key, info, scope, lists }, value)
    } finally {
      cursor = outer
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
function bindField(resolver: Resolver, fieldLists: number | null): Resolver {
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
    const outer = cursor
    const here: Cursor = { operation, source, info, scope: null, step: null }
    const within = operation.policies.above(info.path) && new CursorSurroundings(here)
    const { made } = toolCalls
    cursor = here
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
      cursor = outer
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
      operation.early.push(info, source, value)
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

/** Of a field that has a scope from the start. Its tools are made for whoever asks (I8). */
class FieldSurroundings implements Surroundings {
  readonly scope: Scope
  readonly host: Operation
  readonly insideStep = null
  #step: Step | null = null

  constructor(host: Operation, scope: Scope) {
    this.host = host
    this.scope = scope
  }

  get step(): Step {
    this.host.stepTaken = true
    return (this.#step ??= createStep(this.host, this.scope))
  }
}

/** Of any other field below a `@durable` one: its scope is made when somebody asks for it. */
class CursorSurroundings implements Surroundings {
  readonly insideStep = null
  readonly #at: Cursor

  constructor(at: Cursor) {
    this.#at = at
  }

  get host(): Operation {
    return this.#at.operation
  }

  get scope(): Scope {
    return scopeAt(this.#at)
  }

  get step(): Step {
    return stepAt(this.#at)
  }
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

/** The field in whose resolver an execution begins. A step's `fn` is no place for steps, and others cannot be told. */
function enclosingScope(operation: Operation): Scope | null {
  const around = surroundings.getStore()
  if (around) return around.host === operation ? around.scope : null
  return cursor?.operation === operation ? scopeAt(cursor) : null
}

/** Aliases tell two uses of one field apart; `@durable(id:)` does not. */
function isUnaliased(info: GraphQLResolveInfo): boolean {
  return info.path.key === info.fieldName
}

/** What executors add to `info`: graphql-tools' both, of one signal or none, graphql 17 the function. */
interface SignalBearer {
  signal?: AbortSignal | null | undefined
  getAbortSignal?: () => AbortSignal | undefined
}

/**
 * The request's abort signal does not reach a run: `info` gets one that follows the request's for as long as the
 * operation has used no step, and no further. Resolvers take it before their first step, so a getter would be too late.
 * Written to `info` itself, which belongs to this call: an object that inherits from it costs more than most resolvers.
 */
function shadowSignal(info: GraphQLResolveInfo, operation: Operation): GraphQLResolveInfo {
  const bearer = info as SignalBearer
  const given = bearer.signal
  if (given) {
    const shadow = operation.signals.of(given)
    bearer.signal = shadow.signal
    if (bearer.getAbortSignal) bearer.getAbortSignal = shadow.getSignal
  } else if (!('signal' in info)) {
    const getGiven = bearer.getAbortSignal
    if (!getGiven) return info
    const value = (): AbortSignal | undefined => {
      const signal = getGiven.call(info)
      return signal && operation.signals.of(signal).signal
    }
    Object.defineProperty(info, 'getAbortSignal', { value, enumerable: true, configurable: true, writable: true })
  }
  return info
}
