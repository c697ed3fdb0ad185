import { GraphQLError, Kind } from 'graphql'
import type { ValueNode } from 'graphql'
import { BAD_INPUT } from '../src/core/refusals.ts'

/**
 * A value as JSON. What JSON has comes out as `JSON.stringify` would write it, `toJSON` included; of what JSON loses,
 *
 * - Date is an ISO string (an invalid one null), BigInt a string, RegExp a string;
 * - Map is an array of its entries, Set an array;
 * - ArrayBuffer, DataView and arrays of bytes (Buffer too) are Base64, other typed arrays are arrays;
 * - an error is its name and message, never its stack;
 * - NaN, the infinities, functions and symbols are null, or left out of objects as `undefined` is.
 *
 * @throws GraphQLError where an object contains itself.
 */
export function toJson(value: unknown): unknown {
  return convert(value, new Set())
}

function convert(value: unknown, ancestors: Set<object>): unknown {
  if (typeof value === 'bigint') return String(value)
  if (typeof value === 'number') return Number.isFinite(value) ? value : null
  if (isAbsent(value)) return null
  if (typeof value !== 'object' || value === null) return value
  if (ancestors.has(value)) throw new GraphQLError('Expected data that JSON can hold, but an object contains itself.')
  ancestors.add(value)
  const json = convertObject(value, (inner) => convert(inner, ancestors))
  ancestors.delete(value) // the same object may stand in two places
  return json
}

function convertObject(value: object, inner: (value: unknown) => unknown): unknown {
  if (Array.isArray(value)) return value.map(inner)
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString()
  if (value instanceof RegExp) return String(value)
  if (value instanceof Map || value instanceof Set) return Array.from(value as Iterable<unknown>, inner)
  const bytes = bytesOf(value)
  if (bytes !== null) return bytes.toString('base64')
  if (ArrayBuffer.isView(value)) return Array.from(value as unknown as Iterable<unknown>, inner) // a DataView is bytes
  if ('toJSON' in value && typeof value.toJSON === 'function') return inner(value.toJSON(''))
  if (value instanceof Error) return { name: value.name, message: value.message }
  const entries = Object.entries(value).filter(([, property]) => !isAbsent(property))
  return Object.fromEntries(entries.map(([key, property]) => [key, inner(property)]))
}

function bytesOf(value: object): Buffer | null {
  if (value instanceof ArrayBuffer) return Buffer.from(value)
  if (value instanceof Uint8Array || value instanceof Uint8ClampedArray || value instanceof DataView) {
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  }
  return null
}

function isAbsent(value: unknown): boolean {
  return value === undefined || typeof value === 'function' || typeof value === 'symbol'
}

/** A literal of the query language as JSON, variables included. */
export function literalToJson(
  node: ValueNode,
  variables: Readonly<Record<string, unknown>> | null | undefined,
): unknown {
  switch (node.kind) {
    case Kind.NULL:
      return null
    case Kind.STRING:
    case Kind.BOOLEAN:
      return node.value
    case Kind.INT:
    case Kind.FLOAT:
      return finite(node.value, node)
    case Kind.LIST:
      return node.values.map((item) => literalToJson(item, variables) ?? null)
    case Kind.OBJECT:
      return Object.fromEntries(
        node.fields
          .map((field) => [field.name.value, literalToJson(field.value, variables)] as const)
          .filter(([, value]) => value !== undefined),
      )
    case Kind.VARIABLE:
      return variables?.[node.name.value] // absent ones are left out, and validation has no variables at all
    case Kind.ENUM:
      throw badLiteral(`Expected JSON, but got the name ${node.value}. Write it as a text: "${node.value}".`, node)
  }
}

function finite(text: string, node: ValueNode): number {
  const value = Number(text)
  if (Number.isFinite(value)) return value
  throw badLiteral(`Expected a number that JSON can hold, but got ${text.slice(0, 60)}.`, node)
}

function badLiteral(message: string, nodes: ValueNode): GraphQLError {
  return new GraphQLError(message, { nodes, extensions: BAD_INPUT })
}
