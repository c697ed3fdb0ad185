import { AsyncLocalStorage } from 'node:async_hooks'
import { decode } from '../core/codec.ts'
import { DurableError, messageOf } from '../core/errors.ts'
import { Refusal } from '../core/refusals.ts'
import type { EventRecord, OutcomeKind, OutcomeRecord, WaitKind } from '../store/store.ts'
import type { Engine } from './engine.ts'
import type { Execution } from './execution.ts'
import { never } from './never.ts'
import { assertKeyFits, assertNotInsideStep, assertStepId } from './scope.ts'
import type { Scope } from './scope.ts'
import { onToolCalled } from './tool-promises.ts'

/** Who a field's tools work for. */
export interface ToolHost {
  readonly engine: Engine
  /** The run's execution, which the first call makes. Null once the operation has been answered and is no run. */
  execution(): Execution | null
  /** The operation has been answered, and was no run. */
  readonly isAnswered: boolean
}

/** One call of a tool, under its key. */
export interface Call {
  readonly execution: Execution
  readonly scope: Scope
  readonly id: string
  readonly key: string
  readonly startedAt: number
  /** Runs a function in the caller's own asynchronous context, also after a retry. */
  readonly inContext: <T>(run: () => T) => T
}

/**
 * What every tool shares: a call gets a key, its promise is settled by the pump and by nothing else (I5, I12), and
 * what the journal has is not started again (I2).
 *
 * `prepare` reads the arguments, and answers how to start. What makes no sense is refused by it, at once and in every
 * execution alike: such a call makes no run, takes no key and is not counted.
 */
export function call<T>(
  host: ToolHost,
  scope: Scope,
  id: string,
  kind: OutcomeKind,
  prepare: () => (call: Call) => void,
  read: (value: unknown, outcome: OutcomeRecord) => T,
): Promise<T> {
  let execution: Execution | null
  let turn: { number: number; loose: boolean }
  let key: string
  let start: (call: Call) => void
  try {
    assertNotInsideStep(id)
    assertStepId(id)
    assertKeyFits(scope, id)
    start = prepared(id, prepare)
    execution = host.execution()
    if (!execution) return host.isAnswered ? rejected(lateCall(host.engine, id, null)) : never()
    if (execution.state === 'over' || execution.state === 'ending') return onceEnded(execution, id)
    if (!isWithinCalls(execution)) return never()
    turn = execution.pump.turn()
    key = scope.nextKey(id, turn)
  } catch (error) {
    return rejected(error)
  }
  const { outcomes, pump } = execution
  const promise = new Promise<T>((resolve, reject) => {
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
    if (!isSameWait(execution, key, kind)) return
    if (HOLDING_THE_END.has(kind)) execution.unfinished.add(key)
    // Not before: a snapshot takes half as long as all the rest of a replayed call.
    const inContext = AsyncLocalStorage.snapshot()
    execution.whenLive(() => {
      const startedAt = execution.waits.storedStart(key) ?? execution.clock.now()
      start({ execution, scope, id, key, inContext, startedAt })
    })
  })
  onToolCalled(promise, key)
  return promise
}

/** @throws DurableError DURABLE_STEP_MISUSED */
function prepared(id: string, prepare: () => (call: Call) => void): (call: Call) => void {
  try {
    return prepare()
  } catch (error) {
    throw error instanceof Refusal ? misused(id, error) : error
  }
}

export function misused(id: string, { message }: Refusal, cause?: unknown): DurableError {
  return new DurableError('DURABLE_STEP_MISUSED', `The arguments of step "${id}" make no sense. ${message}`, { cause })
}

/** Kinds of steps that a run ends after. */
const HOLDING_THE_END: ReadonlySet<OutcomeKind> = new Set(['RUN', 'SEND'])

/** Of a call that comes when nothing starts any more: rejected if the run comes to its end here, else never settled (I12). */
function onceEnded(execution: Execution, id: string): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>()
  promise.catch(() => {})
  execution.onLateCall(() => reject(lateCall(execution.engine, id, execution.runId)))
  return promise
}

/** Nobody may be there to see the promise reject, and without a word the step would just be missing (I4). */
function lateCall({ options }: Engine, id: string, runId: string | null): DurableError {
  const message = `Step "${id}" was called after its operation had been answered${runId === null ? '' : ' and its run had ended'}. Expected it before: await what calls it, or return its promise.`
  options.warn(message, { step: id, ...(runId !== null && { runId }) })
  return new DurableError('DURABLE_STEP_MISUSED', message)
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
    execution.failToGoOn(note)
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

function assertSameKind(execution: Execution, known: Pick<OutcomeRecord, 'key' | 'kind'>, kind: OutcomeKind): void {
  if (known.kind === kind) return
  failAsChanged(
    execution,
    `The journal has an outcome of kind ${known.kind} for "${known.key}", but the code asked for ${kind}.`,
  )
}

function failAsChanged(execution: Execution, note: string): void {
  const message = 'The code of this operation changed in a way that does not fit what the run has done.'
  execution.fail('DURABLE_NONDETERMINISM', message, note)
}

/** What the outcomes of tools are whose waits are of that kind. */
const OUTCOMES: Readonly<Record<WaitKind, readonly OutcomeKind[]>> = {
  SLEEP: ['SLEEP'],
  EVENT: ['EVENT'],
  CALLBACK: ['CALLBACK'],
  RUN: ['INVOKE'],
  RETRY: ['RUN', 'SEND'],
}

/** What has not come to its end yet is as little to be taken for something else as what has. */
function isSameWait(execution: Execution, key: string, kind: OutcomeKind): boolean {
  const waiting = execution.waits.storedKind(key)
  if (waiting === null || OUTCOMES[waiting].includes(kind)) return true
  failAsChanged(execution, `The run waits at "${key}" for the end of a ${waiting}, but the code asked for ${kind}.`)
  return false
}

/** What came of the call, for the run's next commit. */
export function commit(
  call: Call,
  kind: OutcomeKind,
  ok: boolean,
  body: string,
  attempts: number,
  event: EventRecord | null = null,
): void {
  const { execution, key, scope, startedAt } = call
  const consumed = { eventId: event?.id ?? null, eventName: event?.name ?? null }
  execution.commitOutcome({ key, kind, ok, body, attempts, ...consumed, startedAt }, scope)
}
