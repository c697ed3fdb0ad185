import type { ExecutionResult } from 'graphql'
import type { Plugin } from 'graphql-yoga'
import { operationOf } from '../src/engine/fields.ts'
import type { Operation } from '../src/engine/operation.ts'

/*
 * Yoga has hooks for an answer that come after the executor's: `onExecutionResult` for each operation, and
 * `onResultProcess` for the response that is made of it, or of all of a batch. What they make of an answer is what the
 * client gets, and so it is the run's result (I7).
 */

/** To be registered after every other plugin: sees what they have made of an answer. */
export function lastHooks(): Plugin {
  /** Of answers that may stand in a batch. */
  const answers = new WeakMap<object, Operation>()
  const requests = new WeakMap<Request, Operation[]>()
  return {
    onExecutionResult({ result, setResult, context, request }) {
      const operation = operationOf(context)
      if (!operation || (!operation.undelivered && !operation.repeated)) return
      if (operation.repeated) setResult((result = operation.repeated))
      if (!isAnswer(result)) return
      operation.answered = result
      answers.set(result, operation)
      requests.set(request, [...(requests.get(request) ?? []), operation])
    },
    onResultProcess({ result, setResult, request, serverContext }) {
      if (Array.isArray(result)) return void deliverBatch(result, setResult)
      const operation = operationOf(serverContext)
      if (operation?.repeated) setResult(operation.repeated)
      if (operation?.undelivered) deliver(operation, result)
      function deliverBatch(batch: readonly unknown[], set: typeof setResult): void {
        const operations = requests.get(request)
        if (!operations) return
        const delivered = new Set<Operation>()
        const again = batch.map((answer) => {
          const known = isAnswer(answer) ? answers.get(answer) : undefined
          if (known?.undelivered) deliver(known, answer)
          if (known) delivered.add(known)
          return known?.repeated ?? answer
        })
        if (again.some((answer, index) => answer !== batch[index])) set(again as typeof result)
        // Another plugin has made other objects of them: which is whose cannot be told any more.
        for (const each of operations) if (!delivered.has(each)) deliver(each, each.answered)
      }
    },
  }
}

/** A hook that threw has left an answer without data, which is no result: a background pass goes through the hooks again. */
function deliver(operation: Operation, result: unknown): void {
  const { answered } = operation
  const isLost = !answered || !isAnswer(result) || ('data' in answered && !('data' in result))
  operation.onDelivered(isLost ? null : result)
}

function isAnswer(result: unknown): result is ExecutionResult {
  return typeof result === 'object' && result !== null && !(Symbol.asyncIterator in result)
}

/** What the hooks of all plugins make of a background pass's answer. Rejects where one of them does. */
export async function throughHooks(
  plugins: readonly Plugin[],
  given: ExecutionResult,
  context: object,
): Promise<ExecutionResult> {
  type Answer = Parameters<NonNullable<Plugin['onExecutionResult']>>[0]
  type Process = Parameters<NonNullable<Plugin['onResultProcess']>>[0]
  let result: unknown = given
  const setResult = (next: unknown): void => void (result = next)
  const request =
    (context as { request?: Request }).request ?? new Request('http://localhost/graphql', { method: 'POST' })
  for (const plugin of plugins) {
    const payload = { result, setResult, request, context }
    await plugin.onExecutionResult?.(payload as unknown as Answer) // the server's own context type
  }
  const acceptableMediaTypes: string[] = []
  let resultProcessor: unknown
  const setResultProcessor = (next: unknown): void => void (resultProcessor = next)
  for (const plugin of plugins) {
    const shared = { request, acceptableMediaTypes, serverContext: context }
    const payload = { ...shared, result, setResult, resultProcessor, setResultProcessor }
    await plugin.onResultProcess?.(payload as unknown as Process)
  }
  if (isAnswer(result) && !Array.isArray(result)) return result
  throw new TypeError('Expected the plugins to leave one whole result, but one of them made something else of it.')
}
