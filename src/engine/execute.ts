import { isAsyncIterable } from '@graphql-tools/utils'
import { GraphQLError } from 'graphql'
import type { ExecutionArgs, ExecutionResult } from 'graphql'
import { sleep } from '../core/clock.ts'
import { areVariablesValid, operationIn, rootKeys, withoutIncrementalDelivery } from './documents.ts'
import { unavailable } from './errors.ts'
import { outsideOfFields } from './cursor.ts'
import { bindFieldResolver, durableFieldResolver } from './fields.ts'
import { idempotencyKeyOf, joinRun } from './idempotency.ts'
import { never } from './never.ts'
import type { Operation } from './operation.ts'
import type { Execute, Executed } from './pass.ts'
import { refusalReason } from './refusal.ts'
import { executeFieldByField, rootFieldsOf } from './serial.ts'

/** Executes one pass of an operation with the server's executor. */
export function executePass(operation: Operation, args: ExecutionArgs, execute: Execute): Executed | Promise<Executed> {
  operation.fieldResolver = args.fieldResolver ?? null
  const fieldResolver = args.fieldResolver ? bindFieldResolver(args.fieldResolver) : durableFieldResolver
  const passArgs = { ...args, fieldResolver }
  return outsideOfFields(() =>
    operation.phase === 'foreground'
      ? executeForeground(operation, passArgs, execute)
      : executeBackground(operation, passArgs, execute),
  )
}

function executeForeground(operation: Operation, args: ExecutionArgs, execute: Execute): Executed | Promise<Executed> {
  let executed: Executed | Promise<Executed>
  let key: string | null
  try {
    key = idempotencyKeyOf(operation)
  } catch (error) {
    return refused(operation, error)
  }
  try {
    executed = key === null ? start(operation, args, execute) : executeUnder(key, operation, args, execute)
  } catch (error) {
    operation.onForegroundFailed()
    throw error
  }
  if (!(executed instanceof Promise)) return executed
  // An operation that uses no step costs this one promise (I8).
  return new Promise((resolve, reject) => {
    const answer = (result: Executed): void => {
      if (!isIncremental(result)) {
        operation.executed = result
        if (operation.deferring && !result.data) deferNotBegun(operation, args)
      }
      resolve(result)
    }
    operation.answerEarly = answer
    executed.then(answer, (error: unknown) => {
      operation.onForegroundFailed()
      reject(error)
    })
  })
}

/** A non-null root field was deferred, and the executor went no further: what it left out is as pending as the field. */
function deferNotBegun(operation: Operation, args: ExecutionArgs): void {
  if (operationIn(args)?.operation !== 'mutation') return
  for (const key of rootKeys(args)) if (!operation.begun.has(key)) operation.deferral([key])
}

/** Nothing was executed. Servers answer what is thrown at them as a failure of their own, or not at all. */
function refused(operation: Operation, error: unknown): ExecutionResult {
  operation.onForegroundFailed()
  if (error instanceof GraphQLError) return { errors: [error] }
  throw error
}

/** The first request under the key executes the operation; the others join its run. */
async function executeUnder(
  key: string,
  operation: Operation,
  args: ExecutionArgs,
  execute: Execute,
): Promise<Executed> {
  let joined: ExecutionResult | null
  try {
    joined = await createOrJoin(key, operation)
  } catch (error) {
    return refused(operation, error)
  }
  return joined ?? start(operation, args, execute)
}

/** The answer of the run that the key belongs to; null where the key is this operation's, and its run is created. */
async function createOrJoin(key: string, operation: Operation): Promise<ExecutionResult | null> {
  const { clock, store } = operation.engine
  const giveUpAt = clock.now() + store.patienceMs
  for (;;) {
    const { fingerprint, conflict } = await operation.createUnder(key)
    if (conflict === null) return null
    const joined = await joinRun(operation, fingerprint, conflict)
    if (joined !== null) return joined
    if (clock.now() >= giveUpAt) throw unavailable(null)
    await sleep(clock, REJOIN_MS)
  }
}

/** Between two looks at a run that has a key and is not there. */
const REJOIN_MS = 50

function executeBackground(operation: Operation, args: ExecutionArgs, execute: Execute): Executed | Promise<Executed> {
  operation.reached = true
  // The run ended while other plugins' hooks were under way.
  if (operation.isAbandoned) return never()
  // The client's going away stops nothing, and there is nobody to send a response's parts to.
  const whole = {
    ...args,
    signal: undefined,
    abortSignal: undefined,
    document: withoutIncrementalDelivery(args.document),
  }
  try {
    const executed = start(operation, whole, areVariablesValid(whole) ? unlessRefused(execute) : execute)
    return executed instanceof Promise ? whileLive(operation, executed) : executed
  } finally {
    operation.onReached()
  }
}

/**
 * An answer without `data` is a request error: nothing was executed (specification, 7.1). The document and the variables
 * of a pass are valid, so that whoever stands between here and the executor has refused it, which is no result.
 */
function unlessRefused(execute: Execute): Execute {
  const assertExecuted = (answer: Executed): Executed => {
    if (isIncremental(answer) || answer.data !== undefined || !answer.errors?.length) return answer
    throw new Error(refusalReason({ result: answer }))
  }
  return (args) => {
    const answer = execute(args)
    return answer instanceof Promise ? answer.then(assertExecuted) : assertExecuted(answer)
  }
}

/** Other plugins' hooks get what the executor has come to only while the run is ours (I12). */
async function whileLive(operation: Operation, executed: Promise<Executed>): Promise<Executed> {
  try {
    return await executed
  } finally {
    await operation.untilLive()
  }
}

function start(operation: Operation, args: ExecutionArgs, execute: Execute): Executed | Promise<Executed> {
  const fields = rootFieldsOf(args)
  // Variables that cannot be coerced are an error of the whole request: nothing of it may be executed (specification, 6.1.2).
  if (fields && areVariablesValid(args)) return executeFieldByField(operation, args, fields, execute)
  operation.executions.expect()
  return execute(args)
}

export function isIncremental(executed: Executed): executed is AsyncIterable<unknown> {
  return isAsyncIterable(executed)
}
