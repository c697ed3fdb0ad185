import { DevalueError, parse, stringify } from 'devalue'
import { DurableError } from './errors.ts'
import { isObject, isPlain } from './objects.ts'
import { fromJsonText, toJsonText } from './plain-json.ts'
import { describe, errorData, Inner, isError, isForClients, isGraphQLError, keptThrown, reviveError } from './thrown.ts'
import type { ErrorData } from './thrown.ts'

export { isForClients, isGraphQLError }

/**
 * How values become text and come back with their types (I11): what JSON has, and Date, Map, Set, BigInt, RegExp, URL,
 * undefined, NaN, −0, typed arrays, ArrayBuffer, Buffer, errors, and cycles among those.
 */

/** @throws DurableError DURABLE_NOT_SERIALIZABLE, naming the path to what cannot be kept. */
export function encode(value: unknown, what = 'value'): string {
  try {
    return encodeWhole(value)
  } catch (error) {
    const reason = whyNot(error)
    if (reason === null) throw error
    throw new DurableError(
      'DURABLE_NOT_SERIALIZABLE',
      `Expected ${what} to be data that can be stored, but ${reason}. Return plain data instead.`,
    )
  }
}

function encodeWhole(value: unknown): string {
  const json = toJsonText(value)
  if (json !== null) return json
  const body = stringify(value, reducers)
  // What devalue does not make itself cannot be part of a cycle, which shows only on the way back.
  if (body.includes('["Entries"')) decode(body)
  return body
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
  const value = fromJsonText(body)
  return value === undefined ? parse(body, revivers) : value
}

/** Never throws: what cannot be kept of something that was thrown is left out. */
export function encodeThrown(thrown: unknown): string {
  try {
    return encodeWhole(keptThrown(thrown))
  } catch {
    return stringify(new Error('An error that cannot be stored was thrown.'), reducers)
  }
}

/** As `decode`, for whoever masks errors: they also get their classes back where this process has merely seen them. */
export function decodeBySight(body: string): unknown {
  const value = fromJsonText(body)
  return value !== undefined ? value : parse(body, { ...revivers, Error: (data: ErrorData) => reviveError(data, true) })
}

const reducers = {
  Error: (value: unknown) => {
    if (value instanceof Inner) return errorData(value.error, keepable, value.depth, value.left)
    return isError(value) && errorData(value, keepable)
  },
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
  return isObject(value) && Object.hasOwn(value, '__proto__') && isPlain(value)
}

const revivers = {
  Error: (data: ErrorData) => reviveError(data, false),
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

/** Extensions that have errors with extensions: more than one level of those comes from loops. */
const MAX_NESTED = 1
let nested = 0

function keepable(extensions: object): object | undefined {
  if (nested > MAX_NESTED) return undefined
  nested++
  try {
    return keepableOf(extensions)
  } finally {
    nested--
  }
}

/** Each of an error's extensions, or what JSON makes of it, which is what clients get. */
function keepableOf(extensions: object): object | undefined {
  try {
    encodeWhole(extensions)
    return extensions
  } catch {
    const kept = Object.keys(extensions).flatMap((key) => {
      const value = keepableOne(extensions, key)
      return value === undefined ? [] : [[key, value] as const]
    })
    return kept.length > 0 ? Object.fromEntries(kept) : undefined
  }
}

function keepableOne(extensions: object, key: string): unknown {
  let value: unknown
  try {
    value = Reflect.get(extensions, key)
    encodeWhole(value)
    return value
  } catch {
    try {
      return JSON.parse(JSON.stringify(value))
    } catch {
      return undefined
    }
  }
}
