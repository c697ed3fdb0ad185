import { encodeThrown } from '../core/codec.ts'
import { DurableError } from '../core/errors.ts'
import type { OutcomeKind } from '../store/store.ts'
import type { EngineOptions } from './options.ts'

export interface NewOutcome {
  readonly key: string
  readonly kind: OutcomeKind
  readonly ok: boolean
  readonly body: string
  readonly attempts: number
  readonly eventId: string | null
  readonly eventName: string | null
  readonly startedAt: number
}

/** The outcome, or in its place an error where it is too large. `runBytes`: what the journal has so far. */
export function withinLimits(outcome: NewOutcome, runBytes: number, limits: EngineOptions): NewOutcome {
  // A root field's response is no step: the client has got it, and the run's result is not limited either (I7).
  if (outcome.kind === 'FIELD' || outcome.kind === 'ANSWER') return outcome
  const bytes = Buffer.byteLength(outcome.body)
  // An event was measured when it was sent; how its data is written in a journal must not keep it from being delivered.
  const maxBytes = outcome.kind === 'EVENT' ? limits.runBytes : limits.stepBytes
  const exceeded =
    bytes > maxBytes
      ? `limits.stepBytes (${limits.stepBytes})`
      : runBytes + bytes > limits.runBytes
        ? `limits.runBytes (${limits.runBytes})`
        : null
  if (exceeded === null) return outcome
  const error = new DurableError(
    'DURABLE_TOO_LARGE',
    `An outcome of ${bytes} bytes exceeds ${exceeded}. Keep large data elsewhere, and return a reference to it.`,
  )
  return { ...outcome, ok: false, body: encodeThrown(error) }
}
