import { DevalueError, parse, stringify } from 'devalue'
import { GraphQLError } from 'graphql'
import { DurableError, NonRetriableError, RetryAfterError, StepError } from './errors.ts'
import type { DurableErrorCode } from './errors.ts'
import { isPlain } from './json.ts'

/**
 * How values become text and come back with their types (I11): what JSON has, and Date, Map, Set, BigInt, RegExp, URL,
 * undefined, NaN, −0, typed arrays, ArrayBuffer, Buffer, errors, and cycles among those.
 */

/** @throws DurableError DURABLE_NOT_SERIALIZABLE, naming the path to what cannot be kept. */
export function encode(value: unknown, what = 'value'): string {
  try {
    const body = stringify(value, reducers)
    // What devalue does not make itself cannot be part of a cycle, which shows only on the way back.
    if (body.includes('["Entries"')) decode(body)
    return body
  } catch (error) {
    const reason = whyNot(error)
    if (reason === null) throw error
    throw new DurableError(
      'DURABLE_NOT_SERIALIZABLE',
      `Expected ${what} to be data that can be stored, but ${reason}. Return plain data instead.`,
      { cause: error },
    )
  }
}

/** Null where the value has nothing to do with it: a getter of its own threw. */
function whyNot(error: unknown): string | null {
  if (error instanceof DevalueError) {
    return `at ${error.path === '' ? 'its root' : `"${error.path}"`} it has ${describe(error.value)}`
  }
  const message = error instanceof Error ? error.message : ''
  if (message.includes('call stack')) return 'it is nested too deeply'
  if (message.includes('string length')) return 'it is too large'
  return message === CYCLE ? 'it has a cycle through an object with a key "__proto__"' : null
}

/** What devalue says. */
const CYCLE = 'Invalid circular reference'

/** A value that `encode` made. Two calls share nothing. */
export function decode(body: string): unknown {
  return parse(body, revivers)
}

/** Never throws: an error's properties that have no representation are left out. */
export function encodeThrown(thrown: unknown): string {
  try {
    return stringify(thrown, reducers)
  } catch {
    return stringify(new Error(`A value that cannot be stored was thrown: ${tryToDescribe(thrown)}.`), reducers)
  }
}

function tryToDescribe(value: unknown): string {
  try {
    return describe(value)
  } catch {
    return 'an object that throws when it is looked at'
  }
}

function describe(value: unknown): string {
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'symbol') return 'a symbol'
  if (typeof value !== 'object' || value === null) return `a value of type ${typeof value}`
  if ('then' in value && typeof value.then === 'function') return 'a promise'
  const name: unknown = value.constructor?.name
  return typeof name === 'string' && name !== 'Object' ? `an instance of ${name}` : 'an object that is not plain data'
}

interface ErrorData {
  name: string
  message: string
  props?: Record<string, unknown>
  cause?: unknown
  errors?: unknown[]
  code?: DurableErrorCode
  step?: { id: string; attempts: number }
  after?: unknown
  extensions?: unknown
}

const reducers = {
  Error: (value: unknown) => value instanceof Error && errorData(value, 0),
  // A Buffer is a window into a pool that it shares with unrelated data: only its own bytes are kept.
  Buffer: (value: unknown) => Buffer.isBuffer(value) && [value.toString('base64')],
  View: (value: unknown) =>
    ArrayBuffer.isView(value) &&
    value.byteLength !== value.buffer.byteLength && [
      Object.prototype.toString.call(value).slice(8, -1),
      value.buffer.slice(value.byteOffset, value.byteOffset + value.byteLength),
    ],
  // JSON may have such a key of its own, which devalue does not take.
  Entries: (value: unknown) => hasProtoKey(value) && [Object.getPrototypeOf(value) === null, Object.entries(value)],
}

function hasProtoKey(value: unknown): value is object {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, '__proto__') && isPlain(value)
}

const revivers = {
  Error: (data: ErrorData) => reviveError(data),
  Buffer: ([base64]: [string]) => Buffer.from(base64, 'base64'),
  View: ([tag, buffer]: [string, ArrayBuffer]) => reviveView(tag, buffer),
  // `fromEntries` defines what it finds, where an assignment would set the prototype.
  Entries: ([isBare, entries]: [boolean, [string, unknown][]]) => {
    const object = Object.fromEntries(entries)
    return isBare ? Object.setPrototypeOf(object, null) : object
  },
}

function reviveView(tag: string, buffer: ArrayBuffer): unknown {
  const constructor: unknown = Reflect.get(globalThis, tag)
  // The tag was written by the reducer from a view's own Symbol.toStringTag.
  return new (constructor as new (buffer: ArrayBuffer) => unknown)(buffer)
}

/** Deeper causes are dropped: chains that long come from loops. */
const MAX_CAUSE_DEPTH = 5

/** Own properties that an error class defines itself, and the stack, which must not leave the process. */
const SKIPPED = new Set(
  'name message stack cause errors code retryable stepId attempts after extensions path locations nodes source positions originalError coordinate'.split(
    ' ',
  ),
)

function errorData(error: Error, depth: number): ErrorData {
  const data: ErrorData = { name: String(error.name), message: String(error.message) }
  const inner = (value: unknown): unknown =>
    value instanceof Error
      ? depth < MAX_CAUSE_DEPTH
        ? reviveError(errorData(value, depth + 1))
        : undefined
      : keepable(value)
  if (error.cause !== undefined) data.cause = inner(error.cause)
  if (error instanceof AggregateError) data.errors = error.errors.map(inner)
  if (error instanceof DurableError) data.code = error.code
  if (error instanceof StepError) data.step = { id: error.stepId, attempts: error.attempts }
  if (error instanceof RetryAfterError) data.after = error.after
  if (isGraphQLError(error)) data.extensions = keepable(error.extensions)
  const props = Object.entries(error)
    .filter(([key]) => !SKIPPED.has(key) || (key === 'code' && !data.code))
    .filter(([, value]) => isScalar(value))
  if (props.length > 0) data.props = Object.fromEntries(props)
  return data
}

/** Objects on an error are dropped: those of an HTTP client are its request, with the credentials in its headers. */
function isScalar(value: unknown): boolean {
  return value === null || ['string', 'number', 'boolean', 'bigint'].includes(typeof value) || value instanceof Date
}

function keepable(value: unknown): unknown {
  try {
    stringify(value, reducers)
    return value
  } catch {
    return undefined
  }
}

const BUILT_IN = { Error, TypeError, RangeError, SyntaxError, ReferenceError, EvalError, URIError }

function reviveError(data: ErrorData): Error {
  const error = makeError(data)
  if (data.cause !== undefined && error.cause === undefined) {
    Object.defineProperty(error, 'cause', { value: data.cause, writable: true, configurable: true, enumerable: false })
  }
  if (data.props) Object.assign(error, data.props)
  // Where it was thrown is not kept, and where it was revived says nothing.
  error.stack = `${data.name}: ${data.message}`
  return error
}

function makeError(data: ErrorData): Error {
  if (data.step) return new StepError(data.step.id, data.step.attempts, data.cause, data.code)
  if (data.code) {
    return new DurableError(data.code, data.message, {
      cause: data.cause,
      ...(isRecord(data.extensions) && { extensions: data.extensions }),
    })
  }
  if (data.name === 'GraphQLError') {
    return new GraphQLError(data.message, isRecord(data.extensions) ? { extensions: data.extensions } : {})
  }
  if (data.name === 'NonRetriableError') return new NonRetriableError(data.message)
  if (data.name === 'RetryAfterError') return new RetryAfterError(data.message, data.after as number | string | Date) // written by errorData
  if (data.errors) return new AggregateError(data.errors, data.message)
  if (data.name === 'AbortError' || data.name === 'TimeoutError') return new DOMException(data.message, data.name)
  const Constructor = Object.hasOwn(BUILT_IN, data.name) ? BUILT_IN[data.name as keyof typeof BUILT_IN] : Error
  const error = new Constructor(data.message)
  if (error.name !== data.name) {
    Object.defineProperty(error, 'name', { value: data.name, writable: true, configurable: true, enumerable: false })
  }
  return error
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

/** Also those of another copy of the graphql package. */
export function isGraphQLError(error: unknown): error is GraphQLError {
  try {
    return error instanceof GraphQLError || (error instanceof Error && error.name === 'GraphQLError')
  } catch {
    return false // an object that throws when it is looked at
  }
}
