import { isNonNullType } from 'graphql'
import type { GraphQLOutputType } from 'graphql'
import { isThenable } from './paths.ts'

/*
 * What a resolver returned, taken once. An operation is executed several times, and what the executor awaits or walks
 * through may stand only one of them: query builders run their query each time `then` is called, generators and streams
 * can be walked once. So these are turned into promises, arrays and shared iterables when they are first seen, and
 * every pass gets those.
 */

/** How many lists a type is, one within the other: `[[Int!]]!` is 2. */
export function listsOf(type: GraphQLOutputType): number {
  let lists = 0
  let at: { readonly ofType?: GraphQLOutputType } = type as never // only lists and non-null types have an `ofType`
  for (; at.ofType; at = at.ofType as never) if (!isNonNullType(at)) lists++
  return lists
}

/** The value itself where nothing of it has to be taken: most are (I8). */
export function adopt(value: unknown, lists: number): unknown {
  if (isThenable(value)) {
    const promise = toPromise(value)
    return lists === 0 ? promise : promise.then((list) => adoptList(list, lists))
  }
  return lists === 0 ? value : adoptList(value, lists)
}

function adoptList(value: unknown, lists: number): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (isAsyncIterable(value)) return value instanceof SharedItems ? value : new SharedItems(value, lists - 1)
  const iterate = (value as Partial<Iterable<unknown>>)[Symbol.iterator]
  if (Array.isArray(value) && iterate === Array.prototype[Symbol.iterator]) return adoptItems(value, lists - 1)
  return typeof iterate === 'function' ? adoptItems([...(value as Iterable<unknown>)], lists - 1) : value
}

/** The same array where it holds plain values only; another one also where it holds promises, which are to be kept. */
function adoptItems(items: readonly unknown[], lists: number): readonly unknown[] {
  let adopted: unknown[] | null = null
  for (let at = 0; at < items.length; at++) {
    const item = items[at]
    if (lists === 0 && !isThenable(item)) continue // most
    const taken = adopt(item, lists)
    if (taken !== item || isThenable(item)) (adopted ??= [...items])[at] = taken
  }
  return adopted ?? items
}

function isAsyncIterable(value: object): value is AsyncIterable<unknown> {
  return typeof (value as Partial<AsyncIterable<unknown>>)[Symbol.asyncIterator] === 'function'
}

const NATIVE_THEN: unknown = Reflect.get(Promise.prototype, 'then')

/** `then` is called here and nowhere else. */
function toPromise(value: PromiseLike<unknown>): Promise<unknown> {
  if (value instanceof Promise && (value as { readonly then: unknown }).then === NATIVE_THEN) return value
  const promise = new Promise((resolve, reject) => void value.then(resolve, reject))
  // Where the executor never comes to it (a sibling has thrown), its failure must not end the process.
  promise.catch(() => {})
  return promise
}

/** An async iterable that several executions can walk, each from its beginning: what came of it is kept. */
export class SharedItems implements AsyncIterable<unknown> {
  readonly #source: AsyncIterable<unknown>
  readonly #lists: number
  readonly #results: Promise<IteratorResult<unknown>>[] = []
  #iterator: AsyncIterator<unknown> | null = null

  constructor(source: AsyncIterable<unknown>, lists: number) {
    this.#source = source
    this.#lists = lists
  }

  /** What the iterator says when it is asked for the `index`th time, from 0. */
  at(index: number): Promise<IteratorResult<unknown>> {
    const known = this.#results[index]
    if (known) return known
    const result = this.#next()
    result.catch(() => {})
    this.#results[index] = result
    return result
  }

  async #next(): Promise<IteratorResult<unknown>> {
    this.#iterator ??= this.#source[Symbol.asyncIterator]()
    const result = await this.#iterator.next()
    return result.done ? result : { done: false, value: adopt(result.value, this.#lists) }
  }

  /** Nobody will walk it any further. */
  async close(): Promise<void> {
    await this.#iterator?.return?.()
  }

  [Symbol.asyncIterator](): AsyncIterator<unknown> {
    let index = 0
    return {
      next: () => this.at(index++),
      return: async () => {
        await this.close()
        return { done: true, value: undefined }
      },
    }
  }
}
