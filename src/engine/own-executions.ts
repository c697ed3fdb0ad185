import type { GraphQLResolveInfo } from 'graphql'
import type { Scope } from './scope.ts'

/**
 * Which executions are an operation's own passes. Resolvers and steps may execute more with the same context (stitching,
 * `delegateToSchema`, `execute` itself), and such an execution's root fields look like the operation's. The coerced
 * variables are an object of one execution, and tell which one a field belongs to.
 *
 * An execution within a resolver is nested in that field. One whose field cannot be told, or that was begun in a step, is
 * foreign: its fields run as if there were no operation, and cannot use steps.
 */
export class OwnExecutions {
  readonly #own: unknown[] = []
  #awaited = false
  #nested: WeakMap<object, Scope> | null = null
  #foreign: WeakSet<object> | null = null

  /** The executor is about to be called: the first root field that comes, of no execution known so far, is its. */
  expect(): void {
    this.#awaited = true
  }

  /** Whether a root field belongs to a pass. */
  claim({ variableValues }: GraphQLResolveInfo): boolean {
    if (this.#own.includes(variableValues)) return true
    if (this.#awaited) {
      this.#awaited = false
      this.#own.push(variableValues)
      return true
    }
    return false
  }

  /** The field in which an execution that is no pass has its place, if it has one. */
  enclosing({ variableValues }: GraphQLResolveInfo, find: () => Scope | null): Scope | null {
    const known = this.#nested?.get(variableValues)
    if (known) return known
    const found = find()
    if (found) (this.#nested ??= new WeakMap()).set(variableValues, found)
    else (this.#foreign ??= new WeakSet()).add(variableValues)
    return found
  }

  isForeign({ variableValues }: GraphQLResolveInfo): boolean {
    return this.#foreign !== null && this.#foreign.has(variableValues)
  }
}
