import type { GraphQLResolveInfo } from 'graphql'
import { itemByIdentity, itemByIndex, joinScope } from '../core/keys.ts'

type Path = GraphQLResolveInfo['path']
type Identify = (source: unknown, info: GraphQLResolveInfo) => string | number | null | undefined

/**
 * Names fields by their response path, and a list's items by their identity: a list that comes back in another order
 * does not hand an outcome to the wrong entity. Paths are objects of one execution, and so one instance serves all
 * passes, which may overlap: a foreground that was answered early goes on beside the background pass.
 */
export class Labels {
  readonly #identify: Identify
  /** List items, and fields that have another name than their response key. */
  readonly #items = new Map<Path, string>()
  /** How often an identity has come up, by list. */
  readonly #seen = new Map<Path, Map<string, number>>()

  constructor(identify: Identify) {
    this.#identify = identify
  }

  /** Notes the item that a field's source is, so that fields further down can be named by it. */
  note(info: GraphQLResolveInfo, source: unknown): void {
    const item = info.path.prev
    if (typeof item?.key !== 'number' || this.#items.has(item)) return
    this.#items.set(item, this.#label(item, info, source))
  }

  /** Gives a field another name than its response key, also for the fields below it. */
  rename(info: GraphQLResolveInfo, label: string): void {
    this.#items.set(info.path, label)
  }

  keyOf(info: GraphQLResolveInfo, source: unknown): string {
    this.note(info, source)
    return info.path.prev || this.#items.size > 0 ? joinScope(this.#labelsTo(info.path)) : String(info.path.key)
  }

  #labelsTo(path: Path): string[] {
    const labels: string[] = []
    for (let at: Path | undefined = path; at; at = at.prev) {
      labels.push(this.#items.get(at) ?? (typeof at.key === 'number' ? itemByIndex(at.key) : at.key))
    }
    return labels.toReversed()
  }

  #label(item: Path, info: GraphQLResolveInfo, source: unknown): string {
    const identity = this.#identify(source, info)
    if (identity === null || identity === undefined) return itemByIndex(Number(item.key))
    const list = item.prev ?? item
    const seen = this.#seen.get(list) ?? new Map<string, number>()
    this.#seen.set(list, seen)
    const occurrence = (seen.get(String(identity)) ?? 0) + 1
    seen.set(String(identity), occurrence)
    return itemByIdentity(identity, occurrence)
  }
}
