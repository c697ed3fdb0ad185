import type { ExecutionArgs, ExecutionResult } from 'graphql'
import type { ExecuteFunction, Plugin } from '@envelop/core'
import { checkAll, isFunction } from '../src/core/checks.ts'
import type { Checks } from '../src/core/checks.ts'
import { createDurable, internalsOf, isDurable } from '../src/durable.ts'
import { resuming } from '../src/engine/engine.ts'
import type { Engine } from '../src/engine/engine.ts'
import { executePass, isIncremental } from '../src/engine/execute.ts'
import type { Execute } from '../src/engine/pass.ts'
import { bindContext } from '../src/engine/bound-context.ts'
import type { Host } from '../src/engine/host.ts'
import { Operation } from '../src/engine/operation.ts'
import { ambientStep } from '../src/engine/scope.ts'
import type { Durable, DurableOptions } from '../src/types.ts'
import { assertServerName, createEnvelopHost } from './envelop-host.ts'
import type { ExecutionArgsOption, GetEnveloped } from './envelop-host.ts'

export type { ExecutionArgsOption, GetEnveloped }

export interface EnvelopPluginOptions {
  /** What `envelop` returned: background passes are made with it. A function, since it comes after its plugins. */
  readonly getEnveloped?: () => GetEnveloped
  /**
   * Which server a run belongs to, when several share one durable or one store. Default 'default'. Keep it over deploys:
   * only a server of the run's name carries it on.
   */
  readonly name?: string
  /** Background passes begin once this has resolved. Default: at once. */
  readonly ready?: () => Promise<void>
  /**
   * What your server passes to `execute` beside the operation, its variables and its context: `rootValue`,
   * `fieldResolver`, `typeResolver`. Made again for a pass in a process that has not seen the request, from what
   * `context.capture` kept. Without it, an operation that was called with such fails at its first wait.
   */
  readonly executionArgs?: ExecutionArgsOption
  /**
   * The one that `useMaskedErrors` was given: what it hides, `steps { error }` of a run hides as well. Default: as
   * Envelop's own, GraphQLErrors are shown that wrap nothing else.
   */
  readonly maskError?: (error: unknown, message: string) => unknown
}

const OPTIONS: Checks<EnvelopPluginOptions> = {
  getEnveloped: isFunction,
  name: assertServerName,
  ready: isFunction,
  executionArgs: isFunction,
  maskError: isFunction,
}

/**
 * The plain Envelop plugin. Register it after plugins that decide whether an operation may be executed (their refusal
 * stops it before it is a run), wherever you like among the others.
 */
export function useDurable<Context = any>(
  durable: Durable<Context> | DurableOptions<Context>,
  options: EnvelopPluginOptions,
): Plugin {
  checkAll(
    options,
    OPTIONS,
    'the second argument of useDurable',
    undefined,
    'an object, such as { getEnveloped: () => getEnveloped }',
  )
  const instance = isDurable(durable) ? durable : createDurable(durable as DurableOptions)
  const { engine } = internalsOf(instance)
  const { maskError } = options
  const host = createEnvelopHost(engine, {
    name: options.name ?? 'default',
    executionArgs: options.executionArgs,
    ready: options.ready ?? (() => Promise.resolve()),
    ...(maskError && { mask: (error) => maskError(error, 'Unexpected error.') }),
    getEnveloped: () => {
      const getEnveloped = options.getEnveloped?.()
      if (getEnveloped) return getEnveloped
      throw new TypeError(
        'Expected useDurable to get `getEnveloped: () => getEnveloped` in its second argument: background passes are made with it.',
      )
    },
  })
  return durablePlugin(instance, engine, host)
}

/** The part that Envelop and Yoga share. */
export function durablePlugin(durable: Durable, engine: Engine, host: Host): Plugin {
  // Plugins share the arguments object of one execution. A WeakMap beside it costs a tenth of a tiny query (I8).
  const OPERATION = Symbol('graphql-durable.operation')
  interface SharedArgs {
    [OPERATION]?: Operation
  }

  // Runs after every other plugin's `onExecuteDone`, masking included, so that what is stored is what is sent (I7).
  const last: Plugin = {
    onExecute: ({ args }) => ({
      onExecuteDone({ result, setResult }) {
        const operation = (args as SharedArgs)[OPERATION]
        if (operation?.phase !== 'foreground') return undefined
        if (isIncremental(result)) {
          operation.answersInParts = true
          return { onEnd: () => operation.onForegroundFailed() }
        }
        setResult(operation.onForegroundResult(result as ExecutionResult))
        return undefined
      },
    }),
  }

  return {
    onPluginInit({ plugins, registerContextErrorHandler }) {
      plugins.push(last)
      registerContextErrorHandler(({ error }) => {
        const operation = takeResuming()
        if (operation) operation.refusal ??= error
      })
      engine.addHost(host)
      void engine.store.openEventually()
    },
    onSchemaChange({ schema, replaceSchema }) {
      replaceSchema(durable.schema(schema))
    },
    onExecute({ args, executeFn, setExecuteFn, context }) {
      const operation = takeExecuting() ?? new Operation(engine, host, ownArgs(args), null)
      ;(args as SharedArgs)[OPERATION] = operation
      const contextValue = bindContext(context, operation)
      operation.bound = contextValue
      const own = operation.args ?? ownArgs(args)
      setExecuteFn(((passArgs: ExecutionArgs) => {
        operation.args ??= own // a cold pass that gets here can be made again, hot
        const execute = (): ReturnType<typeof executePass> =>
          executePass(operation, { ...passArgs, contextValue }, executeFn as Execute)
        // From here on whatever is executed is no pass of this operation.
        return resuming.getStore() ? resuming.exit(execute) : execute()
      }) as ExecuteFunction)
    },
    onSubscribe({ extendContext }) {
      extendContext({ step: ambientStep })
    },
  }
}

/** The operation that this execution is a background pass of. Executions below it are operations of their own. */
function takeResuming(): Operation | null {
  const operation = resuming.getStore()
  return operation && !operation.reached ? operation : null
}

/** As `takeResuming`, where the pass has come to the server's executor: what a context factory executes is not it. */
function takeExecuting(): Operation | null {
  const operation = takeResuming()
  return operation?.executing ? operation : null
}

/** What the operation was called with, before other plugins wrote to the arguments. */
function ownArgs(args: ExecutionArgs): ExecutionArgs {
  return { ...args }
}
