import { GraphQLError, Source } from 'graphql'
import type { ExecutionResult } from 'graphql'
import { decode } from '../core/codec.ts'
import { DurableError } from '../core/errors.ts'
import { bytesOf, fits, MAX_BYTES } from '../core/limits.ts'
import type { Conflict } from '../store/store.ts'
import type { Engine } from './engine.ts'
import { formerFingerprintOf } from './fingerprint.ts'
import type { Operation } from './operation.ts'
import { decodeResult } from './result.ts'
import type { StoredResult } from './result.ts'
import type { RunInput } from './run-input.ts'
import { mayBeKeyed } from './serial.ts'
import { toSnapshot, toSummary } from './snapshot.ts'
import { UserFunctionError } from './user-functions.ts'

const HEADERS = ['idempotency-key'] as const

/**
 * The key out of an `Idempotency-Key` header (draft-ietf-httpapi-idempotency-key-header): a structured field's string,
 * `"8e03978e"`; without the quotes it is taken as it is.
 *
 * @throws GraphQLError BAD_USER_INPUT, HTTP 400
 */
function parseIdempotencyKey(header: string): string {
  const quoted = /^\s*"((?:[^"\\]|\\["\\])*)"\s*$/.exec(header)
  const key = quoted ? (quoted[1] ?? '').replace(/\\(["\\])/g, '$1') : header.trim()
  if (!/^[\x20-\x7e]*$/.test(key)) throw badKey('others')
  if (key !== '' && key.length <= MAX_BYTES.idempotencyKey) return key
  throw badKey(key === '' ? 'none' : `${key.length}`)
}

function badKey(got: string): GraphQLError {
  return new GraphQLError(
    `Expected Idempotency-Key to have 1 to ${MAX_BYTES.idempotencyKey} printable ASCII characters, but got ${got}.`,
    { extensions: { code: 'BAD_USER_INPUT', http: { status: 400 } } },
  )
}

/** What the option gives, often out of the request. @throws GraphQLError BAD_USER_INPUT, HTTP 400 */
function withinLimit(key: string | null): string | null {
  if (key === null || fits(key, MAX_BYTES.idempotencyKey)) return key
  throw badKey(`${bytesOf(key)} bytes`)
}

/**
 * The key that a request's operation is to be executed under, once. Queries have none, unless they are `@durable`:
 * they change nothing, and clients that send a key with everything would make a run of every poll.
 */
export function idempotencyKeyOf({ engine, host, context, args, isInner }: Operation): string | null {
  // What a resolver executes with the context of its request is not what the request's key stands for.
  if (!args || isInner) return null
  const { idempotencyKey, warn } = engine.options
  if (idempotencyKey) {
    try {
      return mayBeKeyed(args) ? withinLimit(idempotencyKey(context)) : null
    } catch (error) {
      if (!(error instanceof UserFunctionError)) throw error
      warn('An operation was refused, since its idempotency key could not be told.', {
        reason: error.message,
        cause: error.cause,
      })
      throw error.forClients
    }
  }
  // Most requests have none, and are not looked at any further (I8).
  const header = host.headers(context, HEADERS)[HEADERS[0]]
  return header === undefined || !mayBeKeyed(args) ? null : parseIdempotencyKey(header)
}

const USED_FOR_ANOTHER =
  'Expected the operation and variables that this Idempotency-Key was first used with, but got others. Use a new key.'
/** The same whatever the operation: it tells of the caller alone. */
const USED_BY_ANYBODY =
  'Expected an Idempotency-Key that was not used before: nothing was executed again, and requests without an owner are not given the response of another. Follow the run by its id, or use a new key.'

/**
 * A request under a key that a run already has. With the same operation it joins that run: it gets its response if the
 * run ends within `hold`, else the deferred payload. With another operation it is refused.
 *
 * Null where there is no such run: it was deleted just now, also while it was waited for, and with it went the key; or the answer came from a database
 * of a moment ago, in a failover. Whoever asks tries again.
 */
export async function joinRun(
  operation: Operation,
  fingerprint: string,
  conflict: Conflict,
): Promise<ExecutionResult | null> {
  const { engine } = operation
  const view = await engine.reads.row(conflict.runId)
  if (view === null) return null
  // The key alone does not give anybody the response: without an owner it is nobody's in particular (I9).
  const isVisible = await engine.canRead(toSummary(view, false), operation.context)
  // Where runs have owners, those who are nobody in particular share their keys, but not each other's answers.
  const isAnybody = engine.options.owner !== null && operation.resumed.owner === null
  if (!isSame(conflict, fingerprint, operation.input) || !isVisible || isAnybody) {
    const error = new DurableError('DURABLE_IDEMPOTENCY_CONFLICT', isAnybody ? USED_BY_ANYBODY : USED_FOR_ANOTHER, {
      extensions: { http: { status: 422 } },
    })
    return { errors: [error] }
  }
  return engine.waiters.until(conflict.runId, { timeoutMs: engine.options.holdMs }, async (seen) => {
    const result = seen === null || seen === 'open' ? null : await engine.reads.result(conflict.runId, seen)
    if (result === null) {
      const run = await followed(engine, conflict.runId)
      return run && operation.follow(run)
    }
    return (operation.repeated = await revived(engine, conflict.runId, decodeResult(result)))
  })
}

function isSame(conflict: Conflict, fingerprint: string, input: RunInput | null): boolean {
  return conflict.fingerprint === fingerprint || (input !== null && conflict.fingerprint === formerFingerprintOf(input))
}

/** Null where it is gone: nobody is told to follow what is not there. */
async function followed(engine: Engine, runId: string): Promise<Followed | null> {
  const view = await engine.reads.view(runId)
  if (view === null) return null
  const { status, waitingOn } = toSnapshot(view, engine.find(runId)?.run ?? null, engine.hosts.get(view.run.server))
  return { runId, status, waitingOn }
}

/** What a deferred payload says of a run. */
export interface Followed {
  readonly runId: string
  readonly status: string
  readonly waitingOn: ReturnType<typeof toSnapshot>['waitingOn']
}

/** Locations of errors are places in the run's own document, which may be written otherwise than the one that came. */
async function revived({ store }: Engine, runId: string, stored: StoredResult): Promise<ExecutionResult> {
  if (!stored.result.errors?.some(({ locations }) => locations)) return revive(stored, '')
  const view = await store.read((session) => session.read(runId, { waits: false, input: true }))
  const input = view?.input == null ? null : (decode(view.input) as RunInput) // written by captureRequest
  return revive(stored, input?.document ?? '')
}

/** A stored response on its way through the server once more: its errors were masked when it was made. */
function revive({ result, http }: StoredResult, document: string): ExecutionResult {
  const errors = result.errors?.map(({ message, path, extensions, locations }) => {
    // Servers work the locations out once more, from these two.
    const positions = locations?.map((location) => positionOf(location, document))
    return new GraphQLError(message, {
      ...(path && { path }),
      ...(extensions && { extensions }),
      ...(positions && { positions, source: new Source(document) }),
    })
  })
  return {
    ...(result.data !== undefined && { data: result.data }),
    ...(errors && { errors }),
    ...((result.extensions ?? http) && { extensions: { ...result.extensions, ...(http && { http }) } }),
  }
}

/** Lines and columns count from 1. */
function positionOf({ line, column }: { readonly line: number; readonly column: number }, document: string): number {
  const lineEnd = /\r\n|[\n\r]/g
  for (let each = 1; each < line; each++) lineEnd.exec(document)
  return lineEnd.lastIndex + column - 1
}
