import type { Plugin, YogaServer } from 'graphql-yoga'
import { GraphQLError } from 'graphql'
import type { ExecutionResult, GraphQLErrorExtensions } from 'graphql'
import { createDurable, internalsOf, isDurable } from '../src/durable.ts'
import { checkAll, isFunction } from '../src/core/checks.ts'
import type { Checks } from '../src/core/checks.ts'
import type { Operation } from '../src/engine/operation.ts'
import { asSent } from '../src/core/extensions.ts'
import { responseInitOf } from '../src/engine/response-init.ts'
import { decodeResult, encodeResult } from '../src/engine/result.ts'
import { retryAfterSeconds, runIdIn } from '../src/http/runs.ts'
import type { Durable, DurableOptions } from '../src/types.ts'
import { durablePlugin } from './envelop.ts'
import { lastHooks, throughHooks } from './yoga-hooks.ts'
import { assertServerName, createEnvelopHost } from './envelop-host.ts'
import type { ExecutionArgsOption, GetEnveloped } from './envelop-host.ts'
import { NOTE_POSITIONS, positionInBatch } from './yoga-batch.ts'

type Yoga = YogaServer<Record<string, unknown>, Record<string, unknown>>

export interface YogaPluginOptions {
  /**
   * Which server a run belongs to, when several share one durable or one store. Default 'default'. Keep it over deploys:
   * only a server of the run's name carries it on.
   */
  readonly name?: string
  /** Background passes begin once this has resolved. Default: once the schema is there. */
  readonly ready?: () => Promise<void>
  /**
   * What your server passes to `execute` beside the operation, its variables and its context: `rootValue`,
   * `fieldResolver`, `typeResolver`. Made again for a pass in a process that has not seen the request, from what
   * `context.capture` kept. Without it, an operation that was called with such fails at its first wait.
   */
  readonly executionArgs?: ExecutionArgsOption
}

const OPTIONS: Checks<YogaPluginOptions> = { name: assertServerName, ready: isFunction, executionArgs: isFunction }

/**
 * The Yoga plugin: `createYoga({ schema, plugins: [useDurable({ store: sqliteStore('runs.db') })] })`.
 *
 * Given options, it makes a durable of its own and closes it when the server is disposed; given a durable, it leaves
 * that to whoever made it. Register it after plugins that decide whether an operation may be executed.
 */
export function useDurable<Context = any, Captured = unknown>(
  durable: Durable<Context> | DurableOptions<Context, Captured> = {},
  options: YogaPluginOptions = {},
): Plugin {
  checkAll(options, OPTIONS, 'the second argument of useDurable')
  const own = isDurable(durable) ? null : createDurable(durable as DurableOptions)
  const instance = own ?? (durable as Durable)
  const { engine } = internalsOf(instance)
  let yoga: Yoga | null = null
  let setReady = (): void => {}
  const initialised = new Promise<void>((resolve) => (setReady = resolve))

  const host = createEnvelopHost(engine, {
    name: options.name ?? 'default',
    executionArgs: options.executionArgs,
    ready: () => initialised.then(() => options.ready?.()),
    getEnveloped: () => serverOf(yoga).getEnveloped as unknown as GetEnveloped, // its context type is the server's own
    positionInBatch,
    prepare: (request, operation, initial) => prepare(serverOf(yoga), request, operation, initial),
    finish: (result, context, operation) => throughHooks(pluginsOf(serverOf(yoga)), result, context, operation),
    deliversLater: isHttp,
    mask: (error) => maskOf(serverOf(yoga), error),
  })

  return {
    onPluginInit({ addPlugin, plugins }) {
      addPlugin(durablePlugin(instance, engine, host) as object) // an Envelop plugin is a Yoga plugin without HTTP hooks
      plugins.push(lastHooks(withHttp) as object)
    },
    onYogaInit({ yoga: server }) {
      yoga = server as unknown as Yoga // the plugin does not know the server's context
      setReady()
    },
    onRequestParse: () => NOTE_POSITIONS,
    onRequest({ request, url, serverContext, endResponse }) {
      const { path } = engine.options
      // The text first: the URL is parsed when it is looked at (I8).
      if (path === null || !request.url.includes(path) || runIdIn(url.pathname, path) === null) return undefined
      return serveRun(serverOf(yoga), instance, request, serverContext).then(endResponse)
    },
    ...(own && { onDispose: () => own.close() }),
  }
}

/** After masking and everything else: a deferred answer gets status, headers and entries as the README has them. */
function withHttp(operation: Operation, result: ExecutionResult): ExecutionResult {
  if (!operation.deferring || !result.extensions?.['runId']) return result
  const { runId, durable, http, ...extensions } = result.extensions as {
    runId: string
    durable: { retryAfterMs: number }
    http?: unknown
  }
  const { path } = operation.engine.options
  const isPending = operation.endStatus === null
  const headers = {
    // What no response can have must not cost the client the run's id.
    ...responseInitOf({ extensions: { http } })?.headers,
    'cache-control': 'no-store',
    ...(path !== null && { location: `${path}/${runId}` }),
    ...(isPending && { 'retry-after': retryAfterSeconds(durable.retryAfterMs) }),
  }
  return {
    ...result,
    // A field that has failed may have a status in mind for the whole response, which it is not yet.
    ...(isPending && result.errors && { errors: result.errors.map(withoutStatus) }),
    extensions: {
      ...extensions,
      runId,
      durable,
      http: { ...(isPending && { status: wantsEvents(operation.context) ? 200 : 202 }), headers },
    },
  }
}

/** What Yoga answers with as JSON or in parts, where the client takes that as well. */
const OTHER_FORMS = new Set([
  '*/*',
  'application/*',
  'application/json',
  'application/graphql-response+json',
  'multipart/*',
  'multipart/mixed',
])

/** Whether the answer is a stream of events: an EventSource takes no status but 200, and would try again for ever. */
function wantsEvents(context: unknown): boolean {
  const { request } = context as { request?: Request } // Yoga's context is an object
  const accept = request?.headers.get('accept')
  if (!accept || !/text\//i.test(accept)) return false
  const types = accept.split(',').map((type) => type.split(';')[0]?.trim().toLowerCase() ?? '')
  const takesEvents = types.includes('text/event-stream') || types.includes('text/*')
  return takesEvents && !types.some((type) => OTHER_FORMS.has(type))
}

function withoutStatus(error: GraphQLError): GraphQLError {
  if (error.extensions?.['http'] === undefined) return error
  const { http: _http, ...extensions } = asSent(error.extensions) as GraphQLErrorExtensions // of the same error
  const { message, path, nodes = null, source = null, positions = null, originalError = null } = error
  return new GraphQLError(message, { path: path ?? null, nodes, source, positions, originalError, extensions })
}

/**
 * What Yoga does with a request before it executes: schemas that are factories or promises are resolved while a request
 * is parsed, and plugins prepare what they need later when they see its parameters. What they say against the
 * operation there is not heard: it was admitted when it came.
 */
async function prepare(
  yoga: Yoga,
  request: Request,
  operation: Operation,
  initial: Record<string, unknown>,
): Promise<void> {
  const { input } = operation
  await yoga.parseRequest(request, initial as never)
  const params = {
    query: input?.document ?? '',
    variables: { ...input?.variables },
    ...(input?.operationName && { operationName: input.operationName }),
    extensions: {},
  }
  Object.assign(initial, { params })
  for (const plugin of pluginsOf(yoga)) {
    await operation.untilLive()
    try {
      await plugin.onParams?.({
        params,
        request,
        context: initial as never,
        fetchAPI: yoga.fetchAPI,
        setParams: () => {},
        setResult: () => {},
        paramsHandler: () => ({}) as never,
        setParamsHandler: () => {},
      })
    } catch {
      // A refusal of documents that clients may not send.
    }
  }
}

/** Yoga's HTTP handler puts both into the context. What asks `yoga.getEnveloped` for an execution has no such hooks. */
function isHttp(context: unknown): boolean {
  return typeof context === 'object' && context !== null && 'params' in context && 'request' in context
}

/** What Yoga masks a field's error with, `maskError` among the server's options included. */
function maskOf(yoga: Yoga, error: GraphQLError): unknown {
  interface Masking {
    readonly errorMessage: string
    readonly maskError: (error: unknown, message: string) => unknown
  }
  // Private to TypeScript alone; null where the server masks nothing.
  const masking = (yoga as unknown as { maskedErrorsOpts: Masking | null }).maskedErrorsOpts
  return masking ? masking.maskError(error, masking.errorMessage) : error
}

function pluginsOf(yoga: Yoga): Plugin[] {
  // Envelop's own list, plugins that plugins added included.
  // oxlint-disable-next-line no-underscore-dangle -- Envelop names it so
  return (yoga.getEnveloped as unknown as { _plugins: Plugin[] })._plugins
}

async function serveRun(yoga: Yoga, durable: Durable, request: Request, serverContext: object): Promise<Response> {
  const { engine } = internalsOf(durable)
  const isOpen = !engine.options.owner && !internalsOf(durable).options.authorize
  if (isOpen || (request.method !== 'GET' && request.method !== 'HEAD')) return durable.fetch(request)
  // Whose run it is, is decided with the context that an operation of this request would have.
  const asked = request.method === 'HEAD' ? asGet(yoga, request) : request
  const initial = Object.assign(Object.create(serverContext), { request: asked, params: {} }) as Record<string, unknown>
  let context: unknown
  try {
    await yoga.parseRequest(asked, initial as never)
    context = await (yoga.getEnveloped as unknown as GetEnveloped)(initial).contextFactory()
  } catch (error) {
    return refusal(error)
  }
  return durable.fetch(request, context)
}

/** Yoga takes no operation by HEAD, and who it is that asks is the same. */
function asGet(yoga: Yoga, { url, headers, signal }: Request): Request {
  return new yoga.fetchAPI.Request(url, { headers, signal })
}

/** What the server says to whoever it makes no context for: masked already, and the same for every id (I9). */
function refusal(error: unknown): Response {
  const known = error instanceof Error && error.name === 'GraphQLError' ? (error as GraphQLError) : null
  const answer = { errors: [known ?? new GraphQLError('Unexpected error.')] }
  const { result } = decodeResult(encodeResult(answer))
  const http = responseInitOf(answer) // whole: it goes to nobody but the one who asked
  return Response.json(result, {
    status: http?.status ?? 500,
    headers: { ...http?.headers, 'cache-control': 'no-store' },
  })
}

function serverOf(yoga: Yoga | null): Yoga {
  if (yoga) return yoga
  throw new Error('The Yoga server has not been made yet.')
}
