import type { GraphQLResolveInfo } from 'graphql'
import { isWithin } from '../core/keys.ts'
import type { Kept } from './field-promises.ts'
import type { Labels } from './labels.ts'
import { isThenable } from './paths.ts'

/**
 * What resolvers gave that were called before there was a run: a later pass takes it over, should there be one. Keys are
 * made when there is a run, since most operations become none (I8).
 */
export class ResultsBeforeRun {
  /** (info, source, value) each: an object for each would be the operation's only one. */
  readonly #results: unknown[] = []
  /** Those that are under way: the executor cannot be told about them. Null before there is a run. */
  #underWay: Set<string> | null = null

  add(info: GraphQLResolveInfo, source: unknown, value: unknown): void {
    this.#results.push(info, source, value)
  }

  /** There is a run. */
  keepIn(kept: Map<string, Kept>, labels: Labels): void {
    const underWay = new Set<string>()
    this.#underWay = underWay
    for (let at = 0; at < this.#results.length; at += 3) {
      const info = this.#results[at] as GraphQLResolveInfo // written by `add`
      const value = this.#results[at + 2]
      const key = labels.keyOf(info, this.#results[at + 1])
      kept.set(key, { value, scope: null })
      if (!isThenable(value)) continue
      underWay.add(key)
      const settled = (): void => void underWay.delete(key)
      value.then(settled, settled)
    }
    this.#results.length = 0
  }

  /** One of them is under way, of that field or of one below it. */
  isUnderWayWithin(scopeKey: string): boolean {
    for (const key of this.#underWay ?? []) if (isWithin(`${key}>`, scopeKey)) return true
    return false
  }
}
