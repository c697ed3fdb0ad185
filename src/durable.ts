import type { GraphQLSchema } from 'graphql'
import { createAccess } from '../schema/access.ts'
import { extendSchema } from '../schema/extend.ts'
import { createResolvers } from '../schema/resolvers.ts'
import { createNames } from '../schema/names.ts'
import { readFieldPolicy } from '../schema/policy.ts'
import { checkAll, isDuration } from './core/checks.ts'
import { nameErrorClasses } from './core/error-classes.ts'
import { systemClock } from './core/system-clock.ts'
import { toMs } from './core/duration.ts'
import { show } from './core/refusals.ts'
import { checkOptions } from './engine/check-options.ts'
import { Engine } from './engine/engine.ts'
import { sendEvents } from './engine/events.ts'
import { wrapSchema } from './engine/wrap-schema.ts'
import { resolveOptions } from './engine/options.ts'
import { cursorOf } from './engine/list-query.ts'
import { createRuns } from './engine/runs.ts'
import { handleRunRequest } from './http/runs.ts'
import { sqliteStore } from './store/sqlite/store.ts'
import type { Durable, DurableOptions } from './types.ts'

/** What the server plugins use beside the public interface. */
export interface DurableInternals {
  readonly engine: Engine
  readonly options: DurableOptions
}

const internals = new WeakMap<Durable, DurableInternals>()

/** @throws TypeError where it was not made by `createDurable` of this copy of the package. */
export function internalsOf(durable: Durable): DurableInternals {
  const found = internals.get(durable)
  if (found) return found
  throw new TypeError(
    'Expected what createDurable returned, but got something else. Is the package graphql-durable installed twice?',
  )
}

export function isDurable(value: unknown): value is Durable {
  return typeof value === 'object' && value !== null && internals.has(value as Durable)
}

/** Of whatever copy of graphql: what becomes of another one is its own to say. */
function assertSchema(schema: unknown): void {
  if (typeof schema === 'object' && schema !== null && 'getTypeMap' in schema) return
  throw new TypeError(`Expected a GraphQLSchema, such as createSchema makes, but got ${show(schema)}.`)
}

/** How long `close` lets running steps end, by default. */
const CLOSE_TIMEOUT = '10s'

/**
 * The durable runs of one application: shared by its servers, its workers and its own code.
 *
 * @throws TypeError where an option makes no sense; the message names it.
 */
export function createDurable<Context = any, Captured = unknown>(
  options: DurableOptions<Context, Captured> = {},
): Durable<Context> {
  // The functions in the options are called with what they themselves made: the types meet again there.
  const given = options as DurableOptions
  checkOptions(given)
  if (given.schema !== false) createNames(given.schema?.prefix)
  nameErrorClasses(options.errorClasses ?? [])
  const clock = options.clock ?? systemClock
  for (const method of ['now', 'setTimeout', 'random', 'randomId'] as const) {
    if (typeof clock[method] !== 'function') throw new TypeError(`Expected clock to have the method ${method}.`)
  }
  const store = options.store ?? sqliteStore('durable.db')
  const engine = new Engine(store, resolveOptions(given), clock, createAccess(given).canRead)
  const instance = `durable_${clock.randomId()}`
  const prepared = new WeakMap<GraphQLSchema, GraphQLSchema>()
  const runs = createRuns(engine)

  const durable: Durable<Context> = {
    schema(schema) {
      assertSchema(schema)
      const known = prepared.get(schema)
      if (known) return known
      const wrapped = wrapSchema(
        schema,
        instance,
        (field, coordinate) => readFieldPolicy(coordinate, field),
        (coordinate) =>
          engine.options.warn(
            `${coordinate} is @durable and non-null: while it is pending, its parent is null in the response. Make it nullable.`,
            { coordinate },
          ),
      )
      const result =
        given.schema === false
          ? wrapped
          : extendSchema(wrapped, {
              instance,
              resolvers: createResolvers({ durable, options: given, cursorOf, cursorSeal: () => engine.cursorSeal() }),
              prefix: given.schema?.prefix,
            })
      prepared.set(schema, result)
      prepared.set(result, result)
      return result
    },
    send: (event) => sendEvents(engine, event),
    runs,
    fetch: (request, context) => handleRunRequest({ engine, runs, options: given }, request, context),
    start: () => engine.store.openInTime(),
    close(how = {}) {
      checkAll(how, { timeout: isDuration }, 'the options of close')
      return engine.close(toMs(how.timeout ?? CLOSE_TIMEOUT, 'timeout'))
    },
  }
  internals.set(durable, { engine, options: given })
  return durable
}
