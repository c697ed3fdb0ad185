import { DurableError } from '../core/errors.ts'
import type { NewEvent } from '../store/store.ts'
import type { EventInput } from '../types.ts'
import type { Engine } from './engine.ts'
import { toJson } from './waits.ts'

/**
 * Deposits events for whichever runs wait for them, or will.
 *
 * @throws TypeError for a name that is none
 * @throws DurableError DURABLE_TOO_LARGE, DURABLE_NOT_SERIALIZABLE, DURABLE_STORE_UNAVAILABLE
 */
export async function sendEvents(engine: Engine, events: readonly EventInput[]): Promise<{ ids: string[] }> {
  const records = events.map((event) => toRecord(engine, event))
  await engine.store.call((session) => session.send(records))
  return { ids: records.map((record) => record.id) }
}

function toRecord({ options, clock }: Engine, event: EventInput): NewEvent {
  if (typeof event?.name !== 'string' || event.name === '') {
    throw new TypeError(`Expected an event to have a name, but got ${typeof event?.name}.`)
  }
  const data = toJson(event.data, `the data of event "${event.name}"`)
  const bytes = Buffer.byteLength(data)
  if (bytes > options.stepBytes) {
    throw new DurableError(
      'DURABLE_TOO_LARGE',
      `The data of event "${event.name}" has ${bytes} bytes, more than limits.stepBytes (${options.stepBytes}).`,
    )
  }
  return { id: event.id ?? `evt_${clock.randomId()}`, name: event.name, data }
}
