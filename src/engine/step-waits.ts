import { encode, encodeThrown } from '../core/codec.ts'
import { toMs } from '../core/duration.ts'
import { instantOf, readEventWait } from '../core/step-options.ts'
import type { EventWait } from '../core/step-options.ts'
import type { EventRecord, OutcomeRecord } from '../store/store.ts'
import type { DurableEvent, WaitForEventOptions } from '../types.ts'
import { commit } from './call.ts'
import type { Call } from './call.ts'

export function prepareSleep(duration: number | string): (call: Call) => void {
  const forMs = toMs(duration)
  return (call) => startSleep(call, forMs)
}

export function prepareSleepUntil(date: Date | number | string): (call: Call) => void {
  const instant = instantOf(date)
  return (call) => startSleep(call, instant - call.execution.engine.storeNow())
}

function startSleep(call: Call, forMs: number): void {
  const { execution, key, scope, startedAt } = call
  const onOver = (): void => commit(call, 'SLEEP', true, encode(undefined), 1)
  execution.waits.add({ key, kind: 'SLEEP', scope, event: null, match: null, forMs, attempts: 0, startedAt, onOver })
}

export function prepareWaitForEvent(id: string, options: WaitForEventOptions): (call: Call) => void {
  const wait = readEventWait(id, options)
  return (call) => startWaitForEvent(call, wait)
}

function startWaitForEvent(call: Call, { event, match, forMs, signal }: EventWait): void {
  const { execution, key, scope, startedAt } = call
  const closed = (): void =>
    commit(call, 'EVENT', false, encodeThrown(new DOMException('The wait was closed.', 'AbortError')), 1)
  if (signal?.aborted) return closed()
  const onAbort = (): void => execution.whenLive(() => void (execution.waits.close(key) && closed()))
  signal?.addEventListener('abort', onAbort, { once: true })
  execution.waits.add({
    key,
    kind: 'EVENT',
    scope,
    event,
    match,
    forMs,
    attempts: 0,
    startedAt,
    isClosable: signal !== undefined,
    onGone: () => signal?.removeEventListener('abort', onAbort),
    onOver: (found) => commitEvent(call, found),
  })
}

/** An event that cannot be handed over (another version accepted it, say) is an error for the resolver (I4). */
function commitEvent(call: Call, found: EventRecord | null): void {
  let ok = true
  let body: string
  try {
    body = encode(found && toEvent(found), `event "${found?.id}"`)
  } catch (error) {
    ok = false
    body = encodeThrown(error)
  }
  commit(call, 'EVENT', ok, body, 1, found)
}

function toEvent(record: EventRecord): DurableEvent {
  return {
    id: record.id,
    name: record.name,
    data: JSON.parse(record.data) as unknown,
    acceptedAt: new Date(record.acceptedAt),
  }
}

export function readEvent(value: unknown, outcome: OutcomeRecord): unknown {
  if (outcome.ok) return value
  throw value
}
