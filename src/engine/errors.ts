import { DurableError } from '../core/errors.ts'
import { StoreError } from '../store/store.ts'

/** What users and clients are told when the store fails; what exactly it was is in the cause. */
export function unavailable(cause: unknown): DurableError {
  const broken = cause instanceof StoreError && cause.kind === 'broken'
  return new DurableError('DURABLE_STORE_UNAVAILABLE', 'The store of durable runs is not available. Try again later.', {
    cause,
    retryable: !broken,
  })
}
