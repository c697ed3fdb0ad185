import type { ExecutionArgs } from 'graphql'
import { encode } from '../core/codec.ts'
import type { Idempotency } from '../store/store.ts'
import { onlyOperationName, sourceOf } from './documents.ts'
import type { Host } from './host.ts'
import { fingerprintOf } from './idempotency.ts'
import type { EngineOptions } from './options.ts'

/** What a run keeps of its request, encoded: a cold pass is made from it. */
export interface RunInput {
  readonly document: string
  readonly operationName: string | null
  readonly variables: Readonly<Record<string, unknown>>
  readonly headers: Readonly<Record<string, string>>
  readonly captured: unknown
}

export interface CapturedRequest {
  readonly input: RunInput
  readonly encoded: string
  readonly owner: string | null
}

/**
 * Of a request, what its run will need when the request is gone.
 *
 * @throws DurableError DURABLE_NOT_SERIALIZABLE
 */
export function captureRequest(host: Host, { context, owner }: EngineOptions, args: ExecutionArgs): CapturedRequest {
  const input: RunInput = {
    document: sourceOf(args.document),
    operationName: args.operationName ?? onlyOperationName(args.document),
    variables: { ...args.variableValues },
    headers: host.headers(args.contextValue, context.headers ?? []),
    captured: context.capture?.(args.contextValue) ?? null,
  }
  const encoded = encode(input, 'the variables and what context.capture returned')
  return { input, encoded, owner: owner?.(args.contextValue) ?? null }
}

/** A key is its owner's, on one server. */
export function idempotencyOf(server: string, { input, owner }: CapturedRequest, key: string): Idempotency {
  const { document, operationName, variables } = input
  return {
    key: JSON.stringify([server, owner, key]),
    fingerprint: fingerprintOf(encode([document, operationName, variables])),
  }
}
