import type { ExecutionResult } from 'graphql'
import type { Plugin } from 'graphql-yoga'
import { operationOf } from '../src/engine/bound-context.ts'
import type { Operation } from '../src/engine/operation.ts'

/*
 * Yoga has hooks for an answer that come after the executor's: `onExecutionResult` for each operation, and
 * `onResultProcess` for the response that is made of it, or of all of a batch. What they make of an answer is what the
 * client gets, and so it is the run's result (I7).
 */

/**
 * To be registered after every other plugin: sees what they have made of an answer. `dress` has the last word on that of
 * one operation.
 *
 * Each request comes here, so what has no run is left as soon as that is known (I8).
 */
export function lastHooks(dress: (operation: Operation, result: ExecutionResult) => ExecutionResult): Plugin {
  /** Of answers that may stand in a batch. */
  const answers = new WeakMap<object, Operation>()
  const requests = new WeakMap<Request, Operation[]>()
  return {
    onExecutionResult(payload) {
      const operation = operationOf(payload.context)
      if (!operation || !(operation.run || operation.repeated || operation.deferring)) return
      const { result, setResult, request } = payload
      if (!isAnswer(result)) return
      const answer = operation.repeated ?? dress(operation, result)
      if (answer !== result) setResult(answer)
      if (!operation.undelivered && !operation.repeated) return
      operation.answered = answer
      answers.set(answer, operation)
      requests.set(request, [...(requests.get(request) ?? []), operation])
    },
    onResultProcess(payload) {
      const { result } = payload
      if (Array.isArray(result)) return deliverBatch(result, payload)
      const operation = operationOf(payload.serverContext)
      if (operation?.repeated) payload.setResult(operation.repeated)
      if (operation?.undelivered) deliver(operation, result)
      // A client that takes no parts gets 406, and nobody reads them.
      if (operation?.answersInParts && !payload.resultProcessor) operation.onForegroundFailed()
    },
  }

  function deliverBatch(batch: readonly unknown[], { request, setResult }: Process): void {
    const operations = requests.get(request)
    if (!operations) return
    const delivered = new Set<Operation>()
    const again = batch.map((answer) => {
      const known = isAnswer(answer) ? answers.get(answer) : undefined
      if (known?.undelivered) deliver(known, answer)
      if (known) delivered.add(known)
      return known?.repeated ?? answer
    })
    if (again.some((answer, index) => answer !== batch[index])) setResult(again as ExecutionResult[])
    // Another plugin has made other objects of them: which is whose cannot be told any more.
    for (const each of operations) if (!delivered.has(each)) deliver(each, each.answered)
  }
}

type Process = Parameters<NonNullable<Plugin['onResultProcess']>>[0]

/** A hook that threw has left an answer without data, which is no result: a background pass goes through the hooks again. */
function deliver(operation: Operation, result: unknown): void {
  const { answered } = operation
  const isLost = !answered || !isAnswer(result) || ('data' in answered && !('data' in result))
  operation.answered = null // it may be large, and a run waits for days
  operation.onDelivered(isLost ? null : result)
}

function isAnswer(result: unknown): result is ExecutionResult {
  return typeof result === 'object' && result !== null && !(Symbol.asyncIterator in result)
}

/** What the hooks of all plugins make of a background pass's answer, while its run is ours. Rejects where one of them does. */
export async function throughHooks(
  plugins: readonly Plugin[],
  given: ExecutionResult,
  context: object,
  operation: Operation,
): Promise<ExecutionResult> {
  type Answer = Parameters<NonNullable<Plugin['onExecutionResult']>>[0]
  let result: unknown = given
  const setResult = (next: unknown): void => void (result = next)
  const request =
    (context as { request?: Request }).request ?? new Request('http://localhost/graphql', { method: 'POST' })
  for (const plugin of plugins) {
    const payload = { result, setResult, request, context }
    await plugin.onExecutionResult?.(payload as unknown as Answer) // the server's own context type
    await operation.untilLive()
  }
  const acceptableMediaTypes: string[] = []
  let resultProcessor: unknown
  const setResultProcessor = (next: unknown): void => void (resultProcessor = next)
  for (const plugin of plugins) {
    const shared = { request, acceptableMediaTypes, serverContext: context }
    const payload = { ...shared, result, setResult, resultProcessor, setResultProcessor }
    await plugin.onResultProcess?.(payload as unknown as Process)
    await operation.untilLive()
  }
  if (isAnswer(result) && !Array.isArray(result)) return result
  throw new TypeError('Expected the plugins to leave one whole result, but one of them made something else of it.')
}
