import { DEFAULT_BACKOFF, retryByDefault } from '../core/backoff.ts'
import type { RetryPolicy } from '../core/backoff.ts'
import { toMs } from '../core/duration.ts'
import { readBackoff } from '../core/step-options.ts'
import type { ContextOptions, DurableOptions } from '../types.ts'
import { createIdentities } from './identities.ts'
import type { Identities } from './labels.ts'
import { anObject, anything, asked, assertFunctions, aText, checked, createWarn } from './user-functions.ts'
import type { Warn } from './user-functions.ts'

/** The options with every default filled in and every duration in milliseconds. */
export interface EngineOptions extends RetryPolicy {
  readonly holdMs: number
  readonly deferAfterMs: number
  readonly maxHoldMs: number
  readonly timeoutMs: number | null
  readonly version: string | null
  readonly retentionMs: number
  readonly stepBytes: number
  readonly runBytes: number
  readonly inputBytes: number
  readonly maxSteps: number
  readonly maxWaiters: number
  readonly worker: { readonly concurrency: number } | null
  readonly leaseMs: number
  readonly pollMs: number
  readonly hotRuns: number
  readonly hotBytes: number
  readonly hotTtlMs: number
  readonly path: string | null
  readonly identities: Identities
  /** Throws a UserFunctionError where the user's function does, or answers what is no owner. */
  readonly owner: ((context: unknown) => string | null) | null
  /** As `owner`. */
  readonly idempotencyKey: ((context: unknown) => string | null) | null
  /** What they answer has been checked, but for `enter`, which is `enterWith`'s to call. */
  readonly context: ContextOptions<unknown, unknown>
  /** It was given, empty maybe: somebody has thought of what a resumed run needs. */
  readonly hasContext: boolean
  readonly warn: Warn
}

/** Of options that have been checked. */
export function resolveOptions(options: DurableOptions): EngineOptions {
  const { owner, authorize, idempotencyKey, retryIf, identify, onWarning } = options
  const { capture, restore, request, create, enter } = options.context ?? {}
  assertFunctions({ owner, authorize, idempotencyKey, retryIf, identify, onWarning })
  assertFunctions({
    'context.capture': capture,
    'context.restore': restore,
    'context.request': request,
    'context.create': create,
    'context.enter': enter,
  })
  const warn = createWarn(onWarning)
  const worker = options.worker === false ? null : (options.worker ?? {})
  return {
    holdMs: toMs(options.hold ?? '1s', 'hold'),
    deferAfterMs: toMs(options.deferAfter ?? '25s', 'deferAfter'),
    maxHoldMs: toMs(options.maxHold ?? '5m', 'maxHold'),
    retries: options.retries ?? 3,
    backoff: { ...DEFAULT_BACKOFF, ...readBackoff(options.backoff) },
    retryIf: retryIf ?? retryByDefault,
    timeoutMs: options.timeout === undefined ? null : toMs(options.timeout, 'timeout'),
    version: options.version ?? null,
    retentionMs: toMs(options.retention ?? '7d', 'retention'),
    stepBytes: options.limits?.stepBytes ?? 4 * 1024 * 1024,
    runBytes: options.limits?.runBytes ?? 32 * 1024 * 1024,
    maxWaiters: options.limits?.waiters ?? 10_000,
    inputBytes: options.limits?.inputBytes ?? 1024 * 1024,
    maxSteps: options.limits?.steps ?? 100_000,
    worker: worker && { concurrency: worker.concurrency ?? 64 },
    leaseMs: toMs(worker?.lease ?? '15s', 'worker.lease'),
    pollMs: toMs(worker?.pollInterval ?? '1s', 'worker.pollInterval'),
    hotRuns: options.hot?.runs ?? 10_000,
    hotBytes: options.hot?.bytes ?? 64 * 1024 * 1024,
    hotTtlMs: toMs(options.hot?.ttl ?? '1m', 'hot.ttl'),
    path: options.path === undefined ? '/graphql/runs' : options.path,
    identities: createIdentities(identify, warn),
    owner: owner ? (context) => asked('owner', () => owner(context), aText) ?? null : null,
    idempotencyKey: idempotencyKey
      ? (context) => asked('idempotencyKey', () => idempotencyKey(context), aText) ?? null
      : null,
    // They are typed against each other in DurableOptions; the engine only passes values through.
    hasContext: options.context !== undefined,
    context: guardedContext((options.context ?? {}) as ContextOptions<unknown, unknown>),
    warn,
  }
}

/** What the functions of a pass throw is its refusal as it is. */
function guardedContext(options: ContextOptions<unknown, unknown>): ContextOptions<unknown, unknown> {
  const { capture, restore, request, create } = options
  return {
    ...options,
    ...(capture && { capture: (context) => asked('context.capture', () => capture(context), anything) }),
    ...(restore && { restore: async (...run) => checked('context.restore', await restore(...run), anObject) }),
    ...(request && { request: (...run) => checked('context.request', request(...run), anObject) }),
    ...(create && { create: async (...run) => checked('context.create', await create(...run), anObject) }),
  }
}
