import { GraphQLError } from 'graphql'
import type { ExecutionResult } from 'graphql'
import { decode, decodeBySight, encode, encodeThrown } from '../core/codec.ts'
import { isError } from '../core/thrown.ts'
import type { OutcomeRecord } from '../store/store.ts'

/*
 * The response of one root field as the journal keeps it. Its errors are kept as the executor made them, with what was
 * thrown inside of them, so that masking decides about them, once they are revived, as it would have.
 */

export function encodeResponse(result: ExecutionResult): { ok: boolean; body: string } {
  const response = {
    data: result.data ?? null,
    // Executors of one's own may answer with errors that are data already.
    errors: result.errors?.map((error) => (isError(error) ? encodeThrown(withoutValue(error)) : error)),
    extensions: result.extensions,
  }
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

/** How executors begin the message of what was thrown and is no error; what follows is that value, looked into. */
const LOOKED_INTO = /^(Unexpected error value: )[[{<(].*/s

/** Of an object that was thrown nothing is kept, and so it is not kept in a message either. */
function withoutValue(error: GraphQLError): GraphQLError {
  if (typeof error.message !== 'string' || !LOOKED_INTO.test(error.message)) return error
  const message = error.message.replace(LOOKED_INTO, '$1an object that is no error.')
  const { nodes = null, source = null, positions = null, path = null, extensions } = error
  const originalError = error.originalError ? Object.assign(new Error(message), { name: 'NonErrorThrown' }) : null
  return new GraphQLError(message, { nodes, source, positions, path, extensions, originalError })
}

export function decodeResponse(outcome: OutcomeRecord): ExecutionResult {
  const value = decode(outcome.body)
  if (!outcome.ok) return { data: null, errors: [value as GraphQLError] } // a DurableError that encodeResponse caught
  const { data, errors, extensions } = value as {
    data: Record<string, unknown> | null
    errors?: (string | GraphQLError)[]
    extensions?: Record<string, unknown>
  } // written by encodeResponse
  return {
    data,
    ...(errors && { errors: errors.map(reviveError) }),
    ...(extensions && { extensions }),
  }
}

function reviveError(error: string | GraphQLError): GraphQLError {
  return typeof error === 'string' ? (decodeBySight(error) as GraphQLError) : error // as the executor made it
}
