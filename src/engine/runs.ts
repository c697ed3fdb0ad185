import { DurableError } from '../core/errors.ts'
import { toMs } from '../core/duration.ts'
import type { ListQuery, RunRecord, RunStatus as StoredStatus } from '../store/store.ts'
import type { ListFilter, ReadOptions, Runs, RunSnapshot } from '../types.ts'
import type { Engine } from './engine.ts'
import { encodeResult } from './result.ts'
import { toSnapshot, toSummary } from './snapshot.ts'

const DEFAULT_PAGE = 20
const MAX_PAGE = 100

/** `durable.runs` */
export function createRuns(engine: Engine): Runs {
  const get = async (id: string, { summary = false, waits = false }: ReadOptions = {}): Promise<RunSnapshot | null> => {
    if (summary) {
      const view = await (waits ? engine.reads.view(id) : engine.reads.row(id))
      return view && toSummary(view, waits)
    }
    const view = await engine.store.call((session) => session.read(id, { journal: true, result: true }))
    return view && toSnapshot(view, engine.find(id)?.run ?? null, engine.hosts.get(view.run.server))
  }

  return {
    get,

    async list(filter = {}, options = {}) {
      const query = toQuery(filter)
      // One more than asked for tells whether there is another page.
      const found = await engine.store.call((session) => session.list({ ...query, first: query.first + 1 }))
      const records = found.slice(0, query.first)
      const { summary = false, waits = false } = options
      // A row is all that such a summary needs.
      const views =
        summary && !waits ? records.map(summaryOf) : await Promise.all(records.map(({ id }) => get(id, options)))
      const last = records.at(-1)
      return {
        runs: views.filter((run) => run !== null),
        endCursor: last && found.length > records.length ? encodeCursor(last) : null,
      }
    },

    async wait(id, { timeout, signal, summary = false, waits = false } = {}) {
      const timeoutMs = timeout === undefined ? Infinity : toMs(timeout, 'timeout')
      return engine.waiters.until(id, { timeoutMs, signal }, (seen) => {
        if (seen === null) return null
        return seen === 'open' || !summary ? get(id, { summary, waits }) : toSummary(seen, true)
      })
    },

    async cancel(id, reason) {
      const message = reason ? `The operation was cancelled: ${reason}` : 'The operation was cancelled.'
      const error = new DurableError('DURABLE_RUN_CANCELLED', message, { extensions: { runId: id } })
      const found = await engine.cancel(id, reason, encodeResult({ data: null, errors: [error] }))
      const run = found ? await get(id) : null
      if (run) return run
      throw new DurableError('DURABLE_FORBIDDEN', `There is no run ${JSON.stringify(id)}.`)
    },

    delete: (id) => engine.store.call((session) => session.delete(id)),
  }
}

function toQuery({ first = DEFAULT_PAGE, after, status, operationName, owner }: ListFilter): ListQuery {
  if (!Number.isInteger(first) || first < 1) {
    throw new TypeError(`Expected first to be a whole number from 1, but got ${String(first)}.`)
  }
  return {
    first: Math.min(first, MAX_PAGE),
    ...(after !== undefined && { after: decodeCursor(after) }),
    ...(status !== undefined && { status: status.toLowerCase() as StoredStatus }), // the two unions differ in case only
    ...(operationName !== undefined && { operationName }),
    ...(owner !== undefined && { owner }),
  }
}

function summaryOf(run: RunRecord): RunSnapshot {
  return toSummary({ at: run.updatedAt, run, waits: [], journal: null, result: null, input: null }, false)
}

/** The place after a run, as `endCursor` names it. */
export function cursorOf(run: Pick<RunSnapshot, 'createdAt' | 'id'>): string {
  return encodeCursor({ createdAt: run.createdAt.getTime(), id: run.id })
}

function encodeCursor({ createdAt, id }: Pick<RunRecord, 'createdAt' | 'id'>): string {
  return Buffer.from(`${createdAt} ${id}`).toString('base64url')
}

function decodeCursor(cursor: string): { createdAt: number; id: string } {
  const [createdAt = '', id] = Buffer.from(cursor, 'base64url').toString().split(' ')
  if (id !== undefined && /^\d+$/.test(createdAt)) return { createdAt: Number(createdAt), id }
  throw new TypeError(`Expected after to be the endCursor of another page, but got ${JSON.stringify(cursor)}.`)
}
