import type { ExecutionArgs, ExecutionResult, GraphQLError } from 'graphql'
import { parse as parseByGraphQL, specifiedRules, validate as validateByGraphQL } from 'graphql'
import { isAsyncIterable } from '@graphql-tools/utils'
import { messageOf } from '../src/core/errors.ts'
import { MAX_BYTES } from '../src/core/limits.ts'
import { assertWithin, someText } from '../src/core/refusals.ts'
import { resuming } from '../src/engine/engine.ts'
import type { Engine } from '../src/engine/engine.ts'
import { enterWith } from '../src/engine/enter.ts'
import { unkeptMessage } from '../src/engine/execution-args.ts'
import type { RemadeArgs } from '../src/engine/execution-args.ts'
import type { Host } from '../src/engine/host.ts'
import type { Operation } from '../src/engine/operation.ts'
import { outsideOfRequests } from '../src/engine/scheduler.ts'
import { InvalidDocument } from '../src/engine/refusal.ts'
import { markResumed } from '../src/engine/resume-info.ts'
import { anObject, askedAsync } from '../src/engine/user-functions.ts'
import type { ResumedRun, ResumeInfo } from '../src/types.ts'

/** The part of what `envelop` returns that a pass needs. */
export type GetEnveloped = (initialContext: Record<string, unknown>) => Enveloped

export interface Enveloped {
  readonly schema: ExecutionArgs['schema']
  readonly parse: (source: string) => ExecutionArgs['document']
  readonly validate: (
    schema: ExecutionArgs['schema'],
    document: ExecutionArgs['document'],
  ) => readonly { message: string }[]
  readonly contextFactory: () => unknown
  readonly execute: (args: ExecutionArgs) => unknown
}

/**
 * What your server passes to `execute` beside the operation, its variables and its context, made again for a pass in a
 * process that has not seen the request. Default: nothing; then an operation that was called with such has to be
 * answered without a wait (DURABLE_NOT_SERIALIZABLE).
 */
export type ExecutionArgsOption = (captured: unknown, run: ResumedRun) => RemadeArgs | Promise<RemadeArgs>

export interface EnvelopHostOptions {
  readonly name: string
  readonly ready: () => Promise<void>
  readonly executionArgs: ExecutionArgsOption | undefined
  readonly getEnveloped: () => GetEnveloped
  /** Default: there are no batches, or the server tells nothing of them. */
  readonly positionInBatch?: (context: unknown) => number
  /** What a server puts into the initial context of a request: by default the synthetic request. */
  readonly prepare?: (request: Request, operation: Operation, initial: Record<string, unknown>) => Promise<void>
  /** What a server does with an answer after the executor's hooks. */
  readonly finish?: (result: ExecutionResult, context: object, operation: Operation) => Promise<ExecutionResult>
  /** Whether the answer to this context's operation goes through more hooks, and `Operation.onDelivered` is told. */
  readonly deliversLater?: (context: unknown) => boolean
  /** The server's masking. Default: errors that are GraphQLErrors by their name, too, pass. */
  readonly mask?: (error: GraphQLError) => unknown
}

export function createEnvelopHost(engine: Engine, options: EnvelopHostOptions): Host {
  return {
    name: options.name,
    ready: async () => options.ready(),
    remakesArgs: options.executionArgs !== undefined,
    headers: requestHeaders,
    mask: options.mask ?? maskByName,
    deliversLater: options.deliversLater ?? (() => false),
    positionInBatch: options.positionInBatch ?? (() => 0),
    pass: (operation) =>
      outsideOfRequests(() =>
        resuming.run(operation, () => {
          const { enter } = engine.options.context
          const {
            clock,
            options: { warn },
          } = engine
          const next = async (): Promise<ExecutionResult> => {
            await operation.untilLive()
            return operation.args ? hotPass(options, operation) : coldPass(engine, options, operation)
          }
          if (!enter || !operation.input) return next()
          const entering = { enter, captured: operation.input.captured, run: operation.resumed, clock, warn }
          return enterWith(entering, () => resuming.run(operation, next))
        }),
      ),
  }
}

/** @throws TypeError, DurableError DURABLE_TOO_LARGE */
export function assertServerName(name: unknown): void {
  assertWithin(someText(name, "a server's name"), MAX_BYTES.server, "a server's name")
}

/** With the foreground's own context and arguments: what is under way is handed on. */
async function hotPass(options: EnvelopHostOptions, operation: Operation): Promise<ExecutionResult> {
  const { args } = operation
  if (!args) throw new Error('A hot pass needs the arguments of the foreground.')
  const contextValue = markResumed(operation.bound ?? args.contextValue, infoOf(operation)) as Record<string, unknown>
  const enveloped = options.getEnveloped()(contextValue)
  operation.executing = true
  const result = whole(await enveloped.execute({ ...args, contextValue, schema: enveloped.schema }))
  return options.finish ? options.finish(result, contextValue, operation) : result
}

/** With a context made from what the run kept. */
async function coldPass(engine: Engine, options: EnvelopHostOptions, operation: Operation): Promise<ExecutionResult> {
  const { input, resumed } = operation
  if (!input) throw new Error('A cold pass needs what the run kept.')
  const { create, restore, request } = engine.options.context
  const info = infoOf(operation)
  const restored = { ...(await restore?.(input.captured, resumed)) }
  await operation.untilLive()
  const remade = await remadeArgs(options, operation)
  await operation.untilLive()
  let initial: Record<string, unknown>
  if (create) {
    const created = (await create(input.captured, resumed)) as object // the engine's options have checked it
    await operation.untilLive()
    initial = markResumed(created, info) as Record<string, unknown>
  } else {
    const synthetic = syntheticRequest(operation, request?.(input.captured, resumed))
    initial = markResumed({ request: synthetic, ...restored }, info) as Record<string, unknown>
    await options.prepare?.(synthetic, operation, initial)
    await operation.untilLive()
  }
  const enveloped = options.getEnveloped()(initial)
  const document = admitted(enveloped, textOf(operation, input.document))
  const built = create ? initial : ((await enveloped.contextFactory()) as object)
  await operation.untilLive()
  const contextValue = markResumed(Object.assign(built, restored), info)
  operation.executing = true
  const result = whole(
    await enveloped.execute({
      ...input.settings,
      ...remade,
      schema: enveloped.schema,
      document,
      contextValue,
      variableValues: { ...input.variables },
      operationName: input.operationName,
    }),
  )
  return options.finish ? options.finish(result, contextValue, operation) : result
}

/** A null in place of what a root value would have given is no result: the pass is refused, and tried again. */
async function remadeArgs({ executionArgs }: EnvelopHostOptions, { input, resumed }: Operation): Promise<RemadeArgs> {
  if (!executionArgs) {
    if (input?.unkept) throw new Error(unkeptMessage(input.unkept))
    return {}
  }
  const { rootValue, fieldResolver, typeResolver } = await askedAsync<RemadeArgs>(
    'executionArgs',
    () => executionArgs(input?.captured ?? null, resumed),
    anObject,
  )
  return {
    ...(rootValue !== undefined && { rootValue }),
    ...(fieldResolver && { fieldResolver }),
    ...(typeResolver && { typeResolver }),
  }
}

/**
 * A server may keep what came of a document under its text, a refusal that was not for ever included (Yoga's cache of
 * parsed and validated documents does). So every other pass after a refusal comes with a text that is not known yet.
 */
function textOf({ resumeFailures }: Operation, document: string): string {
  return resumeFailures % 2 === 0 ? document : document + '\n'.repeat(resumeFailures)
}

/**
 * The document, as the server's own parser and validation let it pass. Where they do not, that may be a plugin's refusal,
 * which another pass may not meet; it is final only where graphql itself says that the schema has no such operation.
 */
function admitted(enveloped: Enveloped, source: string): ExecutionArgs['document'] {
  let document: ExecutionArgs['document']
  let errors: readonly { message: string }[]
  try {
    document = enveloped.parse(source)
    errors = enveloped.validate(enveloped.schema, document)
  } catch (error) {
    assertValid(enveloped.schema, source)
    throw error
  }
  if (errors.length === 0) return document
  assertValid(enveloped.schema, source)
  throw new Error(`The server refused the operation: ${errors.map(({ message }) => message).join(' ')}`)
}

/** Names that the schema has are none of a client's business. */
const SUGGESTION = / Did you mean .*/s

/** @throws InvalidDocument with reasons that are graphql's own. */
function assertValid(schema: ExecutionArgs['schema'], source: string): void {
  let document: ExecutionArgs['document']
  try {
    document = parseByGraphQL(source)
  } catch (error) {
    throw new InvalidDocument(`The operation cannot be parsed any more: ${messageOf(error)}`)
  }
  const errors = validateByGraphQL(schema, document, specifiedRules)
  if (errors.length === 0) return
  const reasons = errors.map(({ message }) => message.replace(SUGGESTION, ''))
  throw new InvalidDocument(`The operation is not valid for the schema any more: ${reasons.join(' ')}`)
}

function infoOf(operation: Operation): ResumeInfo {
  return { runId: operation.resumed.id, resuming: true, captured: operation.input?.captured ?? null }
}

const HIDDEN = new Error('Unexpected error.')

/** As Envelop's own masking: it lets a class pass that has the name, and so not a subclass that has another. */
function maskByName(error: GraphQLError): unknown {
  for (let at: unknown = error; at !== undefined && at !== null; at = (at as GraphQLError).originalError) {
    if (!(at instanceof Error) || at.name !== 'GraphQLError') return HIDDEN
  }
  return error
}

function whole(executed: unknown): ExecutionResult {
  if (isAsyncIterable(executed)) throw new TypeError('Expected a whole result, but the server answered in parts.')
  return executed as ExecutionResult
}

/** What the run kept of its request, as a request: a POST of the operation, with the headers that were named. */
function syntheticRequest({ input }: Operation, init: RequestInit = {}): Request {
  const headers = new Headers({ 'content-type': 'application/json', accept: 'application/json', ...input?.headers })
  for (const [name, value] of new Headers(init.headers)) headers.set(name, value)
  const body = JSON.stringify({
    query: input?.document,
    variables: input?.variables,
    ...(input?.operationName && { operationName: input.operationName }),
  })
  return new Request('http://localhost/graphql', { method: 'POST', body, ...init, headers })
}

/** Of `context.request` (Yoga, fetch) or `context.req` (Node, Fastify, Express). */
function requestHeaders(context: unknown, names: readonly string[]): Record<string, string> {
  if (names.length === 0 || typeof context !== 'object' || context === null) return {}
  const request: unknown = 'request' in context ? context.request : 'req' in context ? context.req : null
  if (typeof request !== 'object' || request === null || !('headers' in request)) return {}
  const given = request.headers
  const entries = names.flatMap((name) => {
    const lower = name.toLowerCase()
    const value: unknown =
      given instanceof Object && 'get' in given && typeof given.get === 'function'
        ? given.get(lower)
        : Reflect.get(given as object, lower)
    return typeof value === 'string' ? [[lower, value] as const] : []
  })
  return Object.fromEntries(entries)
}
