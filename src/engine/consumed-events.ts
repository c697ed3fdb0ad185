/** Events that a run has consumed: ids, each unique within the name of its event. */
export class ConsumedEvents {
  readonly #byName = new Map<string, Set<string>>()
  /** Of outcomes that an earlier version wrote, which did not say of which name they were. */
  readonly #ofAnyName = new Set<string>()

  add(name: string | null, id: string): void {
    if (name === null) {
      this.#ofAnyName.add(id)
      for (const ids of this.#byName.values()) ids.add(id)
    } else this.#idsOf(name).add(id)
  }

  of(name: string): ReadonlySet<string> {
    return this.#idsOf(name)
  }

  #idsOf(name: string): Set<string> {
    let ids = this.#byName.get(name)
    if (!ids) this.#byName.set(name, (ids = new Set(this.#ofAnyName)))
    return ids
  }
}
