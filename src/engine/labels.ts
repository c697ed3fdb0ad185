import { isAbstractType } from 'graphql'
import type { GraphQLObjectType, GraphQLResolveInfo } from 'graphql'
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
  #items: Map<Path, string> | null = null
  /** How often an identity has come up, by list. */
  #seen: Map<Path, Map<string, number>> | null = null

  constructor(identify: Identify) {
    this.#identify = identify
  }

  /** Notes the item that a field's source is, so that fields further down can be named by it. */
  note(info: GraphQLResolveInfo, source: unknown): void {
    const item = info.path.prev
    if (typeof item?.key !== 'number') return
    this.#items ??= new Map()
    if (!this.#items.has(item)) this.#items.set(item, this.#label(item, info, source))
  }

  /** Gives a field another name than its response key, also for the fields below it. */
  rename(info: GraphQLResolveInfo, label: string): void {
    this.#items ??= new Map()
    this.#items.set(info.path, label)
  }

  keyOf(info: GraphQLResolveInfo, source: unknown): string {
    this.note(info, source)
    return info.path.prev || this.#items ? joinScope(this.#labelsTo(info.path)) : String(info.path.key)
  }

  /** A source whose `id` cannot be read is an item without an identity, also for operations that never asked for it. */
  #identityOf(source: unknown, info: GraphQLResolveInfo): ReturnType<Identify> {
    try {
      return this.#identify(source, info)
    } catch {
      return null
    }
  }

  #labelsTo(path: Path): string[] {
    const labels: string[] = []
    for (let at: Path | undefined = path; at; at = at.prev) {
      labels.push(this.#items?.get(at) ?? (typeof at.key === 'number' ? itemByIndex(at.key) : at.key))
    }
    return labels.toReversed()
  }

  #label(item: Path, info: GraphQLResolveInfo, source: unknown): string {
    const identity = this.#identityOf(source, info)
    if (identity === null || identity === undefined) return itemByIndex(Number(item.key))
    const list = item.prev ?? item
    this.#seen ??= new Map()
    const seen = this.#seen.get(list) ?? new Map<string, number>()
    this.#seen.set(list, seen)
    const type = isOneOfSeveral(info) ? info.parentType.name : null
    const counted = `${type ?? ''}:${identity}`
    const occurrence = (seen.get(counted) ?? 0) + 1
    seen.set(counted, occurrence)
    return itemByIdentity(identity, occurrence, type)
  }
}

const oneOfSeveral = new WeakMap<GraphQLObjectType, boolean>()

/** Objects of several types may share a list, and the same id, where theirs implements an interface or is in a union. */
function isOneOfSeveral({ parentType, schema }: GraphQLResolveInfo): boolean {
  const known = oneOfSeveral.get(parentType)
  if (known !== undefined) return known
  const isMember = Object.values(schema.getTypeMap()).some(
    (type) => isAbstractType(type) && schema.isSubType(type, parentType),
  )
  oneOfSeveral.set(parentType, isMember)
  return isMember
}
