import { createHash } from 'node:crypto'
import { getOperationAST, parse, stripIgnoredCharacters, valueFromASTUntyped } from 'graphql'
import type { OperationDefinitionNode } from 'graphql'
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
 * does not count: the order of variables and of the members of input objects, variables that the operation does not
 * have, whether a variable is given its default or is not given, and what the language ignores in a document (white
 * space, commas, comments).
 */
export function fingerprintOf(requested: Requested): string {
  const { document, operationName } = requested
  const parts = [significant(document), operationName, ownVariables(requested)]
  return hash(canonicalJson(parts, (value) => `~${encode(value)}`))
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

/** What the operation's own variables come to. As they were sent where that cannot be told. */
function ownVariables({ document, operationName, variables }: Requested): Requested['variables'] {
  const operation = operationOf(document, operationName)
  if (!operation) return variables
  const given = new Map(Object.entries(variables))
  const own = (operation.variableDefinitions ?? []).map(({ variable, defaultValue }): [string, unknown] => {
    const value = given.get(variable.name.value)
    return [variable.name.value, value === undefined && defaultValue ? valueFromASTUntyped(defaultValue) : value]
  })
  return Object.fromEntries(own)
}

function operationOf(document: string, operationName: string | null): OperationDefinitionNode | null {
  try {
    return getOperationAST(parse(document, { noLocation: true }), operationName) ?? null
  } catch {
    return null
  }
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('base64url')
}
