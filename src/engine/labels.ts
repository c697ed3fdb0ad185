import { isAbstractType } from 'graphql'
import type { GraphQLObjectType, GraphQLResolveInfo } from 'graphql'
import { identityText } from '../core/identity.ts'
import { itemByIdentity, itemByIndex, joinScope } from '../core/keys.ts'

type Path = GraphQLResolveInfo['path']

/** How items of lists are told apart. */
export interface Identities {
  /** What tells an item from the others of its list; nothing, where it has no identity. */
  identify(source: unknown, info: GraphQLResolveInfo): unknown
  /** Steps are named by an item whose identity is no text and cannot be made one. */
  onUnusable(identity: unknown, info: GraphQLResolveInfo): void
}

/**
 * Names fields by their response path, and a list's items by their identity: a list that comes back in another order
 * does not hand an outcome to the wrong entity. Paths are objects of one execution, and so one instance serves all
 * passes, which may overlap: a foreground that was answered early goes on beside the background pass.
 */
export class Labels {
  readonly #identities: Identities
  readonly #textOf: (identity: unknown) => string | null
  /** List items, and fields that have another name than their response key. */
  #items: Map<Path, string> | null = null
  /** How often an identity has come up, by list. */
  #seen: Map<Path, Map<string, number>> | null = null
  /** Items with an identity that is none, until a step is named by them. */
  #unusable: Map<Path, () => void> | null = null

  /** @param textOf how a run that is carried on names what it has; `identityText` for new ones */
  constructor(identities: Identities, textOf: (identity: unknown) => string | null = identityText) {
    this.#identities = identities
    this.#textOf = textOf
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
    if (this.#unusable) this.#tellOfUnusable(this.#unusable, info.path)
    return info.path.prev || this.#items ? joinScope(this.#labelsTo(info.path)) : String(info.path.key)
  }

  /** A source whose `id` cannot be read is an item without an identity, also for operations that never asked for it. */
  #identityOf(source: unknown, info: GraphQLResolveInfo): unknown {
    try {
      return this.#identities.identify(source, info)
    } catch {
      return null
    }
  }

  #tellOfUnusable(unusable: Map<Path, () => void>, path: Path): void {
    for (let at: Path | undefined = path; at; at = at.prev) {
      unusable.get(at)?.()
      unusable.delete(at)
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
    const text = this.#textOf(identity)
    if (text === null) {
      if (identity !== null && identity !== undefined) {
        this.#unusable ??= new Map()
        this.#unusable.set(item, () => this.#identities.onUnusable(identity, info))
      }
      return itemByIndex(Number(item.key))
    }
    const list = item.prev ?? item
    this.#seen ??= new Map()
    const seen = this.#seen.get(list) ?? new Map<string, number>()
    this.#seen.set(list, seen)
    const type = isOneOfSeveral(info) ? info.parentType.name : null
    const counted = `${type ?? ''}:${text}`
    const occurrence = (seen.get(counted) ?? 0) + 1
    seen.set(counted, occurrence)
    return itemByIdentity(text, occurrence, type)
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
