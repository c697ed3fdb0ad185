/**
 * Journal keys. A key is `scope>id`, the scope being the response path with list items named by their identity:
 * `orders.[:7].ship>label#2` is the second `label` of the field `ship` of order '7'. A root field's own response is
 * kept under its scope with an empty id, `checkout>`; no step can have that.
 */

import { readableIdentity } from './identity.ts'

/** Without the characters that mean something in a key. Everything else stays readable. */
function escapeLabel(text: string): string {
  return escapeHalves(text.replace(/[%./>~:]/g, (character) => `%${character.charCodeAt(0).toString(16)}`))
}

/** Half a surrogate pair is no text to a store, which would write another one in its place. */
function escapeHalves(text: string): string {
  return text.isWellFormed() ? text : text.replace(/\p{Surrogate}/gu, (half) => `%u${half.charCodeAt(0).toString(16)}`)
}

function decodeLabel(label: string): string {
  return label.replace(/%(?:u([0-9a-f]{4})|([0-9a-f]{2}))/gi, (_all, half: string, code: string) =>
    String.fromCharCode(Number.parseInt(half ?? code, 16)),
  )
}

/**
 * The label of a list's item that is known by its identity (`identityText`); with its type, where the list may hold several: `[:User:7]`.
 */
export function itemByIdentity(identity: string | number, occurrence: number, type: string | null = null): string {
  const name = `${type === null ? '' : `${type}:`}${escapeLabel(String(identity))}`
  return `[:${name}${occurrence > 1 ? `~${occurrence}` : ''}]`
}

/** The label of a list's item that has none. */
export function itemByIndex(index: number): string {
  return `[${index}]`
}

/** The label of a field that `@durable(id:)` names. */
export function fieldById(id: string): string {
  return `@${escapeLabel(id)}`
}

export function joinScope(labels: readonly string[]): string {
  return labels.join('.')
}

/** @param occurrence from 1 */
export function stepKey(scope: string, id: string, occurrence: number): string {
  return `${scope}>${escapeHalves(id.replace(/[%#]/g, encodeURIComponent))}${occurrence > 1 ? `#${occurrence}` : ''}`
}

export function fieldKey(scope: string): string {
  return `${scope}>`
}

export interface ParsedKey {
  readonly path: readonly string[]
  /** As the user wrote it, with its occurrence from the second on. */
  readonly step: string
}

export function parseKey(key: string): ParsedKey {
  const at = key.indexOf('>')
  const [id = '', occurrence] = key.slice(at + 1).split('#')
  const name = decodeLabel(id)
  return {
    path: key.slice(0, at).split('.').map(readableLabel),
    step: occurrence === undefined ? name : `${name}#${occurrence}`,
  }
}

/**
 * The key's field as `errors[].path` of the response names it, as far as the key tells: an item that is known by its
 * identity has an index that only the list knows, and a field within a resolver's own execution is in no response.
 */
export function responsePathOf(key: string): readonly (string | number)[] | null {
  const labels = key.slice(0, key.indexOf('>')).split('.')
  if (labels.some((label) => label.startsWith('[:') || label.startsWith('@') || isNested(label))) return null
  return labels.map((label) => (label.startsWith('[') ? Number(label.slice(1, -1)) : label))
}

function readableLabel(label: string): string {
  if (label.startsWith('@')) return decodeLabel(label.slice(1))
  if (!label.startsWith('[')) return label
  const name = label.slice(1, -1)
  return name.startsWith(':') ? readableIdentity(decodeLabel(name.replace(/^:(\w+:)?/, ''))) : name
}

/** Whether a scope is that of a field of an execution within a resolver. Labels have no other `/`. */
export function isNested(scope: string): boolean {
  return scope.includes('/')
}

/** Whether a scope belongs to an execution within the resolver of another. */
export function isNestedIn(scope: string, enclosing: string): boolean {
  return scope.startsWith(`${enclosing}/`)
}

/** The scope of the field or item around this one; null for a root field, also of an execution within a resolver. */
export function scopeAround(scope: string): string | null {
  const at = scope.lastIndexOf('.')
  return at > scope.lastIndexOf('/') ? scope.slice(0, at) : null
}

/** Whether the key belongs to the scope or to one below it. */
export function isWithin(key: string, scope: string): boolean {
  const next = key[scope.length]
  return key.startsWith(scope) && (next === '>' || next === '.' || next === '/')
}
