import { GraphQLScalarType, Kind } from 'graphql'
import { badInput, show } from '../src/core/refusals.ts'
import { literalToJson, toJson } from './json.ts'
import type { Names } from './names.ts'

/** `serialize`, `parseValue` and `parseLiteral` are the names that graphql 16 and 17 both know. */
export function createScalars(names: Names): readonly GraphQLScalarType[] {
  return [createJson(names.type('DurableJSON')), createDateTime(names.type('DurableDateTime'))]
}

function createJson(name: string): GraphQLScalarType {
  return new GraphQLScalarType({
    name,
    description:
      'Any JSON. On the way out, dates are ISO strings, big integers strings, maps arrays of entries, sets arrays, and bytes Base64.',
    serialize: toJson,
    parseValue: (value) => value,
    parseLiteral: literalToJson,
  })
}

function createDateTime(name: string): GraphQLScalarType {
  return new GraphQLScalarType({
    name,
    description: 'An instant in ISO 8601, in UTC, with milliseconds: 2026-11-25T09:00:00.000Z',
    specifiedByURL: 'https://www.rfc-editor.org/rfc/rfc3339',
    serialize: (value) => toDate(value, name).toISOString(),
    parseValue: (value) => toDate(value, name),
    parseLiteral: (node) => toDate(node.kind === Kind.STRING ? node.value : undefined, name),
  })
}

/** RFC 3339. Date.parse makes something of `'1'` as well. */
const INSTANT = /^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$/

function toDate(value: unknown, name: string): Date {
  const isInstant = value instanceof Date || (typeof value === 'string' && INSTANT.test(value))
  const date = new Date(isInstant ? value : Number.NaN)
  if (!Number.isNaN(date.getTime())) return date
  throw badInput(`Expected ${name} to be an instant such as "2026-11-25T09:00:00.000Z", but got ${show(value)}.`)
}
