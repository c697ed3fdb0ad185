import { encode, encodeThrown } from '../core/codec.ts'
import { toMs } from '../core/duration.ts'
import { messageOf } from '../core/errors.ts'
import type { EventRecord, OutcomeRecord } from '../store/store.ts'
import type { DurableEvent, WaitForEventOptions } from '../types.ts'
import { commit, misused } from './call.ts'
import type { Call } from './call.ts'
import { toJson } from './waits.ts'

export function startSleep(call: Call, forMs: number): void {
  const over = (): void => commit(call, 'SLEEP', true, encode(undefined), 1)
  if (forMs <= 0) return over()
  const { key, scope } = call
  call.execution.waits.add({ key, kind: 'SLEEP', scope, event: null, match: null, forMs, attempts: 0, onOver: over })
}

export function durationOf(id: string, duration: number | string): number {
  try {
    return toMs(duration)
  } catch (error) {
    throw misused(id, 'a duration', messageOf(error))
  }
}

export function instantOf(id: string, date: Date | number | string): number {
  const instant = new Date(date).getTime()
  if (Number.isNaN(instant)) throw misused(id, 'a valid date', String(date))
  return instant
}

export function startWaitForEvent(call: Call, options: WaitForEventOptions): void {
  const { execution, key, scope, id } = call
  const { event, match, timeout, signal } = options
  if (typeof event !== 'string' || event === '') throw misused(id, "the event's name", typeof event)
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
    match: match === undefined ? null : toJson(match, `the match of step "${id}"`),
    forMs: timeout === undefined ? null : durationOf(id, timeout),
    attempts: 0,
    onOver: (found) => {
      signal?.removeEventListener('abort', onAbort)
      commit(call, 'EVENT', true, encode(found && toEvent(found)), 1, found?.id)
    },
  })
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
