import { GraphQLError } from 'graphql'
import { DurableError } from './errors.ts'
import { bytesOf, fits } from './limits.ts'

/**
 * What came is not what was expected. Thrown by whatever reads options and input; each door makes its own error of it:
 * misuse of a step, bad input of a client, or, for options of `createDurable`, just this.
 */
export class Refusal extends TypeError {
  override readonly name = 'TypeError'
}

export const BAD_INPUT = { code: 'BAD_USER_INPUT' } as const

/** Input that a client may have chosen: not masked, and not worth another attempt. */
export function badInput(message: string): GraphQLError {
  return new GraphQLError(message, { extensions: BAD_INPUT })
}

/** Runs what reads input. @throws GraphQLError BAD_USER_INPUT in place of a Refusal */
export function readInput<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw error instanceof Refusal ? badInput(error.message) : error
  }
}

/** @throws DurableError DURABLE_TOO_LARGE */
export function assertWithin(text: string, maxBytes: number, what: string, advice = 'Make it shorter.'): void {
  if (fits(text, maxBytes)) return
  throw tooLarge(`Expected ${what} to have at most ${maxBytes} bytes, but it has ${bytesOf(text)}. ${advice}`)
}

export function tooLarge(message: string, status?: number): DurableError {
  return new DurableError(
    'DURABLE_TOO_LARGE',
    message,
    status === undefined ? {} : { extensions: { http: { status } } },
  )
}

const SHOWN = 60

/** A value in a message: short, and whatever it is. */
export function show(value: unknown): string {
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'number' || typeof value === 'bigint' || value === undefined) return String(value)
  try {
    const text = JSON.stringify(value) ?? String(value)
    return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text
  } catch {
    return `a value of type ${typeof value}`
  }
}

/** @throws Refusal */
export function count(value: unknown, what: string, from = 0): number {
  if (Number.isSafeInteger(value) && Number(value) >= from) return Number(value)
  throw new Refusal(`Expected ${what} to be a whole number from ${from}, but got ${show(value)}.`)
}

/** @throws Refusal */
export function someText(value: unknown, what: string): string {
  if (typeof value === 'string' && value !== '') return value
  throw new Refusal(`Expected ${what} to be a text that is not empty, but got ${show(value)}.`)
}

/** A function among options, or undefined. @throws Refusal */
export function optionalFunction<T>(value: T, what: string): T {
  if (value === undefined || typeof value === 'function') return value
  throw new Refusal(`Expected ${what} to be a function, but got ${show(value)}.`)
}

/** An object with no other properties than these, so that a name that was misspelt is found. @throws Refusal */
export function withOnly<T extends object>(value: T, names: readonly string[], what: string): T {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Refusal(`Expected ${what} to be an object, but got ${show(value)}.`)
  }
  const stranger = Object.keys(value).find((name) => !names.includes(name))
  if (stranger === undefined) return value
  const meant = closest(stranger, names)
  const hint = meant === null ? '' : ` Did you mean "${meant}"?`
  throw new Refusal(`Expected ${what} to have nothing but ${names.join(', ')}, but got ${show(stranger)}.${hint}`)
}

/** The name that somebody may have meant. */
function closest(name: string, names: readonly string[]): string | null {
  const most = Math.max(2, Math.floor(name.length / 3))
  const [best] = names
    .map((each) => ({ each, edits: editsBetween(name.toLowerCase(), each.toLowerCase()) }))
    .filter(({ edits }) => edits <= most)
    .toSorted((a, b) => a.edits - b.edits)
  return best?.each ?? null
}

/** Levenshtein's distance. */
function editsBetween(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, at) => at)
  for (let at = 0; at < Math.min(from.length, SHOWN); at++) {
    const next = [at + 1]
    for (let column = 1; column <= to.length; column++) {
      const replaced = (row[column - 1] ?? 0) + (to[column - 1] === from[at] ? 0 : 1)
      next.push(Math.min(replaced, (row[column] ?? 0) + 1, (next[column - 1] ?? 0) + 1))
    }
    row = next
  }
  return row.at(-1) ?? 0
}
