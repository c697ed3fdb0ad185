import { GraphQLError, GraphQLScalarType, Kind } from 'graphql'
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

function toDate(value: unknown, name: string): Date {
  const date = value instanceof Date ? value : new Date(typeof value === 'string' ? value : Number.NaN)
  if (!Number.isNaN(date.getTime())) return date
  throw new GraphQLError(`Expected ${name} to be an instant such as "2026-11-25T09:00:00.000Z".`)
}
