import type { PendingField } from './field-promises.ts'
import type { Scope } from './scope.ts'

/**
 * What an operation's executor awaits. What belongs to a scope is found without a look at everything: in an operation
 * with thousands of pending fields, each of them is asked for.
 */
export class PendingFields implements Iterable<PendingField> {
  readonly #all = new Set<PendingField>()
  // Each is made when it is first needed: most operations use no tool (I8).
  #byKey: Index | null = null
  #within: Index | null = null

  get size(): number {
    return this.#all.size
  }

  [Symbol.iterator](): Iterator<PendingField> {
    return this.#all.values()
  }

  add(field: PendingField): void {
    this.#all.add(field)
    this.#byKey?.add(field)
    this.#within?.add(field)
  }

  delete(field: PendingField): void {
    this.#all.delete(field)
    this.#byKey?.delete(field)
    this.#within?.delete(field)
  }

  /** What the request awaits for a scope: its own promises, and the fields whose resolvers its field is executed in. */
  awaiting(scope: Scope): PendingField[] {
    // A scope is that of a field at its key, or below it (see PendingField).
    const own = this.below(scope.key).filter((field) => field.reject && field.scope === scope)
    const outer = enclosing(scope.key)
    if (outer.length === 0) return own
    const byKey = (this.#byKey ??= new Index(this.#all, ({ key }) => [key]))
    const around = outer.flatMap((key) => byKey.get(key)).filter((field) => field.reject)
    return [...new Set([...own, ...around])]
  }

  /** Those at the scope and below it. */
  below(scopeKey: string): PendingField[] {
    this.#within ??= new Index(this.#all, ({ key }) => upwards(key))
    return this.#within.get(scopeKey)
  }

  /** Every promise waits for a tool, or for a field that is executed within the resolver it came from. */
  get allWaitForTools(): boolean {
    const enclosings = new Set<string>()
    for (const { key } of this.#all) for (const outer of enclosing(key)) enclosings.add(outer)
    for (const field of this.#all) if (!waitsForTool(field) && !enclosings.has(field.key)) return false
    return true
  }
}

/** Pending fields by keys that they have. Most keys have one: those need no set. */
class Index {
  readonly #keysOf: (field: PendingField) => readonly string[]
  readonly #fields = new Map<string, PendingField | Set<PendingField>>()

  constructor(fields: Iterable<PendingField>, keysOf: (field: PendingField) => readonly string[]) {
    this.#keysOf = keysOf
    for (const field of fields) this.add(field)
  }

  add(field: PendingField): void {
    for (const key of this.#keysOf(field)) {
      const known = this.#fields.get(key)
      if (known === undefined) this.#fields.set(key, field)
      else if (known instanceof Set) known.add(field)
      else this.#fields.set(key, new Set([known, field]))
    }
  }

  delete(field: PendingField): void {
    for (const key of this.#keysOf(field)) {
      const known = this.#fields.get(key)
      if (known === field || (known instanceof Set && known.delete(field) && known.size === 0)) this.#fields.delete(key)
    }
  }

  get(key: string): PendingField[] {
    const known = this.#fields.get(key)
    return known === undefined ? [] : known instanceof Set ? [...known] : [known]
  }
}

function waitsForTool(field: PendingField): boolean {
  return (field.scope?.pendingTools ?? 0) > 0
}

/** The keys of the fields within whose resolvers it is executed: of `a/b/c`, `a` and `a/b` (see `isNestedIn`). */
function enclosing(key: string): string[] {
  const keys: string[] = []
  for (let at = key.indexOf('/'); at >= 0; at = key.indexOf('/', at + 1)) keys.push(key.slice(0, at))
  return keys
}

/** The scope itself and those above it (see `isWithin`). */
function upwards(key: string): string[] {
  const scopes = [key]
  for (let at = key.length - 1; at > 0; at--) if (key[at] === '.' || key[at] === '/') scopes.push(key.slice(0, at))
  return scopes
}
