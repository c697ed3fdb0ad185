import type { ExecutionResult, FormattedExecutionResult } from 'graphql'
import { isGraphQLError } from '../core/codec.ts'
import { asSent, visibleExtensions } from '../core/extensions.ts'
import { keptInit } from '../core/response-init.ts'
import type { ResponseInit } from '../core/response-init.ts'
import { responseInitOf } from './response-init.ts'
import type { EndStatus } from '../store/store.ts'

export interface StoredResult {
  readonly result: FormattedExecutionResult
  readonly http: ResponseInit | null
}

/** A result as a client would get it (I7): formatted, with what servers keep in `extensions.http` set apart. */
export function encodeResult(result: ExecutionResult): string {
  const sent: { http?: unknown } = asSent(result.extensions ?? {})
  const { http: _http, ...extensions } = sent
  const response = {
    ...(result.errors && { errors: result.errors.map(formatError) }),
    ...('data' in result && { data: result.data }),
    ...(Object.keys(extensions).length > 0 && { extensions }),
  }
  return JSON.stringify({ result: response, http: keptInit(responseInitOf(result)) })
}

/** Also errors of another copy of the graphql package, and those that maskings make up. */
function formatError(error: unknown): unknown {
  if (!isGraphQLError(error)) return error
  const { message, path, locations, extensions } = typeof error.toJSON === 'function' ? error.toJSON() : error
  const visible = visibleExtensions(extensions)
  return {
    message,
    ...(locations && { locations }),
    ...(path && { path }),
    ...(Object.keys(visible).length > 0 && { extensions: visible }),
  }
}

export function decodeResult(stored: string): StoredResult {
  const { result, http } = JSON.parse(stored) as StoredResult // written by encodeResult
  return { result, http: keptInit(http) }
}

export function statusOf(result: ExecutionResult): EndStatus {
  return result.errors && result.errors.length > 0 ? 'failed' : 'completed'
}
