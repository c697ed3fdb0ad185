import type { GraphQLResolveInfo } from 'graphql'
import type { Step } from '../types.ts'
import type { Operation } from './operation.ts'
import { pathOf } from './paths.ts'
import { ambientStep, Scope, surroundings } from './scope.ts'
import type { Surroundings } from './scope.ts'
import { createStep } from './tools.ts'

/**
 * The resolver that is running synchronously right now. Entering an AsyncLocalStorage for each trivial resolver costs
 * a third of a server's throughput, so that is kept for root and `@durable` fields; everywhere else this cursor binds
 * `{ step }` in the parameters.
 */
export interface Cursor {
  readonly operation: Operation
  readonly source: unknown
  readonly info: GraphQLResolveInfo
  scope: Scope | null
  step: Step | null
}
let cursor: Cursor | null = null

/** Gives what was there: whoever moves it puts that back. */
export function moveCursor(to: Cursor | null): Cursor | null {
  const from = cursor
  cursor = to
  return from
}

/** Without a cursor the tools find their field when they are called. */
export function currentStep(): Step {
  return cursor ? stepAt(cursor) : (surroundings.getStore()?.step ?? ambientStep)
}

function stepAt(at: Cursor): Step {
  at.operation.stepTaken = true
  return (at.step ??= createStep(at.operation, scopeAt(at)))
}

export function scopeAt(at: Cursor): Scope {
  if (at.scope) return at.scope
  const { operation, info, source } = at
  at.scope = new Scope(operation.labels.keyOf(info, source), pathOf(info), operation.policies.above(info.path))
  // Not for what a resolver that has returned does later: nothing records when that comes.
  if (cursor === at) operation.run?.pump.openTurn()
  return at.scope
}

/** For an operation that a resolver or a step begins: it is none of that field's, and neither are its tools. */
export function outsideOfFields<T>(run: () => T): T {
  const outer = cursor
  cursor = null
  try {
    return surroundings.getStore() ? surroundings.exit(run) : run()
  } finally {
    cursor = outer
  }
}

/** The field in whose resolver an execution begins. A step's `fn` is no place for steps, and others cannot be told. */
export function enclosingScope(operation: Operation): Scope | null {
  const around = surroundings.getStore()
  if (around) return around.host === operation ? around.scope : null
  return cursor?.operation === operation ? scopeAt(cursor) : null
}

/** Of a field that has a scope from the start. Its tools are made for whoever asks (I8). */
export class FieldSurroundings implements Surroundings {
  readonly scope: Scope
  readonly host: Operation
  readonly insideStep = null
  #step: Step | null = null

  constructor(host: Operation, scope: Scope) {
    this.host = host
    this.scope = scope
  }

  get step(): Step {
    this.host.stepTaken = true
    return (this.#step ??= createStep(this.host, this.scope))
  }
}

/** Of any other field below a `@durable` one: its scope is made when somebody asks for it. */
export class CursorSurroundings implements Surroundings {
  readonly insideStep = null
  readonly #at: Cursor

  constructor(at: Cursor) {
    this.#at = at
  }

  get host(): Operation {
    return this.#at.operation
  }

  get scope(): Scope {
    return scopeAt(this.#at)
  }

  get step(): Step {
    return stepAt(this.#at)
  }
}
