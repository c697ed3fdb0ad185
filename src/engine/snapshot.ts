import { decode } from '../core/codec.ts'
import { parseKey, responsePathOf } from '../core/keys.ts'
import { isEnded } from '../store/store.ts'
import type { OutcomeKind, OutcomeRecord, RunView, WaitRecord } from '../store/store.ts'
import { publicStatus } from '../types.ts'
import type { RunSnapshot, StepKind, StepSnapshot, WaitSnapshot } from '../types.ts'
import { retryAfterMs } from './deferred.ts'
import type { Execution } from './execution.ts'
import { decodeResult } from './result.ts'
import { visibleError } from './visible-error.ts'
import { toWaitSnapshot } from './wait.ts'
import type { Masking } from './visible-error.ts'

/** With whether its waits were read. */
const summaries = new WeakMap<RunSnapshot, boolean>()
const summaryOf = new WeakMap<RunView, RunSnapshot>()

/** Whether a snapshot was made without its steps and its result. */
export function isSummary(run: RunSnapshot): boolean {
  return summaries.has(run)
}

/** Whether what it waits for was read. */
export function hasWaits(run: RunSnapshot): boolean {
  return summaries.get(run) ?? true
}

/** A run without steps and result, and `withWaits` or not. Whoever shares a view shares its summary. */
export function toSummary(view: RunView, withWaits: boolean, execution: Execution | null = null): RunSnapshot {
  const known = summaryOf.get(view)
  if (known) return known
  const summary = { ...toSnapshot({ ...view, journal: null, result: null }, execution, null), steps: [] }
  summaries.set(summary, withWaits)
  summaryOf.set(view, summary)
  return summary
}

/**
 * A run as users and clients see it. `execution`: where this process is advancing it, for what is in flight. `host`: the
 * server whose masking decides what is seen of errors; null where there are none to be seen.
 */
export function toSnapshot(view: RunView, execution: Execution | null, host: Masking | null): RunSnapshot {
  const { run, at } = view
  const ended = isEnded(run.status)
  const waits = ended ? [] : view.waits.filter((wait) => !isOver(wait, at)).map((wait) => waitSnapshot(wait, execution))
  return {
    id: run.id,
    status: publicStatus(run.status),
    operationName: run.operationName,
    owner: run.owner,
    version: run.version,
    result: view.result === null ? null : (decodeResult(view.result).result as RunSnapshot['result']), // formatted errors
    waitingOn: waits,
    steps: [
      ...finishedSteps(view.journal ?? [], host),
      // An attempt under way may still have the wait for it in the store.
      ...(ended ? [] : view.waits.filter((wait) => !execution?.attempts.has(wait.key)).map(waitingStep)),
      ...(execution && !ended ? runningSteps(execution) : []),
    ].filter(onePerKey()),
    retryAfterMs: ended ? null : retryAfterMs(waits, at),
    createdAt: new Date(run.createdAt),
    updatedAt: new Date(run.updatedAt),
    endedAt: run.endedAt === null ? null : new Date(run.endedAt),
    note: run.note,
  }
}

/** A retry whose time has come is an attempt under way, and no wait any more. */
function isOver(wait: WaitRecord, at: number): boolean {
  return wait.kind === 'RETRY' && wait.until !== null && wait.until <= at
}

function waitSnapshot(wait: WaitRecord, execution: Execution | null): WaitSnapshot {
  return toWaitSnapshot(wait, execution?.waits.responsePathOf(wait.key) ?? responsePathOf(wait.key))
}

/** What the journal has besides steps and fields. */
const NO_STEPS: ReadonlySet<OutcomeKind> = new Set(['PASS', 'ANSWER'])

export function finishedSteps(journal: readonly OutcomeRecord[], host: Masking | null): StepSnapshot[] {
  return journal.filter(({ kind }) => !NO_STEPS.has(kind)).map((outcome) => finishedStep(outcome, host))
}

/** Outputs and errors are decoded for whoever looks at them: most look at the status. */
function finishedStep(outcome: OutcomeRecord, host: Masking | null): StepSnapshot {
  let seen: Pick<StepSnapshot, 'output' | 'error'> | null = null
  const read = (): Pick<StepSnapshot, 'output' | 'error'> => {
    const value = outcome.kind === 'FIELD' ? null : valueOf(outcome)
    return outcome.ok
      ? { output: value ?? null, error: null }
      : { output: null, error: visibleError(value, outcome.body, host) }
  }
  return {
    id: outcome.key,
    ...parseKey(outcome.key),
    kind: outcome.kind as StepKind, // what is none was left out
    status: outcome.ok ? 'COMPLETED' : 'FAILED',
    attempts: outcome.attempts,
    get output() {
      return (seen ??= read()).output
    },
    get error() {
      return (seen ??= read()).error
    },
    startedAt: new Date(outcome.committedAt - outcome.tookMs),
    endedAt: new Date(outcome.committedAt),
  }
}

/** What cannot be read (a version that is newer wrote it, say) must not hide the run from operators (I4). */
function valueOf({ body }: OutcomeRecord): unknown {
  try {
    return decode(body)
  } catch {
    return null
  }
}

function waitingStep(wait: WaitRecord): StepSnapshot {
  return {
    id: wait.key,
    ...parseKey(wait.key),
    kind: wait.kind === 'RETRY' ? 'RUN' : wait.kind === 'RUN' ? 'INVOKE' : wait.kind,
    status: 'WAITING',
    attempts: wait.attempts,
    output: null,
    error: null,
    startedAt: new Date(wait.since),
    endedAt: null,
  }
}

function runningSteps(execution: Execution): StepSnapshot[] {
  return [...execution.attempts].map(([key, { startedAt, attempt }]) => ({
    id: key,
    ...parseKey(key),
    kind: 'RUN' as const,
    status: 'RUNNING' as const,
    attempts: attempt,
    output: null,
    error: null,
    startedAt: new Date(execution.engine.storeNow() - (execution.clock.now() - startedAt)),
    endedAt: null,
  }))
}

function onePerKey(): (step: StepSnapshot) => boolean {
  const seen = new Set<string>()
  return ({ id }) => !seen.has(id) && Boolean(seen.add(id))
}
