import { DurableError } from '../core/errors.ts'
import { StoreError } from '../store/store.ts'

/** What users and clients are told when the store fails; what exactly it was is in the cause. */
export function unavailable(cause: unknown, runId?: string): DurableError {
  const extensions = runId === undefined ? {} : { extensions: { runId } }
  if (isRefusal(cause)) {
    return new DurableError('DURABLE_NOT_SERIALIZABLE', 'The store of durable runs cannot keep what it was given.', {
      cause,
      ...extensions,
    })
  }
  const retryable = !(cause instanceof StoreError) || cause.kind === 'transient'
  const message = 'The store of durable runs is not available.'
  return new DurableError('DURABLE_STORE_UNAVAILABLE', retryable ? `${message} Try again later.` : message, {
    cause,
    retryable,
    ...extensions,
  })
}

/** The store will never take it, from anybody. */
export function isRefusal(cause: unknown): boolean {
  return cause instanceof StoreError && cause.kind === 'rejected'
}
