import { AsyncLocalStorage } from 'node:async_hooks'
import { stepKey } from '../core/keys.ts'
import { bytesOf, fits, MAX_BYTES, MAX_ID_LENGTH } from '../core/limits.ts'
import type { FieldPolicy } from '../core/policy.ts'
import { DurableError } from '../core/errors.ts'
import { tooLarge } from '../core/refusals.ts'
import type { Step, StepAttempt, StepRunOptions, WaitForEventOptions } from '../types.ts'

/**
 * The field that steps belong to. Its key names them in the journal; it counts occurrences of ids and calls.
 */
export class Scope {
  readonly key: string
  /** The field's path in the response. */
  readonly path: readonly (string | number)[]
  readonly policy: FieldPolicy | null
  /** Tool calls made so far. */
  calls = 0
  /** Tool calls that have not settled. */
  pendingTools = 0
  // Most fields use no tool, and pay for none of these (I8).
  #nested: Map<string, number> | null = null
  #occurrences: Map<string, number> | null = null
  #pending: Map<string, { number: number; loose: boolean }[]> | null = null

  constructor(key: string, path: readonly (string | number)[], policy: FieldPolicy | null) {
    this.key = key
    this.path = path
    this.policy = policy
  }

  /**
   * The key of the next call of `id`.
   *
   * @throws DurableError DURABLE_STEP_MISUSED where a replay could not tell two pending calls of one id apart: at
   * least one of them was made after an await of something that is no tool, and so their order is not recorded.
   */
  nextKey(id: string, turn: { number: number; loose: boolean }): string {
    const ambiguous = this.#pending
      ?.get(id)
      ?.some((other) => other.number !== turn.number && (other.loose || turn.loose))
    if (ambiguous) {
      throw new DurableError(
        'DURABLE_STEP_MISUSED',
        `Step "${id}" was called while another "${id}" of this field was still pending, and their order depends on something that is not recorded. Put the entity into the id, such as "${id} \${order.id}".`,
      )
    }
    this.#occurrences ??= new Map()
    const occurrence = (this.#occurrences.get(id) ?? 0) + 1
    this.#occurrences.set(id, occurrence)
    return stepKey(this.key, id, occurrence)
  }

  /** The key of a root field of an execution that this field's resolver makes (stitching, `delegateToSchema`). */
  nestedKey(name: string): string {
    this.#nested ??= new Map()
    const count = (this.#nested.get(name) ?? 0) + 1
    this.#nested.set(name, count)
    return `${this.key}/${name}${count > 1 ? `~${count}` : ''}`
  }

  opened(id: string, turn: { number: number; loose: boolean }): void {
    this.calls++
    this.pendingTools++
    this.#pending ??= new Map()
    const pending = this.#pending.get(id)
    if (pending) pending.push(turn)
    else this.#pending.set(id, [turn])
  }

  settled(id: string, turn: { number: number; loose: boolean }): void {
    this.pendingTools--
    const pending = this.#pending?.get(id)
    if (!pending || pending.length === 1) this.#pending?.delete(id)
    else pending.splice(pending.indexOf(turn), 1)
  }
}

/** @throws DurableError DURABLE_STEP_MISUSED */
export function assertStepId(id: unknown): asserts id is string {
  if (typeof id === 'string' && id !== '' && id.length <= MAX_ID_LENGTH) return
  throw new DurableError(
    'DURABLE_STEP_MISUSED',
    `Expected a step's id to be a text of 1 to ${MAX_ID_LENGTH} characters, but got ${typeof id === 'string' ? `${id.length} characters` : typeof id}.`,
  )
}

/** What a counter after an id takes at most. */
const OCCURRENCE_BYTES = 12

/**
 * The path to a field has aliases in it, which clients choose, and identities of list items.
 *
 * @throws DurableError DURABLE_TOO_LARGE
 */
export function assertKeyFits({ key }: Scope, id: string): void {
  const most = MAX_BYTES.key - OCCURRENCE_BYTES
  if (fits(stepKey(key, id, 1), most)) return
  throw tooLarge(
    `Expected the path to a field and the id of its step to have at most ${most} bytes together, but they have ${bytesOf(stepKey(key, id, 1))}. Shorten the aliases on the way, the ids of list items (see the option identify), or the step's id.`,
  )
}

/** Where tools work: the scope, and the tools bound to it. */
export interface Surroundings {
  readonly scope: Scope
  /** Whose tools they are; null within a step's `fn`. */
  readonly host: unknown
  readonly step: Step
  /** Set while a step's own `fn` runs: tools do not nest. */
  readonly insideStep: string | null
}

/** Entered for root fields, `@durable` fields and each step's `fn`. */
export const surroundings = new AsyncLocalStorage<Surroundings>()

/** @throws DurableError DURABLE_STEP_MISUSED inside of a step. */
export function assertNotInsideStep(id: string): void {
  const inside = surroundings.getStore()?.insideStep
  if (inside == null) return
  throw new DurableError(
    'DURABLE_STEP_MISUSED',
    `Step "${id}" was called inside of step "${inside}". Call it after that one, in the resolver itself.`,
  )
}

function unbound(): Step {
  const step = surroundings.getStore()?.step
  if (step) return step
  throw new DurableError(
    'DURABLE_STEP_MISUSED',
    'There is no field here that a step could belong to. Take `{ step }` in the parameters of the resolver and pass it on; or mark the field with @durable, and `context.step` and the imported `step` work anywhere below it. Steps work in queries and mutations, not in subscriptions or batch functions of a DataLoader.',
  )
}

/** What is thrown before there is a promise arrives in one. */
function settle<T>(call: () => Promise<T>): Promise<T> {
  try {
    return call()
  } catch (error) {
    return Promise.reject(error)
  }
}

/** The tools of whatever field the caller runs under, found at the time of the call. */
export const ambientStep: Step = {
  run: <T>(id: string, fn: (attempt: StepAttempt) => T | Promise<T>, options?: StepRunOptions) =>
    settle(() => unbound().run(id, fn, options)),
  sleep: (id, duration) => settle(() => unbound().sleep(id, duration)),
  sleepUntil: (id, date) => settle(() => unbound().sleepUntil(id, date)),
  waitForEvent: <Data>(id: string, options: WaitForEventOptions) =>
    settle(() => unbound().waitForEvent<Data>(id, options)),
  sendEvent: (id, event) => settle(() => unbound().sendEvent(id, event)),
}
