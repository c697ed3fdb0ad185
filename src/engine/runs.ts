import { checkAll, isBoolean, isDuration, isSignal } from '../core/checks.ts'
import type { Checks } from '../core/checks.ts'
import { DurableError } from '../core/errors.ts'
import { toMs } from '../core/duration.ts'
import { MAX_BYTES } from '../core/limits.ts'
import { assertWithin, count, readInput, Refusal, show, someText } from '../core/refusals.ts'
import { isRunId } from '../core/run-id.ts'
import { JOURNAL_PAGE } from '../store/store.ts'
import type { RunRecord } from '../store/store.ts'
import type { ReadOptions, Runs, RunSnapshot, StepPage, WaitOptions } from '../types.ts'
import type { Engine } from './engine.ts'
import { encodeCursor, toQuery } from './list-query.ts'
import { toSnapshot, toSummary } from './snapshot.ts'
import { withAllSteps, withStepsOf } from './step-pages.ts'

const STEPS: Checks<StepPage> = {
  first: (value, name) => void count(value, name, 1),
  after: (value, name) => void someText(value, name),
}
const READ: Checks<ReadOptions> = {
  summary: isBoolean,
  waits: isBoolean,
  steps: (value, name) => {
    if (typeof value !== 'boolean') checkAll(value, STEPS, name, (key) => `${name}.${key}`, 'true, false or an object')
  },
}
const WAIT: Checks<WaitOptions> = { timeout: isDuration, signal: isSignal, ...READ }

/** `durable.runs` */
export function createRuns(engine: Engine): Runs {
  const get = async (id: string, options: ReadOptions = {}): Promise<RunSnapshot | null> => {
    const { summary = false, waits = false, steps = true } = readOptions(options, READ)
    if (!isRunId(id)) return null
    if (summary) {
      const view = await (waits ? engine.reads.view(id) : engine.reads.row(id))
      return view && toSummary(view, waits, engine.find(id)?.run ?? null)
    }
    const journal = steps !== false && { from: 0, limit: JOURNAL_PAGE }
    const view = await engine.store.read((session) => session.read(id, { journal, result: true }))
    if (!view) return null
    const run = toSnapshot(view, engine.find(id)?.run ?? null, engine.hosts.get(view.run.server))
    if (steps === false) return { ...run, steps: [] }
    return steps === true ? withAllSteps(engine, view, run) : withStepsOf(engine, view, run, steps)
  }

  return {
    get,

    async list(filter = {}, options = {}) {
      const query = toQuery(filter)
      const how = readOptions(options, READ)
      // One more than asked for tells whether there is another page.
      const found = await engine.store.read((session) => session.list({ ...query, first: query.first + 1 }))
      const records = found.slice(0, query.first)
      const { summary = false, waits = false } = how
      // A row is all that such a summary needs.
      const views =
        summary && !waits ? records.map(summaryOf) : await Promise.all(records.map(({ id }) => get(id, how)))
      const last = records.at(-1)
      return {
        runs: views.filter((run) => run !== null),
        endCursor: last && found.length > records.length ? encodeCursor(last) : null,
      }
    },

    async wait(id, options = {}) {
      const { timeout, signal, ...how } = readOptions(options, WAIT)
      const timeoutMs = timeout === undefined ? Infinity : toMs(timeout, 'timeout')
      if (!isRunId(id)) return null
      return engine.waiters.until(id, { timeoutMs, signal }, (seen) => {
        if (seen === null) return null
        return seen === 'open' || !how.summary ? get(id, how) : toSummary(seen, true)
      })
    },

    async cancel(id, reason) {
      assertReason(reason)
      const found = isRunId(id) && (await engine.cancel(id, reason))
      const run = found ? await get(id) : null
      if (run) return run
      throw new DurableError('DURABLE_FORBIDDEN', `There is no run ${show(id)}.`)
    },

    delete: async (id) => isRunId(id) && engine.store.call((session) => session.delete(id)),
  }
}

/** @throws GraphQLError BAD_USER_INPUT: pages and times often come from clients */
function readOptions<T>(options: T, checks: Checks<T>): T {
  readInput(() => checkAll(options, checks, 'the options'))
  return options
}

function summaryOf(run: RunRecord): RunSnapshot {
  return toSummary({ at: run.updatedAt, run, waits: [], journal: null, result: null, input: null }, false)
}

function assertReason(reason: unknown): void {
  if (reason === undefined) return
  const text = readInput(() => {
    if (typeof reason === 'string') return reason
    throw new Refusal(`Expected reason to be a text, but got ${show(reason)}.`)
  })
  assertWithin(text, MAX_BYTES.reason, 'the reason of a cancellation')
}
