import { toMs } from './duration.ts'
import { optionalFunction, Refusal, show, withOnly } from './refusals.ts'

/** What is done with an option's value, where it is given. @throws Refusal */
export type Check = (value: unknown, name: string) => void

/** So that an option that is new cannot be forgotten: what has no entry is refused as misspelt. */
export type Checks<T> = Readonly<Record<keyof T, Check>>

/**
 * Undefined counts as absent; nothing else does.
 *
 * @param what the options as a whole, for messages; `nameOf` is for one of them
 * @throws TypeError naming the option, what was expected and what came; a name that is misspelt, and which one was meant
 */
export function checkAll<T>(
  value: unknown,
  checks: Checks<T>,
  what: string,
  nameOf: (key: string) => string = (key) => key,
  expected = 'an object',
): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Refusal(`Expected ${what} to be ${expected}, but got ${show(value)}.`)
  }
  withOnly(value, Object.keys(checks), what)
  for (const [key, given] of Object.entries(value)) {
    if (given !== undefined) checks[key as keyof T](given, nameOf(key)) // it is one of the names
  }
}

export const isDuration: Check = (value, name) => void toMs(value as never, name) // refuses every other type

export const isFunction: Check = (value, name) => void optionalFunction(value, name)

export const isBoolean: Check = (value, name) => {
  if (typeof value === 'boolean') return
  throw new Refusal(`Expected ${name} to be true or false, but got ${show(value)}.`)
}

/** Maybe of another implementation. */
export const isSignal: Check = (value, name) => {
  if (typeof value === 'object' && value !== null && 'aborted' in value && 'addEventListener' in value) return
  throw new Refusal(`Expected ${name} to be an AbortSignal, but got ${show(value)}.`)
}

export const isNumber: Check = (value, name) => {
  if (typeof value === 'number' && Number.isFinite(value)) return
  throw new Refusal(`Expected ${name} to be a number, but got ${show(value)}.`)
}
