import { checkAll, isDuration } from '../core/checks.ts'
import type { Checks } from '../core/checks.ts'
import { MAX_BYTES } from '../core/limits.ts'
import { assertWithin, count, Refusal, show, someText } from '../core/refusals.ts'
import { positiveMs, readBackoff } from '../core/step-options.ts'
import type { ContextOptions, DurableOptions, HotOptions, LimitOptions, WorkerOptions } from '../types.ts'

const unchecked = (): void => {} // by whoever reads it
const longer = (value: unknown, name: string): void => void positiveMs(value, name)
const from0 = (value: unknown, name: string): void => void count(value, name)
const from1 = (value: unknown, name: string): void => void count(value, name, 1)

const CONTEXT: Checks<ContextOptions<unknown, unknown>> = {
  capture: unchecked,
  headers: headerNames,
  restore: unchecked,
  request: unchecked,
  create: unchecked,
  enter: unchecked,
}

const LIMITS: Checks<LimitOptions> = {
  stepBytes: from1,
  runBytes: from1,
  inputBytes: from1,
  steps: from1,
  waiters: from0,
}

const WORKER: Checks<WorkerOptions> = { concurrency: from1, lease: longer, pollInterval: longer }
const HOT: Checks<HotOptions> = { runs: from0, bytes: from0, ttl: isDuration }

const OPTIONS: Checks<DurableOptions> = {
  store: (value, name) => withMethod(value, 'connect', name, 'a store, such as sqliteStore(path)'),
  owner: unchecked,
  authorize: unchecked,
  context: (value, name) => check(value, CONTEXT, name),
  hold: isDuration,
  deferAfter: isDuration,
  maxHold: isDuration,
  idempotencyKey: unchecked,
  retries: from0,
  backoff: (value) => void readBackoff(value),
  retryIf: unchecked,
  errorClasses: listOfClasses,
  timeout: longer,
  version: (value, name) => assertWithin(someText(value, name), MAX_BYTES.version, name),
  retention: isDuration,
  limits: (value, name) => check(value, LIMITS, name),
  worker: (value, name) => void (value === false || check(value, WORKER, name, 'false or an object')),
  hot: (value, name) => check(value, HOT, name),
  identify: unchecked,
  schema: (value, name) => void (value === false || check(value, { prefix }, name, 'false or an object')),
  path: routePath,
  clock: (value, name) => withMethod(value, 'now', name, 'a clock, such as createTestClock()'),
  onWarning: unchecked,
}

/** @throws TypeError naming the option, what was expected and what came; a name that is misspelt, and which one was meant */
export function checkOptions(options: DurableOptions): void {
  checkAll(options, OPTIONS, 'the options of createDurable')
}

function check<T>(value: unknown, checks: Checks<T>, name: string, expected?: string): void {
  checkAll(value, checks, name, (key) => `${name}.${key}`, expected)
}

function withMethod(value: unknown, method: string, name: string, expected: string): void {
  const found: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, method) : undefined
  if (typeof found !== 'function') throw new Refusal(`Expected ${name} to be ${expected}, but got ${show(value)}.`)
}

function headerNames(value: unknown, name: string): void {
  const isName = (each: unknown): boolean => typeof each === 'string' && /^[!#$%&'*+.^_`|~\w-]+$/.test(each)
  if (Array.isArray(value) && value.every(isName)) return
  throw new Refusal(`Expected ${name} to be names of headers, such as ['x-tenant'], but got ${show(value)}.`)
}

/** Of what each of them has to be, `nameErrorClasses` says. */
function listOfClasses(value: unknown, name: string): void {
  if (Array.isArray(value)) return
  throw new Refusal(`Expected ${name} to be a list of classes, such as [OutOfStock], but got ${show(value)}.`)
}

/** What of names can be made with it, the schema's own code says. */
function prefix(value: unknown, name: string): void {
  if (typeof value === 'string') return
  throw new Refusal(`Expected ${name} to be a text, such as 'My', but got ${show(value)}.`)
}

/** A part of a URL, under which the runs' ids stand; written as URLs have it, or no request would be found to be there. */
function routePath(value: unknown, name: string): void {
  const isPath = (path: string): boolean =>
    /^(\/[^/?#\s]+)+$/.test(path) && new URL(path, 'http://localhost').pathname === path
  if (value === null || (typeof value === 'string' && isPath(value))) return
  throw new Refusal(`Expected ${name} to be a path such as '/graphql/runs', or null, but got ${show(value)}.`)
}
