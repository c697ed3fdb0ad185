import type { ExecutionArgs, ExecutionResult } from 'graphql'
import { isAsyncIterable } from '@graphql-tools/utils'
import { messageOf } from '../src/core/errors.ts'
import { resuming } from '../src/engine/engine.ts'
import type { Engine } from '../src/engine/engine.ts'
import { enterWith } from '../src/engine/enter.ts'
import type { Host } from '../src/engine/host.ts'
import type { Operation } from '../src/engine/operation.ts'
import { outsideOfRequests } from '../src/engine/pump.ts'
import { InvalidDocument } from '../src/engine/refusal.ts'
import type { ResumeInfo } from '../src/types.ts'

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

export interface EnvelopHostOptions {
  readonly name: string
  readonly ready: () => Promise<void>
  readonly getEnveloped: () => GetEnveloped
  /** What a server puts into the initial context of a request: by default the synthetic request. */
  readonly prepare?: (request: Request, operation: Operation, initial: Record<string, unknown>) => Promise<void>
}

export function createEnvelopHost(engine: Engine, options: EnvelopHostOptions): Host {
  return {
    name: options.name,
    ready: async () => options.ready(),
    headers: requestHeaders,
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

/** With the foreground's own context and arguments: what is under way is handed on. */
async function hotPass(options: EnvelopHostOptions, operation: Operation): Promise<ExecutionResult> {
  const { args } = operation
  if (!args) throw new Error('A hot pass needs the arguments of the foreground.')
  const context = args.contextValue as Record<string, unknown> // Envelop's contexts are objects
  if (Object.isExtensible(context)) context['durable'] = resumeInfo(operation)
  const enveloped = options.getEnveloped()(context)
  operation.executing = true
  return whole(await enveloped.execute({ ...args, schema: enveloped.schema }))
}

/** With a context made from what the run kept. */
async function coldPass(engine: Engine, options: EnvelopHostOptions, operation: Operation): Promise<ExecutionResult> {
  const { input, resumed } = operation
  if (!input) throw new Error('A cold pass needs what the run kept.')
  const { create, restore, request } = engine.options.context
  const durable = resumeInfo(operation)
  const restored = { ...(await restore?.(input.captured, resumed)), durable }
  await operation.untilLive()
  let initial: Record<string, unknown>
  if (create) {
    const created = (await create(input.captured, resumed)) as Record<string, unknown> // a context is an object
    await operation.untilLive()
    initial = Object.isExtensible(created) ? created : (Object.create(created) as Record<string, unknown>)
    initial['durable'] = durable
  } else {
    const synthetic = syntheticRequest(operation, request?.(input.captured, resumed))
    initial = { request: synthetic, ...restored }
    await options.prepare?.(synthetic, operation, initial)
    await operation.untilLive()
  }
  const enveloped = options.getEnveloped()(initial)
  const document = parse(enveloped, input.document)
  const errors = enveloped.validate(enveloped.schema, document)
  if (errors.length > 0) {
    throw new InvalidDocument(
      `The operation is not valid for the schema any more: ${errors.map((e) => e.message).join(' ')}`,
    )
  }
  const built = create ? initial : ((await enveloped.contextFactory()) as object)
  await operation.untilLive()
  const contextValue = Object.assign(built, restored)
  operation.executing = true
  return whole(
    await enveloped.execute({
      schema: enveloped.schema,
      document,
      contextValue,
      variableValues: { ...input.variables },
      operationName: input.operationName,
    }),
  )
}

function parse(enveloped: Enveloped, source: string): ExecutionArgs['document'] {
  try {
    return enveloped.parse(source)
  } catch (error) {
    throw new InvalidDocument(`The operation cannot be parsed any more: ${messageOf(error)}`)
  }
}

function resumeInfo(operation: Operation): ResumeInfo {
  return { runId: operation.resumed.id, resuming: true, captured: operation.input?.captured ?? null }
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
