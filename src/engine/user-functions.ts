import { GraphQLError } from 'graphql'
import { isGraphQLError } from '../core/codec.ts'
import { DurableError, messageOf } from '../core/errors.ts'
import { identityText } from '../core/identity.ts'
import { ignoreRejection } from '../core/rejections.ts'
import type { DurableOptions, Identity } from '../types.ts'

/*
 * The one way in which functions of the users are called. What they may return is checked; what they throw, or return
 * wrongly, is a refusal of what they were asked for, with a reason for operators. It never ends the process, never
 * leaves anybody waiting, and tells clients nothing that was not made for them.
 */

export type Warn = (message: string, details: Readonly<Record<string, unknown>>) => void

/** A function of the user's threw, or answered something that it may not. */
export class UserFunctionError extends Error {
  override readonly name = 'UserFunctionError'
  /** What a client may be told. */
  readonly forClients: GraphQLError

  constructor(message: string, forClients: GraphQLError, cause?: unknown) {
    super(message, { cause })
    this.forClients = forClients
  }
}

export interface Expected<T> {
  readonly what: string
  readonly is: (answer: unknown) => answer is T
}

/** @throws UserFunctionError where the function throws, or answers something else than it may. */
export function asked<T>(name: string, call: () => unknown, expected: Expected<T>): T {
  let answer: unknown
  try {
    answer = call()
  } catch (cause) {
    throw threw(name, cause)
  }
  return checked(name, answer, expected)
}

/** As `asked`, for functions that may be asynchronous. */
export async function askedAsync<T>(name: string, call: () => unknown, expected: Expected<T>): Promise<T> {
  let answer: unknown
  try {
    answer = await call()
  } catch (cause) {
    throw threw(name, cause)
  }
  return checked(name, answer, expected)
}

/** @throws UserFunctionError where that is not what the function may answer. */
export function checked<T>(name: string, answer: unknown, expected: Expected<T>): T {
  if (ignoreRejection(answer)) {
    throw misbehaved(
      name,
      expected,
      'a Promise, which is not awaited there. Do what takes time in the context function',
    )
  }
  if (expected.is(answer)) return answer
  throw misbehaved(name, expected, kindOf(answer))
}

function threw(name: string, cause: unknown): UserFunctionError {
  // One that wraps another error is masked elsewhere, and so is not for clients here.
  const forClients = isGraphQLError(cause) && !cause.originalError ? cause : unexpected()
  return new UserFunctionError(`${name} threw: ${messageOf(cause)}`, forClients, cause)
}

/** As servers mask what is not for clients. */
export function unexpected(): GraphQLError {
  return new GraphQLError('Unexpected error.', { extensions: { code: 'INTERNAL_SERVER_ERROR' } })
}

function misbehaved(name: string, { what }: Expected<unknown>, got: string): UserFunctionError {
  const message = `Expected ${name} to return ${what}, but it returned ${got}.`
  return new UserFunctionError(message, new DurableError('DURABLE_STEP_MISUSED', message))
}

export const aText: Expected<string | null | undefined> = { what: 'a text that is not empty, or null', is: isText }

export const aBoolean: Expected<boolean> = {
  what: 'true or false',
  is: (answer): answer is boolean => typeof answer === 'boolean',
}

export const anObject: Expected<object> = {
  what: 'an object',
  is: (answer): answer is object => typeof answer === 'object' && answer !== null && !Array.isArray(answer),
}

export const anything: Expected<unknown> = { what: 'a value', is: (_answer): _answer is unknown => true }

const anIdentity: Expected<Identity | null | undefined> = {
  what: 'a text, a number, a bigint, an object with a text of its own (a Date, bytes, an ObjectId) or null',
  is: (answer): answer is Identity | null | undefined =>
    isText(answer) || (typeof answer !== 'string' && identityText(answer) !== null),
}

function isText(answer: unknown): answer is string | null | undefined {
  return answer === null || answer === undefined || (typeof answer === 'string' && answer !== '')
}

/** A logger that throws, or that is asynchronous and rejects, must not break what it was told about. */
export function createWarn(onWarning: DurableOptions['onWarning']): Warn {
  const onThrown = (error: unknown): void => console.warn('[graphql-durable] onWarning threw.', error)
  return (message, details) => {
    try {
      if (!onWarning) return console.warn(`[graphql-durable] ${message}`, details)
      ignoreRejection(onWarning(message, details) as unknown, onThrown)
    } catch (error) {
      onThrown(error)
    }
  }
}

/** An item whose identity cannot be told is counted, also in operations that never asked for it; that is said once. */
export function guardedIdentify(
  identify: NonNullable<DurableOptions['identify']>,
  warn: Warn,
): NonNullable<DurableOptions['identify']> {
  let told = false
  return (source, info) => {
    try {
      return asked('identify', () => identify(source, info), anIdentity)
    } catch (error) {
      const { parentType, fieldName } = info
      if (!told) {
        warn(`${messageOf(error)} Items of its list are told apart by their places, so the list must not change.`, {
          coordinate: `${parentType.name}.${fieldName}`,
        })
      }
      told = true
      return null
    }
  }
}

/** @throws TypeError where an option that has to be a function is something else. */
export function assertFunctions(options: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || typeof value === 'function') continue
    throw new TypeError(`Expected ${name} to be a function, but got ${kindOf(value)}.`)
  }
}

/** Never the value itself: it may be somebody's name or secret. */
function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (value === '') return 'an empty text'
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'string') return 'a text'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}
