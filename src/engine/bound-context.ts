import { currentStep } from './cursor.ts'
import type { Operation } from './operation.ts'
import { unmarkResumed } from './resume-info.ts'
import { surroundings } from './scope.ts'

/** Where the operation hangs on the context. A string key would show up when contexts are spread or logged. */
const OPERATION = Symbol('graphql-durable.operation')

interface BoundContext {
  [OPERATION]?: Operation
}

export function operationOf(context: unknown): Operation | undefined {
  return typeof context === 'object' && context !== null ? (context as BoundContext)[OPERATION] : undefined
}

/**
 * Puts the operation and `step` on the context. Where the context serves another operation that is still going on, or
 * cannot be extended, the answer is a new object that inherits from it.
 */
export function bindContext(context: unknown, operation: Operation): object {
  const given = typeof context === 'object' && context !== null ? context : {}
  const other = operationOf(given)
  const taken = other !== undefined && other !== operation && other.phase !== 'over'
  operation.isInner = taken && surroundings.getStore() !== undefined
  const target: object = taken || !Object.isExtensible(given) ? Object.create(given) : given
  if (target === given && operation.phase === 'foreground') unmarkResumed(given)
  Object.defineProperty(target, OPERATION, { value: operation, configurable: true, writable: true, enumerable: false })
  Object.defineProperty(target, 'step', { get: currentStep, configurable: true, enumerable: true })
  return target
}
