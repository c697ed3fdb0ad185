import type { ResumeInfo } from '../types.ts'

/**
 * On the context of a pass that resumes a run. Enumerable, so that a context function which copies its initial context
 * takes it along; of the registry, so that two copies of this package agree.
 */
const RESUME = Symbol.for('graphql-durable.resume')

interface ResumedContext {
  [RESUME]?: ResumeInfo
  durable?: unknown
}

/**
 * What a context function, a plugin or a resolver can know of the run that is being resumed with this context. Null
 * where none is: in an operation that has just come from a client.
 *
 * @example
 * context: (initial) => (resumeInfo(initial) ? { user: null } : authenticate(initial.request))
 */
export function resumeInfo(context: unknown): ResumeInfo | null {
  return isObject(context) ? (context[RESUME] ?? null) : null
}

/**
 * Marks a context, and sets `context.durable` where that name is free. The answer is another object that inherits from
 * it where it cannot be extended.
 */
export function markResumed(context: unknown, info: ResumeInfo): object {
  const given = isObject(context) ? context : {}
  const target: ResumedContext = Object.isExtensible(given) ? given : (Object.create(given) as object)
  const earlier = target[RESUME]
  const isFree = !('durable' in target) || (earlier !== undefined && target.durable === earlier)
  define(target, RESUME, info)
  if (isFree) define(target, 'durable', info)
  return target
}

/** The context serves an operation of a client again. */
export function unmarkResumed(context: ResumedContext): void {
  const info = context[RESUME]
  if (info === undefined || !Object.hasOwn(context, RESUME)) return
  if (context.durable === info) Reflect.deleteProperty(context, 'durable')
  Reflect.deleteProperty(context, RESUME)
}

/** Defined, and not assigned: what it inherits may be frozen, or have a setter. */
function define(target: object, key: PropertyKey, value: ResumeInfo): void {
  Reflect.defineProperty(target, key, { value, writable: true, configurable: true, enumerable: true })
}

function isObject(context: unknown): context is ResumedContext {
  return typeof context === 'object' && context !== null
}
