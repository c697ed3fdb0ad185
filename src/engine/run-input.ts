import type { ExecutionArgs } from 'graphql'
import { encode } from '../core/codec.ts'
import { MAX_BYTES } from '../core/limits.ts'
import { assertDepth } from '../core/json.ts'
import { assertWithin, tooLarge } from '../core/refusals.ts'
import type { Idempotency } from '../store/store.ts'
import { onlyOperationName, sourceOf } from './documents.ts'
import { settingsIn, unkeptIn } from './execution-args.ts'
import type { Host } from './host.ts'
import { fingerprintOf } from './fingerprint.ts'
import type { Requested } from './fingerprint.ts'
import type { EngineOptions } from './options.ts'

/** What a run keeps of its request, encoded: a cold pass is made from it. */
export interface RunInput extends Requested {
  readonly headers: Readonly<Record<string, string>>
  readonly captured: unknown
  /** How its keys name items of lists; absent from runs that were begun when texts and numbers were not told apart. */
  readonly identities?: typeof IDENTITIES
  /** Settings that its executor was called with. */
  readonly settings?: Readonly<Record<string, unknown>>
  /** Names of what its executor was called with and a run cannot keep. */
  readonly unkept?: readonly string[]
}

/** As `identityText` names them. */
export const IDENTITIES = 2

export interface CapturedRequest {
  readonly input: RunInput
  readonly encoded: string
  readonly owner: string | null
}

/**
 * Of a request, what its run will need when the request is gone.
 *
 * @throws DurableError DURABLE_NOT_SERIALIZABLE, DURABLE_TOO_LARGE
 * @throws UserFunctionError where `owner` or `context.capture` did not answer
 */
export function captureRequest(host: Host, options: EngineOptions, args: ExecutionArgs): CapturedRequest {
  const { context, inputBytes } = options
  const settings = settingsIn(args)
  const unkept = unkeptIn(args)
  const input: RunInput = {
    document: sourceOf(args.document),
    operationName: args.operationName ?? onlyOperationName(args.document),
    variables: { ...args.variableValues },
    headers: host.headers(args.contextValue, context.headers ?? []),
    captured: context.capture?.(args.contextValue) ?? null,
    identities: IDENTITIES,
    ...(settings && { settings }),
    ...(unkept && { unkept }),
  }
  const { operationName } = input
  if (operationName !== null) assertWithin(operationName, MAX_BYTES.operationName, 'the name of an operation')
  const encoded = encode(input, 'the variables and what context.capture returned')
  const bytes = Buffer.byteLength(encoded)
  if (bytes > inputBytes) {
    throw tooLarge(
      `Expected what a run keeps of its request (document, variables, named headers, what context.capture returned) to have at most limits.inputBytes (${inputBytes}), but it has ${bytes} bytes. Send a reference to what is large.`,
      CONTENT_TOO_LARGE,
    )
  }
  assertDepth(input.variables, 'variables')
  return { input, encoded, owner: ownerOf(options, args.contextValue) }
}

const CONTENT_TOO_LARGE = 413

function ownerOf({ owner }: EngineOptions, context: unknown): string | null {
  const found = owner?.(context) ?? null
  if (found !== null) assertWithin(found, MAX_BYTES.owner, 'what the option owner gives')
  return found
}

/**
 * A key is its owner's, on one server. In a batch it is each operation's own, by its position; the first one's is the
 * same as that of a request without a batch.
 *
 * @throws DurableError DURABLE_TOO_LARGE
 */
export function idempotencyOf(
  server: string,
  { input, owner }: CapturedRequest,
  key: string,
  position: number,
): Idempotency {
  const name = JSON.stringify([server, owner, key, ...(position > 0 ? [position] : [])])
  assertWithin(name, MAX_BYTES.idempotency, 'an idempotency key and the owner it belongs to')
  return { key: name, fingerprint: fingerprintOf(input) }
}
