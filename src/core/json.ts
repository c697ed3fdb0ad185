import { DurableError } from './errors.ts'
import { MAX_INPUT_DEPTH, MAX_JSON_DEPTH } from './limits.ts'
import { isObject, isPlain } from './objects.ts'
import { tooLarge } from './refusals.ts'

/*
 * JSON and nothing else, for what is compared (`match`) and what is compared with it (the data of events). What
 * `JSON.stringify` drops or changes would decide about something else than was written: `{ order: undefined }` becomes
 * `{}`, and matches everybody's.
 */

export interface JsonBound {
  readonly maxBytes: number
  /** The option that sets it. */
  readonly option?: string
}

/** @throws DurableError DURABLE_NOT_SERIALIZABLE, naming the place and what is there; DURABLE_TOO_LARGE */
export function strictJson(value: unknown, what: string, bound: JsonBound): string {
  let json: string
  try {
    const problem = findProblem(value, { what, bound, size: 0 }, 0)
    if (problem) throw notJson(what, problem.has, problem.path.toReversed())
    json = JSON.stringify(value)
  } catch (error) {
    // What a getter throws is internal, and this message is for clients.
    if (error instanceof DurableError) throw error
    throw notJson(what, 'an object that cannot be read', [], error)
  }
  assertSize(Buffer.byteLength(json), what, bound)
  return json
}

/** What is no JSON, and where: the path is put together from its end, on the way out. */
interface Problem {
  readonly path: (string | number)[]
  readonly has: string
}

interface Walk {
  readonly what: string
  readonly bound: JsonBound
  /** A lower bound of the bytes so far, so that an object that is shared a million times ends the walk. */
  size: number
}

function findProblem(value: unknown, walk: Walk, depth: number): Problem | null {
  if (++walk.size > walk.bound.maxBytes) assertSize(walk.size, walk.what, walk.bound)
  if (typeof value === 'string') walk.size += value.length
  else if (isObject(value)) return problemWithin(value, walk, depth)
  else if (!isScalar(value)) return { path: [], has: nameOfScalar(value) }
  return null
}

function problemWithin(value: object, walk: Walk, depth: number): Problem | null {
  if (depth === MAX_JSON_DEPTH) {
    throw notJson(walk.what, `more than ${MAX_JSON_DEPTH} levels, or an object that contains itself`)
  }
  if (Array.isArray(value)) {
    for (let at = 0; at < value.length; at++) {
      const problem = findProblem(value[at], walk, depth + 1)
      if (problem) return below(at, problem)
    }
    return null
  }
  const has = objectProblem(value)
  if (has !== null) return { path: [], has }
  for (const key of Object.keys(value)) {
    walk.size += key.length
    const problem = findProblem((value as Record<string, unknown>)[key], walk, depth + 1)
    if (problem) return below(key, problem)
  }
  return null
}

function below(key: string | number, problem: Problem): Problem {
  problem.path.push(key)
  return problem
}

function isScalar(value: unknown): boolean {
  return typeof value === 'number' ? Number.isFinite(value) : typeof value === 'boolean' || value === null
}

function nameOfScalar(value: unknown): string {
  if (value === undefined) return 'undefined, which JSON leaves out'
  return typeof value === 'number' ? String(value) : `a ${typeof value}`
}

function objectProblem(value: object): string | null {
  if (value instanceof Date) return 'a Date. Write date.toISOString()'
  if (!isPlain(value)) return `an instance of ${nameOf(value)}`
  return Object.getOwnPropertySymbols(value).length > 0 ? 'an object with a symbol for a key' : null
}

function nameOf(value: object): string {
  const name: unknown = value.constructor?.name
  return typeof name === 'string' && name !== '' ? name : 'a class'
}

function notJson(
  what: string,
  problem: string,
  path: readonly (string | number)[] = [],
  cause?: unknown,
): DurableError {
  const at = path.length === 0 ? '' : `at "${path.join('.').slice(0, 200)}" `
  const message = `Expected ${what} to be JSON, but ${at}it has ${problem}.`
  return new DurableError('DURABLE_NOT_SERIALIZABLE', message, { cause })
}

function assertSize(bytes: number, what: string, { maxBytes, option }: JsonBound): void {
  if (bytes <= maxBytes) return
  const most = `${maxBytes} bytes${option === undefined ? '' : ` (${option})`}`
  throw tooLarge(`Expected ${what} to have at most ${most}, but it has ${bytes} or more.`)
}

/**
 * Of what is kept whole and read again, where the stack may be deeper than it is now. Shared objects are looked at once.
 *
 * @throws DurableError DURABLE_NOT_SERIALIZABLE
 */
export function assertDepth(value: unknown, what: string): void {
  const seen = new Set<object>()
  let level: Set<object> = new Set([value].filter(isObject))
  for (let depth = 0; level.size > 0; depth++) {
    if (depth > MAX_INPUT_DEPTH) throw notJson(what, `more than ${MAX_INPUT_DEPTH} levels`)
    const next = new Set<object>()
    for (const object of level) {
      seen.add(object)
      for (const each of Object.values(object)) if (isObject(each) && !seen.has(each)) next.add(each)
    }
    level = next
  }
}
