import type { ExecutionResult, FormattedExecutionResult } from 'graphql'
import { isGraphQLError } from '../core/codec.ts'
import type { EndStatus } from '../store/store.ts'

/** Status and headers that belong to a response, kept beside the result and not in it. */
export interface ResponseInit {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
}

export interface StoredResult {
  readonly result: FormattedExecutionResult
  readonly http: ResponseInit | null
}

/** A result as a client would get it (I7): formatted, with what servers keep in `extensions.http` set apart. */
export function encodeResult(result: ExecutionResult): string {
  const { http: _http, ...extensions } = result.extensions ?? {}
  const response = {
    ...(result.errors && { errors: result.errors.map(formatError) }),
    ...('data' in result && { data: result.data }),
    ...(Object.keys(extensions).length > 0 && { extensions }),
  }
  return JSON.stringify({ result: response, http: responseInit(result) })
}

/** Errors have a say in it as well, as they have in Yoga: the last header and the highest status win. */
function responseInit(result: ExecutionResult): ResponseInit | null {
  const all = [result, ...(result.errors ?? [])].flatMap(({ extensions }) => {
    const http = extensions?.['http']
    return typeof http === 'object' && http !== null ? [http as ResponseInit] : []
  })
  if (all.length === 0) return null
  const headers = Object.assign({}, ...all.map((http) => http.headers)) as Record<string, string>
  const status = Math.max(...all.map((http) => http.status ?? 0))
  return { ...(status > 0 && { status }), ...(Object.keys(headers).length > 0 && { headers }) }
}

/** Also errors of another copy of the graphql package, and those that maskings make up. */
function formatError(error: unknown): unknown {
  if (!isGraphQLError(error)) return error
  const { message, path, locations, extensions } = typeof error.toJSON === 'function' ? error.toJSON() : error
  // Servers keep these two to themselves.
  const { http: _http, unexpected: _unexpected, ...visible } = extensions ?? {}
  return {
    message,
    ...(locations && { locations }),
    ...(path && { path }),
    ...(Object.keys(visible).length > 0 && { extensions: visible }),
  }
}

export function decodeResult(stored: string): StoredResult {
  return JSON.parse(stored) as StoredResult // written by encodeResult
}

export function statusOf(result: ExecutionResult): EndStatus {
  return result.errors && result.errors.length > 0 ? 'failed' : 'completed'
}
