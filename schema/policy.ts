import { valueFromASTUntyped } from 'graphql'
import type { FieldDefinitionNode } from 'graphql'
import { toMs } from '../src/core/duration.ts'
import type { Duration } from '../src/core/duration.ts'
import { isObject } from '../src/core/objects.ts'
import type { FieldPolicy } from '../src/core/policy.ts'
import { show } from '../src/core/refusals.ts'

/** The part of a field, or of a field's config, that a policy is read from. */
export interface PolicyBearer {
  readonly astNode?: FieldDefinitionNode | null | undefined
  readonly extensions?: Readonly<Record<string, unknown>> | null | undefined
}

/**
 * A field's policy, or null where it has none. The first of `extensions.durable`, `extensions.directives.durable` and
 * `@durable` in the SDL counts as a whole: extensions are what code wrote on purpose, maybe over an SDL it was given.
 *
 * @throws TypeError where an argument is unknown or has a bad value, naming the field, what was expected and what came.
 */
export function readFieldPolicy(coordinate: string, field: PolicyBearer): FieldPolicy | null {
  const found = field.extensions?.['durable'] ?? readDirectiveArguments(coordinate, field, 'durable')
  return found === undefined ? null : parsePolicy(coordinate, found)
}

/** The arguments of a directive as they were written; undefined where the field does not carry it. */
export function readDirectiveArguments(coordinate: string, field: PolicyBearer, name: string): unknown {
  return fromExtensions(coordinate, field, name) ?? fromSdl(field, name)
}

function fromExtensions(coordinate: string, field: PolicyBearer, name: string): unknown {
  const directives = field.extensions?.['directives']
  if (typeof directives !== 'object' || directives === null) return undefined
  if (Array.isArray(directives)) {
    // The form of schema builders that keep the order of directives: [{ name, args }].
    const one: unknown = directives.find((directive) => directive?.name === name)
    return isObject(one) ? (one['args'] ?? {}) : undefined
  }
  const found: unknown = (directives as Record<string, unknown>)[name] // neither an array nor null, as checked above
  if (!Array.isArray(found)) return found
  if (found.length > 1) {
    throw new TypeError(`Expected @${name} once on ${coordinate}, but it is there ${found.length} times.`)
  }
  return found[0]
}

function fromSdl(field: PolicyBearer, name: string): Record<string, unknown> | undefined {
  const node = field.astNode?.directives?.find((directive) => directive.name.value === name)
  // Untyped, because schemas are often built without validation: bad values are refused below, by name.
  return (
    node && Object.fromEntries((node.arguments ?? []).map((arg) => [arg.name.value, valueFromASTUntyped(arg.value)]))
  )
}

function parsePolicy(coordinate: string, found: unknown): FieldPolicy {
  if (!isObject(found) || Array.isArray(found)) {
    throw new TypeError(
      `Expected @durable on ${coordinate} to be an object such as { retries: 3 }, but got ${show(found)}.`,
    )
  }
  const { id, retries, timeout, hold, ...unknown } = found
  const [stranger] = Object.keys(unknown)
  if (stranger !== undefined) {
    throw new TypeError(
      `Expected @durable on ${coordinate} to have "id", "retries", "timeout" or "hold", but got "${stranger}".`,
    )
  }
  const refuse = (argument: string, expected: string, came: unknown): never => {
    throw new TypeError(`Expected @durable(${argument}:) on ${coordinate} to be ${expected}, but got ${show(came)}.`)
  }
  const policy: { -readonly [Key in keyof FieldPolicy]: FieldPolicy[Key] } = {}
  if (isGiven(id)) policy.id = typeof id === 'string' && id !== '' ? id : refuse('id', 'a text that is not empty', id)
  if (isGiven(retries)) policy.retries = isCount(retries) ? retries : refuse('retries', 'an integer from 0', retries)
  if (isGiven(timeout)) {
    policy.timeoutMs = durationOf(timeout, `@durable(timeout:) on ${coordinate}`)
    if (policy.timeoutMs === 0) refuse('timeout', 'longer than nothing', timeout)
  }
  if (isGiven(hold)) policy.holdMs = durationOf(hold, `@durable(hold:) on ${coordinate}`)
  return policy
}

function durationOf(value: unknown, what: string): number {
  return toMs(value as Duration, what) // toMs refuses what is no duration, whatever its type
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0
}
