import { createHash, type Hash } from 'node:crypto'
import { isObject } from '../core/objects.ts'

/*
 * A million runs may wait for events of one name, each with a pattern of its own ("order 7"), and a million events of
 * one name may be kept. Matching is for core, but most of them need not be looked at: an event that matches has every
 * leaf of the pattern, and so waits are found by one leaf of their pattern, and events by theirs. A leaf is a hash of a
 * value and of the path to it. Paths are hashed as they are walked, so that what it takes is linear in the data.
 */

/** Of an event. Beyond, every wait of its name is looked at. */
const MAX_LEAVES = 1_000
/** Of an event, by which it is found. Beyond, it is looked at by every look-up of its name. */
const MAX_INDEXED = 100
/** Of a pattern, among which the one to look by is chosen. */
const MAX_CHOICE = 8
/** What is walked through at most; whatever is larger or deeper counts as having too many leaves. */
const MAX_NODES = 10_000
const MAX_DEPTH = 100

/** Keys whose values tell entities apart. */
const IDENTIFYING = /(?:id|key|token|number|code)$/i

interface Leaf {
  readonly hash: string
  /** How well it tells one entity from another, at a guess. */
  readonly weight: number
}

/** Some leaves of a pattern, those first that look as if few events had them; none: it may match any event. */
export function leavesOfPattern(pattern: unknown): string[] {
  const { leaves } = walk(pattern, MAX_CHOICE)
  return leaves.toSorted((one, other) => other.weight - one.weight).map(({ hash }) => hash)
}

/** The one that a wait is found by; null where it has none. */
export function leafOf(pattern: unknown): string | null {
  return leavesOfPattern(pattern)[0] ?? null
}

/** Of all of an event's leaves; null where there are too many. */
export function leavesOf(data: unknown): string[] | null {
  const { leaves, isComplete } = walk(data, MAX_LEAVES)
  return isComplete ? [...new Set(leaves.map(({ hash }) => hash))] : null
}

/** What an event with these leaves is found by; null where it has to be looked at by every look-up of its name. */
export function indexOf(name: string, leaves: readonly string[] | null): string[] | null {
  return leaves === null || leaves.length > MAX_INDEXED ? null : indexKeys(name, leaves)
}

/** Events of several names have the same leaves. */
export function indexKeys(name: string, leaves: readonly string[]): string[] {
  if (leaves.length === 0) return []
  const ofName = BigInt(digest(createHash('sha256').update(name)))
  return leaves.map((leaf) => BigInt.asIntN(64, ofName ^ BigInt(leaf)).toString())
}

interface Level {
  readonly value: object
  readonly keys: readonly string[]
  readonly path: Hash
  next: number
}

/** Level by level rather than by recursion: whoever sends an event decides how deep it is. */
function walk(root: unknown, limit: number): { readonly leaves: readonly Leaf[]; readonly isComplete: boolean } {
  const leaves: Leaf[] = []
  const levels: Level[] = []
  let nodes = 0

  /** False where it is too much. */
  function visit(key: string, value: unknown, path: Hash): boolean {
    if (!isObject(value)) {
      leaves.push({ hash: digest(path.update(`=${JSON.stringify(value)}`)), weight: weigh(key, value) })
      return leaves.length <= limit
    }
    // The keys of a long array would take longer than the array itself did.
    const keys = Array.isArray(value) && value.length > MAX_NODES ? null : Object.keys(value)
    nodes += keys?.length ?? Infinity
    if (keys === null || nodes > MAX_NODES || levels.length === MAX_DEPTH) return false
    levels.push({ value, keys, path, next: 0 })
    return true
  }

  let isComplete = visit('', root, createHash('sha256'))
  for (let level = levels.at(-1); level && isComplete; level = levels.at(-1)) {
    const key = level.keys[level.next++]
    if (key === undefined) levels.pop()
    else {
      const value = (level.value as Record<string, unknown>)[key] // one of its own keys
      isComplete = visit(key, value, level.path.copy().update(`/${JSON.stringify(key)}`))
    }
  }
  return { leaves: leaves.slice(0, limit), isComplete }
}

function weigh(key: string, value: unknown): number {
  if (typeof value === 'boolean' || value === null) return 0
  return IDENTIFYING.test(key) ? 2 : 1
}

/** 64 bits, as PostgreSQL writes a bigint. */
function digest(hash: Hash): string {
  return hash.digest().readBigInt64BE().toString()
}
