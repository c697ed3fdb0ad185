import { createHash } from 'node:crypto'
import { judgeFailure } from '../core/backoff.ts'
import type { RetryPolicy } from '../core/backoff.ts'
import type { Timer } from '../core/clock.ts'
import { encode, encodeThrown, isForClients, isGraphQLError } from '../core/codec.ts'
import { DurableError, messageOf, RetryAfterError, StepError } from '../core/errors.ts'
import type { DurableErrorCode } from '../core/errors.ts'
import { Refusal, show } from '../core/refusals.ts'
import { readRunOptions } from '../core/step-options.ts'
import type { RunOverrides } from '../core/step-options.ts'
import type { OutcomeKind, OutcomeRecord } from '../store/store.ts'
import type { EventInput, Step, StepAttempt, StepRunOptions } from '../types.ts'
import { commit, misused } from './call.ts'
import type { Call } from './call.ts'
import type { Engine } from './engine.ts'
import { deposit, readEvents } from './events.ts'
import { surroundings } from './scope.ts'
import { aBoolean, asked } from './user-functions.ts'

export function prepareRun(
  step: Step,
  fn: (attempt: StepAttempt) => unknown,
  options: StepRunOptions | undefined,
): (call: Call) => void {
  if (typeof fn !== 'function') throw new Refusal(`Expected its second argument to be a function, but got ${show(fn)}.`)
  const overrides = readRunOptions(options)
  return (call) => startRun(call, step, 'RUN', fn, overrides)
}

/** `step.run`: attempts at `fn`, until one succeeds or the last has failed. */
function startRun(
  call: Call,
  step: Step,
  kind: 'RUN' | 'SEND',
  fn: (attempt: StepAttempt) => unknown,
  overrides: RunOverrides,
): void {
  const policy = runPolicy(call, overrides)
  const stored = call.execution.waits.storedAttempts(call.key)
  const attempt = (number: number): void => {
    runAttempt(call, step, fn, number, policy.timeoutMs, (thrown, value) => {
      if (thrown === null) return commitValue(call, kind, value, number)
      const verdict = judge(thrown.error, number, policy, call)
      if ('retryInMs' in verdict) return retryAfter(verdict.retryInMs, number)
      warnOfFailure(call, verdict.final, number)
      commit(call, kind, false, encodeThrown(verdict.final), number)
    })
  }
  const retryAfter = (forMs: number | null, attempts: number): void => {
    call.execution.waits.add({
      key: call.key,
      kind: 'RETRY',
      scope: call.scope,
      event: null,
      match: null,
      forMs,
      attempts,
      startedAt: call.startedAt,
      onOver: () => call.execution.whenMayStart(() => attempt(attempts + 1)),
    })
  }
  if (stored) retryAfter(0, stored.attempts)
  else call.execution.whenMayStart(() => attempt(1))
}

/** What a step threw is kept from clients, and a StepError is masked by nobody: here is where it can be seen. */
function warnOfFailure({ execution, id, key }: Call, cause: unknown, attempts: number): void {
  if (isForClients(cause)) return // they are told
  execution.engine.options.warn(`Step "${id}" used up its attempts.`, {
    runId: execution.runId,
    step: key,
    attempts,
    cause,
  })
}

/** A `retryIf` that throws, or says neither yes nor no, ends the step with the error it was asked about. */
function judge(
  error: unknown,
  attempt: number,
  policy: RetryPolicy,
  { id, key, execution }: Call,
): { readonly retryInMs: number } | { readonly final: unknown } {
  const retryIf = (thrown: unknown): boolean => asked('retryIf', () => policy.retryIf(thrown), aBoolean)
  try {
    const verdict = judgeFailure(error, attempt, { ...policy, retryIf }, execution.clock)
    return verdict === 'final' ? { final: error } : verdict
  } catch (cause) {
    // A RetryAfterError without a usable time.
    if (error instanceof RetryAfterError && cause instanceof Refusal) return { final: misused(id, cause, error) }
    execution.engine.options.warn('A step is not tried again, since it could not be told whether it should be.', {
      runId: execution.runId,
      step: key,
      reason: messageOf(cause),
    })
    return { final: error }
  }
}

interface RunPolicy extends RetryPolicy {
  readonly timeoutMs: number | null
}

function runPolicy({ execution, scope }: Call, overrides: RunOverrides): RunPolicy {
  const defaults = execution.engine.options
  return {
    retries: overrides.retries ?? scope.policy?.retries ?? defaults.retries,
    backoff: { ...defaults.backoff, ...overrides.backoff },
    retryIf: overrides.retryIf ?? defaults.retryIf,
    timeoutMs: overrides.timeoutMs ?? scope.policy?.timeoutMs ?? null,
  }
}

function runAttempt(
  call: Call,
  step: Step,
  fn: (attempt: StepAttempt) => unknown,
  number: number,
  timeoutMs: number | null,
  onEnd: (thrown: { error: unknown } | null, value: unknown) => void,
): void {
  const { execution, key, id } = call
  const release = execution.holdLease()
  let controller: AbortController | null = null
  let timer: Timer | null = null
  let ended = false
  const abort = (reason: unknown): void => {
    timer?.cancel()
    controller ??= new AbortController()
    controller.abort(reason)
  }
  const end = (thrown: { error: unknown } | null, value?: unknown): void => {
    if (ended) return
    ended = true
    timer?.cancel()
    execution.attempts.delete(key)
    // Large values that come together are encoded one in a turn of the event loop.
    execution.engine.turns.take(() => {
      // A refused pass may have parked the run meanwhile: then it is claimed again first, or turns out to be lost.
      execution.whenLive(() => onEnd(thrown, value))
      release()
    })
  }
  if (timeoutMs !== null) {
    timer = execution.clock.setTimeout(() => {
      const error = new DurableError(
        'DURABLE_STEP_TIMEOUT',
        `An attempt at step "${id}" took longer than ${timeoutMs} ms.`,
      )
      end({ error })
      abort(error)
    }, timeoutMs)
  }
  execution.attempts.set(key, { abort, startedAt: call.startedAt, attempt: number })
  const attempt: StepAttempt = {
    runId: execution.runId,
    attempt: number,
    get idempotencyKey() {
      return idempotencyKey(execution.runId, key)
    },
    get signal() {
      controller ??= new AbortController()
      return controller.signal
    },
  }
  call
    .inContext(() => surroundings.run({ scope: call.scope, host: null, step, insideStep: id }, async () => fn(attempt)))
    .then(
      (value) => end(null, value),
      (error: unknown) => end({ error }),
    )
}

/**
 * The same for each attempt at a step, in any process. It goes to third parties, so the run's id, which may be all that
 * it takes to read the run, cannot be told from it.
 */
function idempotencyKey(runId: string, key: string): string {
  return `idem_${createHash('sha256').update(`${runId} ${key}`).digest('base64url')}`
}

function commitValue(call: Call, kind: OutcomeKind, value: unknown, attempts: number): void {
  let body: string
  try {
    body = encode(value, `what step "${call.id}" returned`)
    call.execution.engine.turns.spend(body.length)
  } catch (error) {
    return commit(call, kind, false, encodeThrown(error), attempts)
  }
  commit(call, kind, true, body, attempts)
}

/** What the outcome of a step comes to for the resolver: a value, or an error that is thrown. */
export function readRun(id: string, value: unknown, outcome: OutcomeRecord): unknown {
  if (outcome.ok) return value
  throw stepFailure(id, outcome.attempts, value)
}

const AS_THEMSELVES: ReadonlySet<DurableErrorCode> = new Set([
  'DURABLE_NOT_SERIALIZABLE',
  'DURABLE_TOO_LARGE',
  'DURABLE_STEP_MISUSED',
])

/** What a resolver gets when a step has failed for good. */
function stepFailure(id: string, attempts: number, cause: unknown): unknown {
  if (cause instanceof DurableError) {
    if (cause.code === 'DURABLE_STEP_TIMEOUT') return new StepError(id, attempts, cause, 'DURABLE_STEP_TIMEOUT')
    // About how the step is written, and for whoever wrote it: the message says what to do.
    if (AS_THEMSELVES.has(cause.code)) return cause
  } else if (isGraphQLError(cause)) {
    return cause
  }
  return new StepError(id, attempts, cause)
}

/** `step.sendEvent`: a step that sends. What cannot be sent is refused before it begins. */
export function prepareSend(
  { options }: Engine,
  step: Step,
  event: EventInput | readonly EventInput[],
): (call: Call) => void {
  const events = readEvents(event, options)
  return (call) =>
    startRun(
      call,
      step,
      'SEND',
      async ({ idempotencyKey }) => {
        // The ids derive from the step, so that sending again after a crash is not another event.
        const withIds = events.map((each, index) => ({ ...each, id: each.id ?? `evt_${idempotencyKey}_${index}` }))
        return deposit(call.execution.engine, withIds)
      },
      { backoff: {} },
    )
}
