import { isObject } from './objects.ts'

/** Status and headers that belong to a response, kept beside the result and not in it. */
export interface ResponseInit {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
}

/**
 * Headers that a stored response keeps. It goes to whoever may read the run, now and later, so these are the ones that
 * say something of the response and nothing of whom it was first made for: no cookies, no credentials, no challenges, no
 * caching, and nothing that a name alone does not tell the meaning of.
 */
const KEPT_HEADERS = new Set(['content-language', 'deprecation', 'sunset', 'warning'])

/** Of a response's status and headers, what may be kept. Also for what an earlier version of this has kept. */
export function keptInit(given: unknown): ResponseInit | null {
  if (!isObject(given)) return null
  const headers = headersIn(given['headers']).filter(([name]) => KEPT_HEADERS.has(name))
  const { status } = given
  // 202 says "not yet" to whoever follows a run, who would never stop asking.
  const isKept = isPossibleStatus(status) && status !== 202
  return initOf(isKept ? status : undefined, Object.fromEntries(headers))
}

/** Null where there is nothing to say. */
export function initOf(status: number | undefined, headers: Record<string, string>): ResponseInit | null {
  const hasHeaders = Object.keys(headers).length > 0
  if (status === undefined && !hasHeaders) return null
  return { ...(status !== undefined && { status }), ...(hasHeaders && { headers }) }
}

/** Those that have no body, and so cannot be the status of a result. */
const BODILESS = new Set([204, 205, 304])

/** Whether a response with a body can have it. */
export function isPossibleStatus(status: unknown): status is number {
  return (
    Number.isInteger(status) &&
    (status as number) >= 200 &&
    (status as number) <= 599 &&
    !BODILESS.has(status as number)
  )
}

/** By their names in lower case, without those that no response can have. */
export function headersIn(given: unknown): [string, string][] {
  return entriesIn(given).flatMap((entry) => {
    if (!Array.isArray(entry)) return []
    const [name, value]: unknown[] = entry
    const text = Array.isArray(value) ? value.join(', ') : typeof value === 'number' ? String(value) : value
    return typeof name === 'string' && typeof text === 'string' ? possible(name, text) : []
  })
}

/** Of a plain object, of `Headers`, of a Map, or of pairs. */
function entriesIn(given: unknown): unknown[] {
  if (!isObject(given)) return []
  try {
    return Symbol.iterator in given ? [...(given as Iterable<unknown>)] : Object.entries(given)
  } catch {
    return []
  }
}

function possible(name: string, value: string): [string, string][] {
  try {
    return [...new Headers([[name, value]])]
  } catch {
    return []
  }
}
