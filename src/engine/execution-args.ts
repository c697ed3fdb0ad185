import { defaultFieldResolver, defaultTypeResolver } from 'graphql'
import type { ExecutionArgs } from 'graphql'

/*
 * What a server passes to `execute` beside the operation, its variables and its context. A pass in another process needs
 * it as well: settings are kept with the run; functions and a root value cannot be, and have to be had again.
 */

/** What the plugins' option `executionArgs` makes again. */
export type RemadeArgs = Partial<Pick<ExecutionArgs, 'rootValue' | 'fieldResolver' | 'typeResolver'>>

const KNOWN = new Set(
  'schema document contextValue variableValues operationName rootValue fieldResolver typeResolver subscribeFieldResolver signal abortSignal'.split(
    ' ',
  ),
)

/** Settings of the executor, such as `hideSuggestions`: plain, and so kept. */
export function settingsIn(args: ExecutionArgs): Record<string, unknown> | undefined {
  const settings = Object.entries(args).filter(
    ([name, value]) => !KNOWN.has(name) && (name === 'options' ? isPlainOptions(value) : isScalar(value)),
  )
  return settings.length > 0 ? Object.fromEntries(settings) : undefined
}

function isScalar(value: unknown): boolean {
  return typeof value === 'boolean' || typeof value === 'number' || typeof value === 'string'
}

function isPlainOptions(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.values(value).every(isScalar)
}

/** Names of what was passed and cannot be kept; undefined where there is nothing, as with most servers. */
export function unkeptIn(args: ExecutionArgs): (keyof RemadeArgs)[] | undefined {
  const unkept: (keyof RemadeArgs)[] = []
  if (!isEmpty(args.rootValue)) unkept.push('rootValue')
  if (args.fieldResolver && args.fieldResolver !== defaultFieldResolver) unkept.push('fieldResolver')
  if (args.typeResolver && args.typeResolver !== defaultTypeResolver) unkept.push('typeResolver')
  return unkept.length > 0 ? unkept : undefined
}

/** A pass without it comes to the same: nothing, or an object that has nothing. */
function isEmpty(rootValue: unknown): boolean {
  if (rootValue === undefined || rootValue === null) return true
  return Object.getPrototypeOf(rootValue) === Object.prototype && Reflect.ownKeys(rootValue as object).length === 0
}

/** What an operation that waits, or is resumed, is told of them. */
export function unkeptMessage(unkept: readonly string[]): string {
  const names = unkept.join(' and ')
  return `Expected nothing to be passed to execute that a run cannot keep, but got ${names}. Give the plugin the option executionArgs, which makes ${names} again for a pass in another process.`
}
