import type { Clock } from '../core/clock.ts'
import { strictJson } from '../core/json.ts'
import { MAX_BYTES } from '../core/limits.ts'
import { assertWithin, readInput, someText, withOnly } from '../core/refusals.ts'
import type { NewEvent } from '../store/store.ts'
import type { EventInput } from '../types.ts'
import type { EngineOptions } from './options.ts'
import type { StoreAccess } from './store-access.ts'

/** Where events are sent from: the engine implements it. */
interface Sender {
  readonly clock: Clock
  readonly options: EngineOptions
  readonly store: StoreAccess
}

/** An event that can be stored, matched and delivered. */
export interface ReadyEvent {
  readonly name: string
  readonly data: string
  /** Null: it gets one. */
  readonly id: string | null
}

/**
 * Deposits events for whichever runs wait for them, or will.
 *
 * @throws GraphQLError BAD_USER_INPUT for a name or an id that is none
 * @throws DurableError DURABLE_TOO_LARGE, DURABLE_NOT_SERIALIZABLE, DURABLE_STORE_UNAVAILABLE
 */
export async function sendEvents(
  sender: Sender,
  event: EventInput | readonly EventInput[],
): Promise<{ ids: string[] }> {
  const events = readInput(() => readEvents(event, sender.options))
  return deposit(
    sender,
    events.map((each) => ({ ...each, id: each.id ?? `evt_${sender.clock.randomId()}` })),
  )
}

export async function deposit({ store }: Sender, events: readonly NewEvent[]): Promise<{ ids: string[] }> {
  for (const part of inParts(events)) {
    await store.call((session) => session.send(part))
    if (events.length > PART_EVENTS) await new Promise<void>((resolve) => setImmediate(resolve))
  }
  return { ids: events.map(({ id }) => id) }
}

/** Each is hashed, indexed and dispatched, in one piece with the others of a call. */
const PART_EVENTS = 100
const PART_BYTES = 256 * 1024

function inParts(events: readonly NewEvent[]): NewEvent[][] {
  const parts: NewEvent[][] = []
  let bytes = Infinity
  for (const event of events) {
    const part = parts.at(-1)
    bytes += event.data.length
    if (part && part.length < PART_EVENTS && bytes <= PART_BYTES) part.push(event)
    else {
      parts.push([event])
      bytes = event.data.length
    }
  }
  return parts
}

/**
 * What is accepted here can be delivered: nothing that comes later refuses it.
 *
 * @throws Refusal for a name or an id that is none
 * @throws DurableError DURABLE_TOO_LARGE, DURABLE_NOT_SERIALIZABLE
 */
export function readEvents(given: unknown, { stepBytes }: Pick<EngineOptions, 'stepBytes'>): ReadyEvent[] {
  const events = Array.isArray(given) ? Array.from<unknown>(given) : [given] // a hole is undefined, and no event
  return events.map((event) => {
    const { name, data, id } = withOnly(event as EventInput, ['name', 'data', 'id'], 'an event')
    someText(name, "an event's name")
    assertWithin(name, MAX_BYTES.eventName, "an event's name")
    if (id !== undefined) assertWithin(someText(id, `the id of event "${name}"`), MAX_BYTES.eventId, "an event's id")
    const bound = { maxBytes: stepBytes, option: 'limits.stepBytes' }
    return { name, data: strictJson(data ?? null, `the data of event "${name}"`, bound), id: id ?? null }
  })
}
