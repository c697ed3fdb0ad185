import { createHash } from 'node:crypto'
import { stripIgnoredCharacters } from 'graphql'
import { canonicalJson } from '../core/canonical-json.ts'
import { encode } from '../core/codec.ts'

/** What makes one request another than the next. */
export interface Requested {
  readonly document: string
  readonly operationName: string | null
  readonly variables: Readonly<Record<string, unknown>>
}

/**
 * Tells a request that came twice from another one under the same idempotency key. What does not change an operation
 * does not count: the order of variables and of the members of input objects, and what the language ignores in a
 * document (white space, commas, comments).
 */
export function fingerprintOf({ document, operationName, variables }: Requested): string {
  return hash(canonicalJson([significant(document), operationName, variables], (value) => `~${encode(value)}`))
}

/** As the first versions made it: keys live for as long as their runs, also over a deploy. */
export function formerFingerprintOf({ document, operationName, variables }: Requested): string {
  return hash(encode([document, operationName, variables]))
}

function significant(document: string): string {
  try {
    return stripIgnoredCharacters(document)
  } catch {
    return document // of another language than graphql's lexer knows
  }
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('base64url')
}
