import { AsyncLocalStorage } from 'node:async_hooks'
import { createHash } from 'node:crypto'
import { judgeFailure } from '../core/backoff.ts'
import type { RetryPolicy, Verdict } from '../core/backoff.ts'
import type { Timer } from '../core/clock.ts'
import { decode, encode, encodeThrown, isGraphQLError } from '../core/codec.ts'
import { toMs } from '../core/duration.ts'
import { DurableError, messageOf, StepError } from '../core/errors.ts'
import type { DurableErrorCode } from '../core/errors.ts'
import type { EventRecord, OutcomeKind, OutcomeRecord } from '../store/store.ts'
import type { DurableEvent, EventInput, Step, StepAttempt, StepRunOptions, WaitForEventOptions } from '../types.ts'
import { sendEvents } from './events.ts'
import type { Execution } from './execution.ts'
import { resolveBackoff } from './options.ts'
import { assertNotInsideStep, assertStepId, surroundings } from './scope.ts'
import type { Scope } from './scope.ts'
import { toJson } from './waits.ts'

/** Who a field's tools work for. */
export interface ToolHost {
  /** The run's execution, which the first call makes. Null once the operation has been answered and is no run. */
  execution(): Execution | null
}

/** One call of a tool, under its key. */
interface Call {
  readonly execution: Execution
  readonly scope: Scope
  readonly id: string
  readonly key: string
  readonly startedAt: number
  /** Runs a function in the caller's own asynchronous context, also after a retry. */
  readonly inContext: <T>(run: () => T) => T
}

/** The tools, bound to a field. */
export function createStep(host: ToolHost, scope: Scope): Step {
  const step: Step = {
    run: (id, fn, options) =>
      // The outcome is what `fn` returned, in this life or in an earlier one (I11).
      call(
        host,
        scope,
        id,
        'RUN',
        (c) => startRun(c, step, 'RUN', fn, options),
        (value, outcome) => readRun(id, value, outcome) as never,
      ),
    sleep: (id, duration) =>
      call(
        host,
        scope,
        id,
        'SLEEP',
        (c) => startSleep(c, durationOf(id, duration)),
        () => {},
      ),
    sleepUntil: (id, date) =>
      call(
        host,
        scope,
        id,
        'SLEEP',
        (c) => startSleep(c, instantOf(id, date) - c.execution.clock.now()),
        () => {},
      ),
    waitForEvent: (id, options) =>
      call(
        host,
        scope,
        id,
        'EVENT',
        (c) => startWaitForEvent(c, options),
        (value, outcome) => readEvent(value, outcome) as never,
      ),
    sendEvent: (id, event) =>
      call(
        host,
        scope,
        id,
        'SEND',
        (c) => startSend(c, step, event),
        (value, outcome) => readRun(id, value, outcome) as { ids: string[] },
      ),
  }
  return step
}

/**
 * What every tool shares: a call gets a key, its promise is settled by the pump and by nothing else (I5, I12), and
 * what the journal has is not started again (I2).
 */
function call<T>(
  host: ToolHost,
  scope: Scope,
  id: string,
  kind: OutcomeKind,
  start: (call: Call) => void,
  read: (value: unknown, outcome: OutcomeRecord) => T,
): Promise<T> {
  let execution: Execution | null
  let turn: { number: number; loose: boolean }
  let key: string
  try {
    assertNotInsideStep(id)
    assertStepId(id)
    execution = host.execution()
    if (!execution) return new Promise(() => {})
    if (!isWithinCalls(execution)) return new Promise(() => {})
    turn = execution.pump.turn()
    key = scope.nextKey(id, turn)
  } catch (error) {
    return rejected(error)
  }
  const { outcomes, pump } = execution
  const promise = new Promise<T>((resolve, reject) => {
    if (execution.state === 'over') return execution.onCalledAfterEviction()
    if (execution.state === 'ending') return
    scope.opened(id, turn)
    pump.request(key, {
      scope,
      settle(outcome) {
        const value = decodeOutcome(execution, outcome)
        if (value === UNREADABLE) return
        scope.settled(id, turn)
        try {
          resolve(read(value, outcome))
        } catch (error) {
          // A failed step that nobody awaits is in the journal; it must not end the process.
          promise.catch(() => {})
          reject(error)
        }
      },
    })
    const known = outcomes.get(key)
    if (known) return assertSameKind(execution, known, kind)
    // Not before: a snapshot takes half as long as all the rest of a replayed call.
    const inContext = AsyncLocalStorage.snapshot()
    execution.whenLive(() => {
      try {
        start({ execution, scope, id, key, inContext, startedAt: execution.clock.now() })
      } catch (error) {
        scope.settled(id, turn)
        reject(error) // arguments that make no sense: nothing has begun
      }
    })
  })
  // A misuse that nobody awaits must not end the process.
  promise.catch(() => {})
  return promise
}

function rejected(reason: unknown): Promise<never> {
  const promise = Promise.reject(reason)
  promise.catch(() => {})
  return promise
}

const UNREADABLE = Symbol('unreadable')

/** What the journal has but cannot be read (a version that is newer wrote it, say) must not be thrown at user code (I12). */
function decodeOutcome(execution: Execution, outcome: OutcomeRecord): unknown {
  try {
    return decode(outcome.body)
  } catch (error) {
    const note = `The outcome of "${outcome.key}" cannot be read: ${messageOf(error)}`
    execution.fail('DURABLE_RESUME_FAILED', 'The operation could not be carried on.', note)
    return UNREADABLE
  }
}

/** Beyond the limit the run ends. No promise tells: code that catches and tries again would never give way (I12). */
function isWithinCalls(execution: Execution): boolean {
  const { maxSteps } = execution.engine.options
  if (++execution.calls <= maxSteps) return true
  execution.fail(
    'DURABLE_TOO_MANY_STEPS',
    `Expected at most limits.steps (${maxSteps}) steps in a run. Do more in one step, or split the operation.`,
  )
  return false
}

function assertSameKind(execution: Execution, known: OutcomeRecord, kind: OutcomeKind): void {
  if (known.kind === kind) return
  execution.fail(
    'DURABLE_NONDETERMINISM',
    'The code of this operation changed in a way that does not fit what the run has done.',
    `The journal has an outcome of kind ${known.kind} for "${known.key}", but the code asked for ${kind}.`,
  )
}

// ---- step.run

function startRun(
  call: Call,
  step: Step,
  kind: 'RUN' | 'SEND',
  fn: (attempt: StepAttempt) => unknown,
  options: StepRunOptions | undefined,
): void {
  if (typeof fn !== 'function') throw misused(call.id, 'a function as its second argument', typeof fn)
  const policy = runPolicy(call, options)
  const stored = call.execution.waits.storedAttempts(call.key)
  const attempt = (number: number): void => {
    runAttempt(call, step, fn, number, policy.timeoutMs, (thrown, value) => {
      if (thrown === null) return commitValue(call, kind, value, number)
      const verdict = judge(thrown.error, number, policy, call.execution)
      if (verdict !== 'final') return retryAfter(verdict.retryInMs, number)
      warnOfFailure(call, thrown.error, number)
      commit(call, kind, false, encodeThrown(thrown.error), number)
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
      onOver: () => call.execution.whenMayStart(() => attempt(attempts + 1)),
    })
  }
  if (stored) retryAfter(0, stored.attempts)
  else call.execution.whenMayStart(() => attempt(1))
}

/** What a step threw is kept from clients, and a StepError is masked by nobody: here is where it can be seen. */
function warnOfFailure({ execution, id, key }: Call, cause: unknown, attempts: number): void {
  if (isGraphQLError(cause)) return // made for clients, who are told
  execution.engine.options.warn(`Step "${id}" used up its attempts.`, {
    runId: execution.runId,
    step: key,
    attempts,
    cause,
  })
}

/** A `retryIf` that throws, or a RetryAfterError without a usable time, ends the step with the error it was asked about. */
function judge(error: unknown, attempt: number, policy: RetryPolicy, { clock }: Execution): Verdict {
  try {
    return judgeFailure(error, attempt, policy, clock)
  } catch {
    return 'final'
  }
}

interface RunPolicy extends RetryPolicy {
  readonly timeoutMs: number | null
}

function runPolicy({ execution, scope }: Call, options: StepRunOptions = {}): RunPolicy {
  const defaults = execution.engine.options
  return {
    retries: options.retries ?? scope.policy?.retries ?? defaults.retries,
    backoff: resolveBackoff(options.backoff, defaults.backoff),
    retryIf: options.retryIf ?? defaults.retryIf,
    timeoutMs: options.timeout === undefined ? (scope.policy?.timeoutMs ?? null) : toMs(options.timeout, 'timeout'),
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
    // A refused pass may have parked the run meanwhile: then it is claimed again first, or turns out to be lost.
    execution.whenLive(() => onEnd(thrown, value))
    release()
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
  execution.attempts.set(key, { abort, startedAt: execution.clock.now(), attempt: number })
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
  } catch (error) {
    return commit(call, kind, false, encodeThrown(error), attempts)
  }
  commit(call, kind, true, body, attempts)
}

function commit(call: Call, kind: OutcomeKind, ok: boolean, body: string, attempts: number, eventId?: string): void {
  const { execution, key, scope, startedAt } = call
  execution.commitOutcome({ key, kind, ok, body, attempts, eventId: eventId ?? null, startedAt }, scope.calls)
}

function readRun(id: string, value: unknown, outcome: OutcomeRecord): unknown {
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

// ---- step.sleep, step.sleepUntil

function startSleep(call: Call, forMs: number): void {
  const over = (): void => commit(call, 'SLEEP', true, encode(undefined), 1)
  if (forMs <= 0) return over()
  const { key, scope } = call
  call.execution.waits.add({ key, kind: 'SLEEP', scope, event: null, match: null, forMs, attempts: 0, onOver: over })
}

function durationOf(id: string, duration: number | string): number {
  try {
    return toMs(duration)
  } catch (error) {
    throw misused(id, 'a duration', error instanceof Error ? error.message : '')
  }
}

function instantOf(id: string, date: Date | number | string): number {
  const instant = new Date(date).getTime()
  if (Number.isNaN(instant)) throw misused(id, 'a valid date', String(date))
  return instant
}

// ---- step.waitForEvent, step.sendEvent

function startWaitForEvent(call: Call, options: WaitForEventOptions): void {
  const { execution, key, scope, id } = call
  const { event, match, timeout, signal } = options
  if (typeof event !== 'string' || event === '') throw misused(id, "the event's name", typeof event)
  const closed = (): void =>
    commit(call, 'EVENT', false, encodeThrown(new DOMException('The wait was closed.', 'AbortError')), 1)
  if (signal?.aborted) return closed()
  const onAbort = (): void => execution.whenLive(() => void (execution.waits.close(key) && closed()))
  signal?.addEventListener('abort', onAbort, { once: true })
  execution.waits.add({
    key,
    kind: 'EVENT',
    scope,
    event,
    match: match === undefined ? null : toJson(match, `the match of step "${id}"`),
    forMs: timeout === undefined ? null : durationOf(id, timeout),
    attempts: 0,
    onOver: (found) => {
      signal?.removeEventListener('abort', onAbort)
      commit(call, 'EVENT', true, encode(found && toEvent(found)), 1, found?.id)
    },
  })
}

function toEvent(record: EventRecord): DurableEvent {
  return {
    id: record.id,
    name: record.name,
    data: JSON.parse(record.data) as unknown,
    acceptedAt: new Date(record.acceptedAt),
  }
}

function readEvent(value: unknown, outcome: OutcomeRecord): unknown {
  if (outcome.ok) return value
  throw value
}

function startSend(call: Call, step: Step, event: EventInput | readonly EventInput[]): void {
  const events = Array.isArray(event) ? (event as readonly EventInput[]) : [event as EventInput]
  startRun(
    call,
    step,
    'SEND',
    async ({ idempotencyKey }) => {
      // The ids derive from the step, so that sending again after a crash is not another event.
      const withIds = events.map((each, index) => ({ ...each, id: each.id ?? `evt_${idempotencyKey}_${index}` }))
      return sendEvents(call.execution.engine, withIds)
    },
    undefined,
  )
}

function misused(id: string, expected: string, got: string): DurableError {
  return new DurableError('DURABLE_STEP_MISUSED', `Expected step "${id}" to get ${expected}, but it got ${got}.`)
}
