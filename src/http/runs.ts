import { createAccess } from '../../schema/access.ts'
import { DurableError, messageOf } from '../core/errors.ts'
import { show } from '../core/refusals.ts'
import { isRunId } from '../core/run-id.ts'
import type { Engine } from '../engine/engine.ts'
import { formatWait } from '../engine/deferred.ts'
import { decodeResult } from '../engine/result.ts'
import type { StoredResult } from '../engine/result.ts'
import type { DurableOptions, Runs, RunSnapshot } from '../types.ts'

export interface RunRequestServices {
  readonly engine: Engine
  readonly runs: Runs
  readonly options: DurableOptions
}

const NO_STORE = { 'cache-control': 'no-store' }

/**
 * `GET {path}/{runId}?wait=30`: the operation's own response once it has ended, 202 and `Retry-After` before. A run
 * that does not exist and one that the caller may not see are both 404 (I9); where the store is away it is 503.
 */
export async function handleRunRequest(
  services: RunRequestServices,
  request: Request,
  context: unknown,
): Promise<Response> {
  const response = await answered(services, request, context)
  return request.method === 'HEAD' ? new Response(null, response) : response
}

async function answered(services: RunRequestServices, request: Request, context: unknown): Promise<Response> {
  try {
    return await answer(services, request, context)
  } catch (error) {
    if (DurableError.is(error) && error.code === 'DURABLE_TOO_MANY_WAITERS') return busy(error)
    // Whatever it was is for the log: nothing of it is for clients, whose server might show them a stack (I9).
    services.engine.options.warn('A request for a run could not be answered.', { reason: messageOf(error) })
    if (!DurableError.is(error) || error.code !== 'DURABLE_STORE_UNAVAILABLE') return problem(500, 'Unexpected error.')
    return busy(error)
  }
}

async function answer(
  { engine, runs, options }: RunRequestServices,
  request: Request,
  context: unknown,
): Promise<Response> {
  const url = new URL(request.url, 'http://localhost')
  const id = runIdIn(url.pathname, engine.options.path)
  if (id === null) return problem(404, 'There is nothing here.')
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return problem(405, `Expected GET or HEAD, but got ${request.method}.`, { allow: 'GET, HEAD' })
  }
  const waitMs = waitIn(url)
  if (waitMs === null) {
    const message = `Expected wait to be a number of seconds from 0, but got ${show(url.searchParams.get('wait'))}.`
    return problem(400, message, {}, { code: 'BAD_USER_INPUT' })
  }
  if (!isRunId(id)) return problem(404, 'There is no such run.')
  const access = createAccess(options)
  const visible = await access.findRun(runs, id, context)
  if (!visible) return problem(404, 'There is no such run.')
  const timeout = Math.min(waitMs, engine.options.maxHoldMs)
  const run = visible.endedAt
    ? visible
    : await runs.wait(id, { timeout, signal: request.signal, summary: true, waits: true })
  if (!run || !(await access.canRead(run, context))) return problem(404, 'There is no such run.')
  if (!run.endedAt) return pending(run)
  const stored = await engine.reads.result(id, run)
  return stored === null ? problem(404, 'There is no such run.') : finished(decodeResult(stored))
}

/** The id in `{path}/{id}`, or null where the path is another. */
export function runIdIn(pathname: string, path: string | null): string | null {
  if (path === null || !pathname.startsWith(`${path}/`)) return null
  const id = pathname.slice(path.length + 1)
  return id === '' || id.includes('/') ? null : decodeId(id)
}

function decodeId(id: string): string {
  try {
    return decodeURIComponent(id)
  } catch {
    return id
  }
}

function waitIn(url: URL): number | null {
  const wait = url.searchParams.get('wait')
  if (wait === null) return 0
  const ms = /^\d+(\.\d+)?$/.test(wait) ? Number(wait) * 1000 : Infinity
  return ms < Infinity ? ms : null
}

function finished({ result, http }: StoredResult): Response {
  return Response.json(result, {
    status: http?.status ?? 200,
    headers: { ...http?.headers, ...NO_STORE, 'content-type': 'application/json; charset=utf-8' },
  })
}

function pending(run: RunSnapshot): Response {
  const retryAfterMs = run.retryAfterMs ?? 1000
  const { id: runId, status, waitingOn } = run
  const body = {
    data: null,
    errors: [{ message: 'The operation is still running.', extensions: { code: 'DURABLE_DEFERRED', runId } }],
    extensions: { runId, durable: { status, retryAfterMs, waitingOn: waitingOn.map(formatWait) } },
  }
  return Response.json(body, { status: 202, headers: { ...NO_STORE, 'retry-after': retryAfterSeconds(retryAfterMs) } })
}

/** The header counts whole seconds. */
export function retryAfterSeconds(ms: number): string {
  return String(Math.max(1, Math.ceil(ms / 1000)))
}

function busy({ message, code }: DurableError): Response {
  return problem(503, message, { 'retry-after': '1' }, { code })
}

function problem(
  status: number,
  message: string,
  headers: Record<string, string> = {},
  extensions?: Record<string, unknown>,
): Response {
  const error = { message, ...(extensions && { extensions }) }
  return Response.json({ errors: [error] }, { status, headers: { ...NO_STORE, ...headers } })
}
