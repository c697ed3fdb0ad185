import type { GraphQLError, GraphQLResolveInfo } from 'graphql'
import { isNested, itemByIndex, scopeAround } from '../core/keys.ts'
import { SharedItems } from './adopted.ts'
import { isThenable, pathOf } from './paths.ts'
import type { Scope } from './scope.ts'

/** What a resolver threw synchronously, kept for the next pass. */
export class Thrown {
  readonly error: unknown
  constructor(error: unknown) {
    this.error = error
  }
}

/** What came of a field, for the passes to come: adopted, so that it can be handed out again and again. */
export interface Kept {
  readonly value: unknown
  readonly scope: Scope | null
}

/** Where what came of fields is kept for the next pass, and what is pending is known: the operation. */
export interface FieldHome {
  readonly kept: Map<string, Kept>
  readonly pendingFields: { add(field: PendingField): void; delete(field: PendingField): void }
  readonly phase: 'foreground' | 'background' | 'over'
  readonly run: { considerParking(): void } | null
}

/** A call of a field's resolver, by name. */
export interface FieldCall {
  readonly operation: FieldHome
  readonly key: string
  readonly info: GraphQLResolveInfo
  readonly scope: Scope | null
  /** How many lists the field's type is. */
  readonly lists: number
}

/** A promise that the executor awaits, and that has not settled: a field's, or one of its list. */
export class PendingField {
  readonly promise: PromiseLike<unknown>
  readonly key: string
  /** Rejects what the executor awaits; null in a background pass, and in an execution within a resolver. */
  reject: ((error: GraphQLError) => void) | null = null
  readonly #field: FieldCall
  readonly #indexes: readonly number[]

  constructor(field: FieldCall, indexes: readonly number[], promise: PromiseLike<unknown>) {
    this.#field = field
    this.#indexes = indexes
    this.promise = promise
    this.key = indexes.length === 0 ? field.key : `${field.key}.${indexes.map(itemByIndex).join('.')}`
  }

  get path(): (string | number)[] {
    return [...pathOf(this.#field.info), ...this.#indexes]
  }

  /**
   * Whose tools it may be waiting for: the field's own, or, where that has called none, those of the nearest field
   * around it that has. What a resolver returned may hold promises of what it began, and functions that begin more.
   */
  get scope(): Scope | null {
    const { operation, key, scope: own } = this.#field
    if (own && own.calls > 0) return own
    for (let at = scopeAround(key); at !== null; at = scopeAround(at)) {
      const around = operation.kept.get(at)?.scope
      if (around && around.calls > 0) return around
    }
    return own
  }
}

export function takeKept(operation: FieldHome, key: string): Kept | null {
  const kept = operation.kept.get(key)
  if (!kept) return null
  if (kept.value instanceof Thrown) throw kept.value.error
  return kept
}

/** Calls a resolver for the first and last time: every later pass gets what it gave. */
export function keep(operation: FieldHome, key: string, scope: Scope, call: () => unknown): unknown {
  try {
    const value = call()
    operation.kept.set(key, { value, scope })
    return value
  } catch (error) {
    operation.kept.set(key, { value: new Thrown(error), scope })
    throw error
  }
}

/**
 * What the executor gets for a field: an adopted value in which each promise is known to be pending. While the request
 * is open, these are promises that the switch can reject without the resolver's noticing.
 */
export function handOut(field: FieldCall, value: unknown): unknown {
  return handOutAt(field, value, [])
}

/** @param indexes where in the field's list, and the lists within it */
function handOutAt(field: FieldCall, value: unknown, indexes: readonly number[]): unknown {
  const isList = field.lists > indexes.length
  if (isThenable(value)) {
    return awaited(field, value, indexes, isList ? (list) => handOutList(field, list, indexes) : null)
  }
  return isList ? handOutList(field, value, indexes) : value
}

function handOutList(field: FieldCall, value: unknown, indexes: readonly number[]): unknown {
  if (value instanceof SharedItems) return walkOf(field, value, indexes)
  if (!Array.isArray(value)) return value
  const items: readonly unknown[] = value
  const isInnermost = field.lists <= indexes.length + 1
  let handed: unknown[] | null = null
  for (let at = 0; at < items.length; at++) {
    const item = items[at]
    if (isInnermost && !isThenable(item)) continue // most, and nothing is made for them (I8)
    const given = handOutAt(field, item, [...indexes, at])
    if (given === item) continue
    handed ??= [...items]
    handed[at] = given
  }
  return handed ?? value
}

/** One execution's way through an iterable that others walk as well. */
function walkOf(field: FieldCall, items: SharedItems, indexes: readonly number[]): AsyncIterable<unknown> {
  return {
    [Symbol.asyncIterator]() {
      let next = 0
      return {
        next() {
          const at = [...indexes, next]
          const read = (result: unknown): unknown => {
            const { done, value } = result as IteratorResult<unknown> // SharedItems gives nothing else
            return done ? result : { done, value: handOutAt(field, value, at) }
          }
          return awaited(field, items.at(next++), at, read) as Promise<IteratorResult<unknown>> // what `read` gives
        },
        async return() {
          // A background pass walks it to its end, whatever the request does.
          if (!field.operation.run) await items.close()
          return { done: true, value: undefined }
        },
      }
    },
  }
}

function awaited(
  field: FieldCall,
  promise: PromiseLike<unknown>,
  indexes: readonly number[],
  read: ((value: unknown) => unknown) | null,
): PromiseLike<unknown> {
  const { operation } = field
  const pending = new PendingField(field, indexes, promise)
  operation.pendingFields.add(pending)
  // The result of an execution within a resolver goes to user code, which knows nothing of the switch.
  if (operation.phase !== 'foreground' || isNested(field.key)) return awaitedToItsEnd(operation, pending, read)
  const open = new Promise((resolve, reject) => {
    pending.reject = reject
    promise.then(
      (value) => {
        operation.pendingFields.delete(pending)
        resolve(read ? read(value) : value)
      },
      (error: unknown) => {
        operation.pendingFields.delete(pending)
        reject(error)
      },
    )
  })
  // An executor that gives up on a list leaves the promises of its items alone.
  if (indexes.length > 0) open.catch(() => {})
  return open
}

function awaitedToItsEnd(
  operation: FieldHome,
  pending: PendingField,
  read: ((value: unknown) => unknown) | null,
): PromiseLike<unknown> {
  const settled = (): void => {
    operation.pendingFields.delete(pending)
    operation.run?.considerParking()
  }
  if (!read) {
    pending.promise.then(settled, settled)
    return pending.promise
  }
  const given = pending.promise.then(
    (value) => {
      settled()
      return read(value)
    },
    (error: unknown) => {
      settled()
      throw error
    },
  )
  if (given instanceof Promise) given.catch(() => {})
  return given
}
