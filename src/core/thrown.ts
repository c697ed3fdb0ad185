import { GraphQLError } from 'graphql'
import { namedClassOf, namedPrototype, noteClassOf, seenPrototype } from './error-classes.ts'
import { asSent } from './extensions.ts'
import { DurableError, ERROR_CODES, NonRetriableError, RetryAfterError, StepError } from './errors.ts'
import type { DurableErrorCode } from './errors.ts'
import { isObject } from './objects.ts'
import { placesAt } from './locations.ts'
import type { Location } from './locations.ts'
import { keptInit } from './response-init.ts'

/*
 * What is kept of something that was thrown, and what comes back of it. Of an Error: name, message, scalar properties of
 * its own, and the errors in it (`cause`, `originalError`, `errors`), by the same rule at every depth. Of anything else a
 * message: objects that are thrown are mostly responses and requests, credentials included.
 *
 * Whoever masks errors has to decide about what comes back as about what was thrown. So it is never more of a
 * GraphQLError than that was: what such an error wraps comes back with it, even where no more of that is kept than that
 * it was there.
 */

export interface ErrorData {
  readonly name: string
  readonly message: string
  /** The name of its class among the option `errorClasses`. */
  readonly named?: string
  /** The name of its own class, for processes that have seen it. */
  readonly seen?: string
  readonly props?: Readonly<Record<string, unknown>>
  readonly cause?: unknown
  readonly errors?: readonly unknown[]
  readonly code?: DurableErrorCode
  readonly retryable?: boolean
  readonly step?: { readonly id: string; readonly attempts: number }
  readonly after?: unknown
  readonly isDom?: true
  /** 'own': a GraphQLError of the graphql package that is used here; 'foreign': of another copy of it. */
  readonly graphql?: 'own' | 'foreign'
  readonly originalError?: unknown
  readonly path?: readonly (string | number)[]
  readonly locations?: readonly Location[]
  readonly extensions?: unknown
}

/** Deeper ones are dropped: chains that long come from loops. */
const MAX_DEPTH = 5
/** All errors within one. */
const MAX_INNER = 100

/** An error within another one, on its way into the text. */
export class Inner {
  readonly error: Error
  readonly depth: number
  readonly left: { count: number }

  constructor(error: Error, depth: number, left: { count: number }) {
    this.error = error
    this.depth = depth
    this.left = left
  }
}

const FOREIGN = new Set(['[object Error]', '[object GraphQLError]'])

/** Also errors of another realm (`node:vm`, Jest). */
export function isError(value: unknown): value is Error {
  return value instanceof Error || FOREIGN.has(Object.prototype.toString.call(value))
}

/** Also those of another copy of the graphql package. */
export function isGraphQLError(error: unknown): error is GraphQLError {
  try {
    return error instanceof GraphQLError || isForeignGraphQLError(error)
  } catch {
    return false // an object that throws when it is looked at
  }
}

function isForeignGraphQLError(error: unknown): boolean {
  return (
    isError(error) &&
    (error.name === 'GraphQLError' || Object.prototype.toString.call(error) === '[object GraphQLError]')
  )
}

/** Longer chains come from loops. */
const MAX_ORIGINALS = 20

/** Made for clients, all the way down: a GraphQLError that wraps an internal error is as internal as that. */
export function isForClients(error: unknown): error is GraphQLError {
  let at = error
  for (let depth = 0; depth < MAX_ORIGINALS && at instanceof GraphQLError; depth++) {
    if (!isGiven(at.originalError)) return true
    at = at.originalError
  }
  return false
}

/** What was thrown, as it may be kept: an error, or a value that is as good as its message. */
export function keptThrown(thrown: unknown): unknown {
  try {
    return isError(thrown) || isScalar(thrown) ? thrown : new Error(messageOfOther(thrown))
  } catch {
    return new Error('An object that throws when it is looked at was thrown.')
  }
}

function asError(thrown: unknown): Error {
  const kept = keptThrown(thrown)
  return isError(kept) ? kept : new Error(String(kept))
}

function messageOfOther(thrown: unknown): string {
  const message = typeof thrown === 'object' && thrown !== null ? read(thrown, 'message') : undefined
  if (typeof message === 'string') return message
  const isPlain = typeof thrown === 'object' && Object.getPrototypeOf(thrown) === Object.prototype
  return `A value that is no error was thrown: ${isPlain ? 'an object' : describe(thrown)}.`
}

/** What a value is, in words that tell nothing of what it holds. */
export function describe(value: unknown): string {
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'symbol') return 'a symbol'
  if (typeof value !== 'object' || value === null) return `a value of type ${typeof value}`
  if ('then' in value && typeof value.then === 'function') return 'a promise'
  const name: unknown = value.constructor?.name
  return typeof name === 'string' && name !== 'Object' ? `an instance of ${name}` : 'an object that is not plain data'
}

/** @param extensions Gives of a GraphQLError's extensions what can be stored. */
export function errorData(
  error: Error,
  extensions: (given: object) => object | undefined,
  depth = 0,
  left = { count: MAX_INNER },
): ErrorData {
  const name = textOf(read(error, 'name'))
  const inner = (value: unknown): unknown => {
    if (typeof value === 'function' || typeof value === 'symbol') return undefined
    const kept = keptThrown(value)
    if (!isError(kept)) return kept
    return depth < MAX_DEPTH && left.count-- > 0 ? new Inner(kept, depth + 1, left) : undefined
  }
  const durable = error instanceof DurableError ? error : null
  const graphql = error instanceof GraphQLError ? 'own' : isForeignGraphQLError(error) ? 'foreign' : undefined
  const original = graphql && read(error, 'originalError')
  const cause = read(error, 'cause')
  const errors = read(error, 'errors')
  const named = namedClassOf(error)
  const seen = isKnownClass(error) ? undefined : noteClassOf(error)
  const isAggregate = Array.isArray(errors) && (error instanceof AggregateError || name === 'AggregateError')
  const props = propsOf(error, graphql !== undefined)
  const located = graphql && placesOf(error)
  const given = graphql && read(error, 'extensions')
  return {
    name,
    message: textOf(read(error, 'message')),
    ...(named !== undefined && { named }),
    ...(seen !== undefined && { seen }),
    ...(cause !== undefined && cause !== original && { cause: inner(cause) }),
    ...(isAggregate && { errors: errors.slice(0, MAX_INNER).map(inner) }),
    ...(durable && { code: durable.code }),
    ...(durable && durable.retryable !== ERROR_CODES[durable.code].retryable && { retryable: durable.retryable }),
    ...(error instanceof StepError && { step: { id: error.stepId, attempts: error.attempts } }),
    ...(error instanceof RetryAfterError && { after: error.after }),
    ...(error instanceof DOMException && { isDom: true }),
    ...(graphql && { graphql }),
    // Masking goes by whether there is one: it stays even where it is too deep to be kept, and where it is no error.
    ...(isGiven(original) && {
      originalError: inner(asError(original)) ?? new Inner(new Error('An error that is not kept.'), MAX_DEPTH, left),
    }),
    ...located,
    ...(typeof given === 'object' && given !== null && { extensions: extensions(keptExtensions(given)) }),
    ...(props && { props }),
  }
}

/** Getters may throw. */
function read(from: object, key: string): unknown {
  try {
    return Reflect.get(from, key)
  } catch {
    return undefined
  }
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : isScalar(value) ? String(value) : ''
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null
}

function isScalar(value: unknown): boolean {
  return value === null || ['undefined', 'string', 'number', 'boolean', 'bigint'].includes(typeof value)
}

const OWN_OF_ALL = new Set(['name', 'message', 'stack', 'cause', 'errors', '__proto__'])
const OWN_OF_OURS = new Set(['code', 'retryable', 'stepId', 'attempts', 'after'])
const OWN_OF_GRAPHQL = new Set(['path', 'locations', 'extensions', 'nodes', 'source', 'positions', 'originalError'])
/** What clients of HTTP and databases hang on their errors as text. */
const CREDENTIAL =
  /authori[sz]ation|auth$|^auth[-_]|bearer|jwt|cookie|session([-_]?id)?$|passw|passphrase|pwd|secret|token|credential|(api|private|access)[-_]?key/i
/** In an address: what Node says was no valid one is mostly a database's, with its password. */
const CREDENTIAL_IN_URL = /:\/\/[^/?#\s]*@/

/** Objects on an error are dropped: those of an HTTP client are its request, with the credentials in its headers. */
function propsOf(error: Error, isGraphQL: boolean): Record<string, unknown> | null {
  const isOurs = error instanceof DurableError || error instanceof RetryAfterError
  const entries = Object.keys(error).flatMap((key) => {
    if (OWN_OF_ALL.has(key) || CREDENTIAL.test(key)) return []
    if ((isOurs && OWN_OF_OURS.has(key)) || (isGraphQL && OWN_OF_GRAPHQL.has(key))) return []
    const value = read(error, key)
    if (typeof value === 'string' && CREDENTIAL_IN_URL.test(value)) return []
    return value !== undefined && (isScalar(value) || value instanceof Date) ? [[key, value] as const] : []
  })
  return entries.length > 0 ? Object.fromEntries(entries) : null
}

/** A thrown GraphQLError that has a path keeps it (it is another execution's), and one that has locations these. */
function placesOf(error: Error): Pick<ErrorData, 'path' | 'locations'> {
  const path = read(error, 'path')
  const locations = read(error, 'locations')
  return {
    ...(Array.isArray(path) && { path: path.filter((key) => typeof key === 'string' || typeof key === 'number') }),
    ...(Array.isArray(locations) && {
      locations: locations.map((at: Partial<Location> | null) => ({
        line: Number(at?.line),
        column: Number(at?.column),
      })),
    }),
  }
}

/**
 * Extensions as their client would get them. What they say of its response is kept as that of a stored response is: a
 * cookie in it is nobody else's.
 */
function keptExtensions(extensions: object): object {
  const sent = asSentIfAny(extensions)
  const http = read(extensions, 'http')
  if (typeof http !== 'object' || http === null) return sent
  const kept = keptInit(http)
  const spec = read(http, 'spec')
  return { ...sent, http: { ...kept, ...(typeof spec === 'boolean' && { spec }) } }
}

function asSentIfAny(extensions: object): object {
  try {
    return asSent(extensions)
  } catch {
    return {}
  }
}

const BUILT_IN = { Error, TypeError, RangeError, SyntaxError, ReferenceError, EvalError, URIError }

const KNOWN = new Set<unknown>(
  [...Object.values(BUILT_IN), AggregateError, DOMException, GraphQLError, DurableError, StepError].map(
    ({ prototype }): unknown => prototype,
  ),
)
KNOWN.add(NonRetriableError.prototype).add(RetryAfterError.prototype)

function isKnownClass(error: Error): boolean {
  return KNOWN.has(Object.getPrototypeOf(error))
}

/** @param bySight Whether it may have a class that this process has merely seen. */
export function reviveError(data: ErrorData, bySight: boolean): Error {
  const error = makeError(data)
  const prototype = prototypeOf(data, bySight)
  if (prototype) Object.setPrototypeOf(error, prototype)
  if (data.cause !== undefined && error.cause === undefined) define(error, 'cause', data.cause, false)
  // Defined, since a class may have a getter of that name.
  for (const [key, value] of Object.entries(data.props ?? {})) define(error, key, value, true)
  if (error.name !== data.name) define(error, 'name', data.name, false)
  // Where it was thrown is not kept, and where it was revived says nothing.
  define(error, 'stack', `${data.name}: ${data.message}`, false)
  return error
}

/** Of the same name is not enough: what was no GraphQLError must not become one, or its message would be shown. */
function prototypeOf(data: ErrorData, bySight: boolean): object | null {
  const prototype =
    (data.named === undefined ? null : namedPrototype(data.named)) ??
    (bySight && data.seen !== undefined ? seenPrototype(data.seen) : null)
  if (!prototype) return null
  const fits =
    prototype instanceof GraphQLError === (data.graphql === 'own') &&
    prototype instanceof DurableError === (data.code !== undefined)
  return fits ? prototype : null
}

function define(error: Error, key: string, value: unknown, enumerable: boolean): void {
  Object.defineProperty(error, key, { value, writable: true, configurable: true, enumerable })
}

function makeError(data: ErrorData): Error {
  if (data.step) return new StepError(data.step.id, data.step.attempts, data.cause, data.code)
  if (data.code) {
    return new DurableError(data.code, data.message, {
      cause: data.cause,
      ...(data.retryable !== undefined && { retryable: data.retryable }),
      ...(data.path && { path: data.path }),
      ...(isObject(data.extensions) && { extensions: data.extensions }),
    })
  }
  if (data.graphql === 'own') return makeGraphQLError(data)
  if (data.graphql === 'foreign') return makeForeign(data)
  if (data.name === 'NonRetriableError') return new NonRetriableError(data.message)
  // Written by errorData.
  if (data.after !== undefined) return new RetryAfterError(data.message, data.after as number | string | Date)
  if (data.errors) return new AggregateError(data.errors, data.message)
  if (data.isDom) return new DOMException(data.message, data.name)
  const Constructor = Object.hasOwn(BUILT_IN, data.name) ? BUILT_IN[data.name as keyof typeof BUILT_IN] : Error
  return new Constructor(data.message)
}

function makeGraphQLError({ message, path, locations, extensions, originalError }: ErrorData): GraphQLError {
  return new GraphQLError(message, {
    ...(path && { path }),
    ...(locations && placesAt(locations)),
    ...(isObject(extensions) && { extensions }),
    ...(isError(originalError) && { originalError }),
  })
}

/** No GraphQLError here, but what looks at names takes it for one, as it took the error that was thrown. */
function makeForeign({ message, path, locations, extensions, originalError }: ErrorData): Error {
  const error = new Error(message)
  const visible = {
    message,
    ...(locations && { locations }),
    ...(path && { path }),
    ...(isObject(extensions) && { extensions }),
  }
  for (const [key, value] of Object.entries(visible)) define(error, key, value, key !== 'message')
  if (originalError !== undefined) define(error, 'originalError', originalError, false)
  define(error, 'toJSON', () => visible, false)
  return error
}
