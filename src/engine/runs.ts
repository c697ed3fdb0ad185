import { DurableError } from '../core/errors.ts'
import { toMs } from '../core/duration.ts'
import { isEnded } from '../store/store.ts'
import type { ListQuery, RunRecord, RunStatus as StoredStatus } from '../store/store.ts'
import type { ListFilter, ReadOptions, Runs, RunSnapshot } from '../types.ts'
import type { Engine } from './engine.ts'
import { encodeResult } from './result.ts'
import { toSnapshot, toSummary } from './snapshot.ts'

/** Hints may be lost, and other processes give none: whoever waits looks for itself this often. */
const WAIT_POLL_MS = 1000
const DEFAULT_PAGE = 20
const MAX_PAGE = 100

/** `durable.runs` */
export function createRuns(engine: Engine): Runs {
  const get = async (id: string, { summary = false }: ReadOptions = {}): Promise<RunSnapshot | null> => {
    const parts = summary ? {} : { journal: true, result: true }
    const view = await engine.store.call((session) => session.read(id, parts))
    if (!view) return null
    return summary ? toSummary(view) : toSnapshot(view, engine.find(id)?.run ?? null)
  }

  return {
    get,

    async list(filter = {}, options = {}) {
      const query = toQuery(filter)
      // One more than asked for tells whether there is another page.
      const found = await engine.store.call((session) => session.list({ ...query, first: query.first + 1 }))
      const records = found.slice(0, query.first)
      const views = await Promise.all(records.map(({ id }) => get(id, options)))
      const last = records.at(-1)
      return {
        runs: views.filter((run) => run !== null),
        endCursor: last && found.length > records.length ? encodeCursor(last) : null,
      }
    },

    async wait(id, { timeout, signal, summary = false } = {}) {
      const giveUpAt = timeout === undefined ? Infinity : engine.clock.now() + toMs(timeout, 'timeout')
      for (;;) {
        const changed = untilChanged(engine, id)
        try {
          const view = await engine.store.call((session) => session.read(id))
          if (!view) return null
          if (isEnded(view.run.status)) return await get(id, { summary })
          await engine.carryOnIfDue(id)
          const leftMs = giveUpAt - engine.clock.now()
          if (leftMs <= 0 || signal?.aborted || engine.closing) return await get(id, { summary })
          await changed.orAfter(Math.min(leftMs, WAIT_POLL_MS), signal)
        } finally {
          changed.stop()
        }
      }
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

export interface Change {
  orAfter(ms: number, signal: AbortSignal | undefined): Promise<void>
  stop(): void
}

/** Listens from now on, so that a change between a look and the wait is not missed. */
export function untilChanged(engine: Engine, id: string): Change {
  let notify = (): void => {}
  const changed = new Promise<void>((resolve) => (notify = resolve))
  const stop = engine.onChange((runId) => {
    if (runId === null || runId === id) notify()
  })
  return {
    stop,
    async orAfter(ms, signal) {
      const timer = engine.clock.setTimeout(notify, ms)
      signal?.addEventListener('abort', notify, { once: true })
      await changed
      timer.cancel()
      signal?.removeEventListener('abort', notify)
    },
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
