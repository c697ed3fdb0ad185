import { isWithin } from '../core/keys.ts'

/**
 * Steps of a run that were called and have no outcome yet. A run ends after them, whether they were awaited or not: an
 * attempt is under way, or a retry is outstanding. Sleeps and waits for events are none of them: they may be what a
 * race has left, and nobody would come to their end.
 */
export class Unfinished {
  readonly #keys = new Set<string>()
  #fields: { readonly scopeKey: string; readonly onDone: () => void }[] = []

  get size(): number {
    return this.#keys.size
  }

  get keys(): readonly string[] {
    return [...this.#keys]
  }

  add(key: string): void {
    this.#keys.add(key)
  }

  delete(key: string): void {
    this.#keys.delete(key)
  }

  /** Of that field, or below it. */
  isWithin(scopeKey: string): boolean {
    for (const key of this.#keys) if (isWithin(key, scopeKey)) return true
    return false
  }

  /** Calls back when `settle` finds none within that field any more. */
  whenDone(scopeKey: string, onDone: () => void): void {
    this.#fields.push({ scopeKey, onDone })
  }

  /** Nothing is on its way to the code: what it wanted to call, it has called. */
  settle(): void {
    if (this.#fields.length === 0) return
    const done = this.#fields.filter(({ scopeKey }) => !this.isWithin(scopeKey))
    this.#fields = this.#fields.filter((field) => !done.includes(field))
    for (const { onDone } of done) onDone()
  }

  clear(): void {
    this.#keys.clear()
    this.#fields = []
  }
}
