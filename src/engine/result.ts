import { GraphQLError } from 'graphql'
import type { ExecutionResult, FormattedExecutionResult } from 'graphql'
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
  const { http, ...extensions } = (result.extensions ?? {}) as { http?: ResponseInit } & Record<string, unknown>
  const response = {
    ...(result.errors && { errors: result.errors.map(formatError) }),
    ...('data' in result && { data: result.data }),
    ...(Object.keys(extensions).length > 0 && { extensions }),
  }
  return JSON.stringify({ result: response, http: http ?? null })
}

function formatError(error: unknown): unknown {
  if (!(error instanceof GraphQLError)) return error
  const { extensions, ...formatted } = error.toJSON()
  const { http: _http, ...visible } = extensions ?? {}
  return Object.keys(visible).length > 0 ? { ...formatted, extensions: visible } : formatted
}

export function decodeResult(stored: string): StoredResult {
  return JSON.parse(stored) as StoredResult // written by encodeResult
}

export function statusOf(result: ExecutionResult): EndStatus {
  return result.errors && result.errors.length > 0 ? 'failed' : 'completed'
}
