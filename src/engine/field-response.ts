import { GraphQLError } from 'graphql'
import type { ExecutionResult } from 'graphql'
import { decode, encode, encodeThrown } from '../core/codec.ts'
import type { OutcomeRecord } from '../store/store.ts'

/*
 * The response of one root field as the journal keeps it. Its errors keep what was thrown, so that masking decides about
 * them, once they are revived, as it would have.
 */

interface ErrorRecord {
  readonly message: string
  readonly path: readonly (string | number)[] | undefined
  readonly extensions: Record<string, unknown>
  readonly positions: readonly number[] | undefined
  readonly source: string | undefined
  /** What the resolver threw: masking decides by it. */
  readonly thrown: string | null
}

export function encodeResponse(result: ExecutionResult): { ok: boolean; body: string } {
  const response = { data: result.data ?? null, errors: result.errors?.map(recordError), extensions: result.extensions }
  try {
    return { ok: true, body: encodeAsSent(response) }
  } catch (error) {
    return { ok: false, body: encodeThrown(error) }
  }
}

/** Scalars may give objects that only say by `toJSON` what they are: of those the client gets no more than JSON either. */
function encodeAsSent(response: unknown): string {
  try {
    return encode(response, 'the response')
  } catch {
    return encode(JSON.parse(JSON.stringify(response)), 'the response')
  }
}

function recordError(error: GraphQLError): ErrorRecord {
  return {
    message: error.message,
    path: error.path,
    extensions: { ...error.extensions },
    positions: error.positions,
    source: error.source?.body,
    thrown: error.originalError ? encodeThrown(error.originalError) : null,
  }
}

export function decodeResponse(outcome: OutcomeRecord): ExecutionResult {
  const value = decode(outcome.body)
  if (!outcome.ok) return { data: null, errors: [value as GraphQLError] } // a DurableError that encodeResponse caught
  const { data, errors, extensions } = value as {
    data: Record<string, unknown> | null
    errors?: ErrorRecord[]
    extensions?: Record<string, unknown>
  } // written by encodeResponse
  return {
    data,
    ...(errors && { errors: errors.map(reviveError) }),
    ...(extensions && { extensions }),
  }
}

function reviveError(record: ErrorRecord): GraphQLError {
  const thrown = record.thrown === null ? null : decode(record.thrown)
  return new GraphQLError(record.message, {
    ...(record.path && { path: record.path }),
    ...(record.positions &&
      record.source !== undefined && {
        positions: record.positions,
        source: { body: record.source, name: 'GraphQL request', locationOffset: { line: 1, column: 1 } } as never,
      }),
    extensions: record.extensions,
    ...(thrown instanceof Error && { originalError: thrown }),
  })
}
