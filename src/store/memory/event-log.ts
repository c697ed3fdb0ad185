import { indexOf, leavesOf } from '../leaf.ts'
import type { EventRecord, NewEvent } from '../store.ts'

/** An event, its place in the order of acceptance, and what it is found by; null: whatever is asked for of its name. */
interface Entry {
  readonly event: EventRecord
  readonly place: number
  readonly keys: readonly string[] | null
}

/** What is known of the events of one name. */
interface OfName {
  readonly byId: Map<string, Entry>
  /** By index key (leaf.ts). */
  readonly byKey: Map<string, Set<Entry>>
  readonly unindexed: Set<Entry>
}

/** The events that were accepted. An id is unique within its name. */
export class EventLog {
  readonly #names = new Map<string, OfName>()
  #next = 0

  /** False where the id was seen before under this name. */
  add({ id, name, data }: NewEvent, parsed: unknown, acceptedAt: number): boolean {
    if (this.#names.get(name)?.byId.has(id)) return false
    const keys = indexOf(name, leavesOf(parsed))
    this.#put({ event: { id, name, data, acceptedAt }, place: this.#next++, keys })
    return true
  }

  /** Answers how to put it back where it was. */
  remove({ name, id }: Pick<EventRecord, 'name' | 'id'>): () => void {
    const ofName = this.#names.get(name)
    const entry = ofName?.byId.get(id)
    if (!ofName || !entry) return () => {}
    ofName.byId.delete(id)
    for (const set of setsOf(ofName, entry)) set.delete(entry)
    for (const key of entry.keys ?? []) if (ofName.byKey.get(key)?.size === 0) ofName.byKey.delete(key)
    if (ofName.byId.size === 0) this.#names.delete(name)
    return () => this.#put(entry)
  }

  /** In no order. */
  *all(): Iterable<EventRecord> {
    for (const { byId } of this.#names.values()) for (const { event } of byId.values()) yield event
  }

  /** Those of a name that one of the index keys may find, in the order of their acceptance; null: all of the name. */
  find(name: string, keys: readonly string[] | null): EventRecord[] {
    const ofName = this.#names.get(name)
    if (!ofName) return []
    const entries =
      keys === null
        ? ofName.byId.values()
        : new Set([...ofName.unindexed, ...keys.flatMap((key) => [...(ofName.byKey.get(key) ?? [])])])
    return [...entries].toSorted((one, other) => one.place - other.place).map(({ event }) => event)
  }

  count(name: string, key: string): number {
    return this.#names.get(name)?.byKey.get(key)?.size ?? 0
  }

  #put(entry: Entry): void {
    const { name, id } = entry.event
    let ofName = this.#names.get(name)
    if (!ofName) this.#names.set(name, (ofName = { byId: new Map(), byKey: new Map(), unindexed: new Set() }))
    ofName.byId.set(id, entry)
    for (const set of setsOf(ofName, entry)) set.add(entry)
  }
}

function setsOf({ byKey, unindexed }: OfName, { keys }: Entry): Set<Entry>[] {
  if (keys === null) return [unindexed]
  return keys.map((key) => {
    let set = byKey.get(key)
    if (!set) byKey.set(key, (set = new Set()))
    return set
  })
}
