import { show } from './refusals.ts'

/*
 * Which classes an error that comes out of a journal may have again. A class is no data: a process knows those that its
 * code names (the option `errorClasses`), and those that it has seen. What a resolver gets may only rest on the former,
 * since a replay in another process has to come out the same (I11); what masks a finished field's errors gets both.
 */

export type ErrorClass = abstract new (...args: never[]) => Error

/** By name. Named again, as by a development server that loads a module anew, the later one counts. */
const named = new Map<string, object>()

/** By name; null where two of one name were seen, since a class that is not sure is none. */
const seen = new Map<string, object | null>()
const MAX_SEEN = 1000

/** @throws TypeError where one of them is no error class, has no name, or shares it with another one. */
export function nameErrorClasses(classes: readonly ErrorClass[]): void {
  const prototypes = new Map<string, object>()
  for (const each of classes) {
    const prototype: unknown = typeof each === 'function' ? each.prototype : undefined
    if (!(prototype instanceof Error) || each.name === '') {
      const got = typeof each !== 'function' ? show(each) : each.name === '' ? 'one without a name' : `"${each.name}"`
      throw new TypeError(`Expected errorClasses to be classes with a name that extend Error, but got ${got}.`)
    }
    if ((prototypes.get(each.name) ?? prototype) !== prototype) {
      throw new TypeError(
        `Expected each of errorClasses to have a name of its own, but two are "${each.name}". Rename one of them.`,
      )
    }
    prototypes.set(each.name, prototype)
  }
  for (const [name, prototype] of prototypes) named.set(name, prototype)
}

/** The name of the nearest named class that the error is an instance of. */
export function namedClassOf(error: object): string | undefined {
  if (named.size === 0) return undefined
  for (let at: unknown = Object.getPrototypeOf(error); at instanceof Error; at = Object.getPrototypeOf(at)) {
    const name = ownName(at)
    if (name !== undefined && named.get(name) === at) return name
  }
  return undefined
}

export function namedPrototype(name: string): object | null {
  return named.get(name) ?? null
}

/** Remembers the error's own class, and gives its name. */
export function noteClassOf(error: object): string | undefined {
  const prototype: unknown = Object.getPrototypeOf(error)
  const name = prototype instanceof Error ? ownName(prototype) : undefined
  if (name === undefined) return undefined
  const known = seen.get(name)
  if (known !== undefined) {
    if (known !== prototype) seen.set(name, null)
  } else if (seen.size < MAX_SEEN) {
    seen.set(name, prototype as object)
  }
  return name
}

export function seenPrototype(name: string): object | null {
  return seen.get(name) ?? null
}

function ownName(prototype: object): string | undefined {
  const name: unknown = Object.hasOwn(prototype, 'constructor') ? Reflect.get(prototype.constructor, 'name') : undefined
  return typeof name === 'string' && name !== '' ? name : undefined
}
