import type { Clock } from '../../src/core/clock.ts'
import { DurableError, StepError } from '../../src/core/errors.ts'
import { stepKey } from '../../src/core/keys.ts'
import type { Step } from '../../src/types.ts'
import { interpret, messageOf } from './interpret.ts'
import type { Tools } from './interpret.ts'
import type { Program } from './program.ts'
import type { World } from './world.ts'

/** What is caught in a program must be an outcome: of a step, or of a wait that was closed (I12). */
const isOutcome = (error: unknown): boolean =>
  error instanceof StepError || (error instanceof DOMException && error.name === 'AbortError')

/** The programs of one execution of an operation, field by field, with what each of them saw. */
export class Pass {
  readonly traces = new Map<string, string[]>()
  /** Of the code. */
  readonly version: number
  readonly #world: World
  readonly #clock: Clock

  constructor(world: World, clock: Clock, version: number) {
    this.version = version
    this.#world = world
    this.#clock = clock
  }

  /** The code. */
  get branches(): Pick<World['plan'], 'first' | 'second'> {
    const { plan } = this.#world
    return this.version > 0 && plan.deploy ? plan.deploy : plan
  }

  async run(scope: string, program: Program, step: Step): Promise<string> {
    if (this.traces.has(scope)) this.#violation(`the resolver of ${scope} was called twice in one pass`)
    const trace: string[] = []
    this.traces.set(scope, trace)
    try {
      const value = await interpret(program, this.#tools(scope, trace, step))
      trace.push(`gave ${value}`)
      return value
    } catch (error) {
      trace.push(`threw ${messageOf(error)}`)
      throw error
    }
  }

  /** Where this pass and a later one saw different things: of each field, one must have seen the beginning of the other. */
  divergences(later: Pass): string[] {
    return [...this.traces].flatMap(([scope, trace]) => {
      const other = later.traces.get(scope) ?? []
      const length = Math.min(trace.length, other.length)
      for (let at = 0; at < length; at++) {
        if (trace[at] !== other[at]) return [`I5: entry ${at} of ${scope} was "${trace[at]}", then "${other[at]}"`]
      }
      return []
    })
  }

  #tools(scope: string, trace: string[], step: Step): Tools {
    const world = this.#world
    const clock = this.#clock
    const occurrences = new Map<string, number>()
    return {
      step,
      trace,
      nextKey(id) {
        const occurrence = (occurrences.get(id) ?? 0) + 1
        occurrences.set(id, occurrence)
        return stepKey(scope, id, occurrence)
      },
      work: (program, key, attempt, idempotencyKey) => {
        if (world.committed.has(key)) this.#violation(`I2: ${key} is committed, and ran again`)
        const known = world.idempotencyKeys.get(key) ?? idempotencyKey
        world.idempotencyKeys.set(key, known)
        if (known !== idempotencyKey) this.#violation(`I2: ${key} got another idempotencyKey`)
        const value = `${key} ${++world.executions}`
        const end = (): string => {
          if (attempt <= program.failures) throw new Error(`${value} failed`)
          return value
        }
        return program.ms === 0 ? end() : world.after(program.ms, clock).then(end)
      },
      isLate: (error) => DurableError.is(error) && error.code === 'DURABLE_STEP_MISUSED' && world.hasEnded,
      settled: (key, error) => {
        if (!world.committed.has(key)) this.#violation(`I1: ${key} was settled before it was committed`)
        if (error !== null && !isOutcome(error)) this.#violation(`I12: ${key} threw ${messageOf(error)}`)
      },
      pause: (ms) => world.after(ms, clock),
    }
  }

  #violation(what: string): void {
    this.#world.violations.push(what)
  }
}
