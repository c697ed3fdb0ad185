import { toMs } from '../src/core/duration.ts'
import { badInput } from '../src/core/refusals.ts'
import type { CursorSeal } from '../src/engine/cursor-seal.ts'
import { nextTurn } from '../src/engine/scheduler.ts'
import { hasWaits, isSummary } from '../src/engine/snapshot.ts'
import type { Durable, DurableOptions, ListFilter, RunSnapshot, RunStatus, StepSnapshot } from '../src/types.ts'
import { createAccess } from './access.ts'
import type { AccessOptions } from './access.ts'
import { listRuns } from './connection.ts'
import type { RunConnection } from './connection.ts'
import { toJson } from './json.ts'

export interface ResolversConfig {
  readonly durable: Pick<Durable, 'runs' | 'send'>
  readonly options: AccessOptions<unknown> & Pick<DurableOptions, 'maxHold'>
  /** How `durable.runs.list` names the place after a run: its `endCursor` if that run was the page's last. */
  readonly cursorOf: (run: RunSnapshot) => string
  /** What clients' cursors are sealed with. */
  readonly cursorSeal: () => Promise<CursorSeal>
}

/** By type and field, as they are called without a prefix. Fields that are not here take the property of their name. */
export interface DurableResolvers {
  readonly Query: {
    durableRun(source: unknown, args: RunArguments, context: unknown): Promise<RunSnapshot | null>
    durableRuns(source: unknown, args: RunsArguments, context: unknown): Promise<RunConnection>
  }
  readonly Mutation: {
    cancelDurableRun(source: unknown, args: CancelArguments, context: unknown): Promise<RunSnapshot>
    sendDurableEvent(source: unknown, args: SendArguments, context: unknown): Promise<string>
  }
  readonly DurableRun: {
    data(run: RunSnapshot): unknown
    errors(run: RunSnapshot): unknown
    result(run: RunSnapshot): unknown
    steps(run: RunSnapshot): unknown
    waitingOn(run: RunSnapshot): unknown
    retryAfterMs(run: RunSnapshot): unknown
  }
  readonly DurableStep: {
    output(step: StepSnapshot): unknown
    error(step: StepSnapshot): unknown
  }
}

export interface RunArguments {
  readonly id: string
  readonly wait?: number | null
}

export interface RunsArguments {
  readonly status?: RunStatus | null
  readonly operationName?: string | null
  readonly first?: number | null
  readonly after?: string | null
}

export interface CancelArguments {
  readonly id: string
  readonly reason?: string | null
}

export interface SendArguments {
  readonly name: string
  readonly data?: unknown
  readonly id?: string | null
}

/** What `ListFilter.first` allows. */
const MAX_PAGE = 100

export function createResolvers({ durable, options, cursorOf, cursorSeal }: ResolversConfig): DurableResolvers {
  const access = createAccess(options)
  const maxHoldMs = toMs(options.maxHold ?? '5m', 'maxHold')

  const loaded = new WeakMap<RunSnapshot, Promise<RunSnapshot | null>>()

  /** With steps and result, which are read only where a client asks for them. */
  async function whole(run: RunSnapshot): Promise<RunSnapshot> {
    if (!isSummary(run)) return run
    const loading = loaded.get(run) ?? durable.runs.get(run.id)
    loaded.set(run, loading)
    return (await loading) ?? run
  }

  const ends = new WeakMap<RunSnapshot, Promise<RunSnapshot | null>>()

  /** With its result, and not what it has done: that may be a hundred thousand steps. */
  async function withResult(run: RunSnapshot): Promise<RunSnapshot> {
    if (!isSummary(run)) return run
    const loading = ends.get(run) ?? loaded.get(run) ?? durable.runs.get(run.id, { steps: false })
    ends.set(run, loading)
    return (await loading) ?? run
  }

  const waiting = new WeakMap<RunSnapshot, Promise<RunSnapshot | null>>()

  /** With what it waits for, likewise. */
  async function withWaits(run: RunSnapshot): Promise<RunSnapshot> {
    if (hasWaits(run)) return run
    const loading = waiting.get(run) ?? loaded.get(run) ?? durable.runs.get(run.id, { summary: true, waits: true })
    waiting.set(run, loading)
    return (await loading) ?? run
  }

  return {
    Query: {
      async durableRun(_source, { id, wait }, context) {
        const seconds = atLeast(0, wait ?? 0, 'durableRun(wait:)')
        const run = await access.findRun(durable.runs, id, context)
        if (run === null || run.endedAt !== null) return run
        // With no time to wait as well: this is what resumes the run. Only a visible one gets here, so the time it
        // takes tells nothing to those who may not see it.
        const signal = signalOf(context)
        const timeout = Math.min(seconds * 1000, maxHoldMs)
        const later = await durable.runs.wait(id, { timeout, ...(signal && { signal }), summary: true, waits: true })
        return later !== null && (await access.canRead(later, context)) ? later : null
      },

      async durableRuns(_source, { status, operationName, first, after }, context) {
        const size = Math.min(MAX_PAGE, atLeast(1, first ?? 20, 'durableRuns(first:)'))
        const scope = await access.listScope(context)
        const cursors = await cursorSeal()
        const filter: ListFilter = {
          ...scope,
          ...(isGiven(status) && { status }),
          ...(isGiven(operationName) && { operationName }),
          ...(isGiven(after) && { after: cursors.open(after) ?? refuseCursor() }),
        }
        return listRuns({
          runs: durable.runs,
          filter,
          size,
          cursorOf,
          cursors,
          isVisible: (run) => access.canRead(run, context),
        })
      },
    },

    Mutation: {
      async cancelDurableRun(_source, { id, reason }, context) {
        await access.findRunToCancel(durable.runs, id, context)
        return durable.runs.cancel(id, reason ?? undefined)
      },

      async sendDurableEvent(_source, { name, data, id }, context) {
        await access.assertMaySend(context)
        const event = { name, ...(data !== undefined && { data }), ...(isGiven(id) && { id }) }
        const { ids } = await durable.send(event)
        return ids[0] ?? bug('durable.send answered no id')
      },
    },

    // In JSON before they reach the scalar: the executor throws what a resolver returns as an Error, and refuses a scalar
    // that makes null of something, as JSON does of NaN.
    DurableRun: {
      data: async (run) => (await withResult(run)).result?.data ?? null,
      errors: async (run) => toJson((await withResult(run)).result?.errors),
      result: async (run) => (await withResult(run)).result,
      steps: async (run) => inTurns((await whole(run)).steps),
      waitingOn: async (run) => (await withWaits(run)).waitingOn,
      retryAfterMs: async (run) => (await withWaits(run)).retryAfterMs,
    },

    DurableStep: {
      output: (step) => toJson(step.output),
      error: (step) => toJson(step.error),
    },
  }
}

/** More than that are given to the executor by and by, so that others have their turn. */
const MANY = 500

function inTurns<T>(items: readonly T[]): readonly T[] | AsyncIterable<T> {
  return items.length <= MANY ? items : byAndBy(items)
}

async function* byAndBy<T>(items: readonly T[]): AsyncGenerator<T> {
  for (const [at, item] of items.entries()) {
    if (at > 0 && at % MANY === 0) await nextTurn()
    yield item
  }
}

function atLeast(minimum: number, value: number, what: string): number {
  if (value >= minimum) return value
  throw badInput(`Expected ${what} to be ${minimum} or more, but got ${value}.`)
}

function refuseCursor(): never {
  throw badInput('Expected durableRuns(after:) to be the endCursor of another page, but got something else.')
}

function isGiven<T>(value: T | null | undefined): value is T {
  return value !== null && value !== undefined
}

/** Of the HTTP request, where the server keeps it in the context: a client that goes away ends its wait. */
function signalOf(context: unknown): AbortSignal | undefined {
  if (typeof context !== 'object' || context === null || !('request' in context)) return undefined
  const { request } = context
  if (typeof request !== 'object' || request === null || !('signal' in request)) return undefined
  return request.signal instanceof AbortSignal ? request.signal : undefined
}

function bug(what: string): never {
  throw new Error(`${what}. Please report this as a bug of graphql-durable.`)
}
