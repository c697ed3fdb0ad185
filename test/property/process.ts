import { envelop, useEngine, useSchema } from '@envelop/core'
import { execute, parse, subscribe, validate } from 'graphql'
import type { DocumentNode, ExecutionResult, GraphQLSchema } from 'graphql'
import { useDurable } from '../../plugins/envelop.ts'
import type { Clock, Timer } from '../../src/core/clock.ts'
import { createDurable } from '../../src/index.ts'
import type { MemorySession, MemoryStore } from '../../src/store/memory/store.ts'
import type { StoreHint, StoreSession } from '../../src/store/store.ts'
import type { TestClock } from '../../src/testing.ts'
import type { Durable, DurableOptions } from '../../src/types.ts'

export interface ProcessOptions {
  readonly store: MemoryStore
  readonly clock: TestClock
  readonly schema: GraphQLSchema
  /** Puts itself between the engine and its session. */
  readonly wrap: (session: MemorySession, process: Process) => Partial<StoreSession>
  readonly durable: (clock: Clock) => DurableOptions
}

/** What a process is to the others: a durable on a clock of its own, that can be killed, and stopped for a while. */
export class Process {
  readonly durable: Durable
  readonly clock: Clock
  crashed = false
  readonly #schema: GraphQLSchema
  readonly #getEnveloped: ReturnType<typeof envelop>
  readonly #timers = new Set<Timer>()
  /** What would have happened while it was stopped; null while it is not. */
  #missed: (() => void)[] | null = null
  #session: MemorySession | null = null

  constructor({ store, clock, schema, wrap, durable }: ProcessOptions) {
    this.#schema = schema
    this.clock = {
      now: () => clock.now(),
      random: () => clock.random(),
      randomId: () => clock.randomId(),
      setTimeout: (callback, delayMs) => this.#setTimeout(clock, callback, delayMs),
    }
    this.durable = createDurable({
      ...durable(this.clock),
      clock: this.clock,
      schema: false,
      store: {
        name: store.name,
        connect: async (options) => {
          const session = await store.connect(options)
          this.#session = session
          const watch: StoreSession['watch'] = (listener) =>
            session.watch((hint: StoreHint) => this.#happens(() => listener(hint)))
          return { ...session, watch, ...wrap(session, this) }
        },
      },
    })
    this.#getEnveloped = envelop({
      plugins: [
        useEngine({ parse, validate, execute, subscribe }),
        useSchema(schema),
        useDurable(this.durable, { getEnveloped: () => this.#getEnveloped }),
      ],
    })
  }

  async execute(
    document: DocumentNode,
    context: object,
    variableValues: Record<string, unknown> = {},
  ): Promise<ExecutionResult> {
    const { contextFactory, execute } = this.#getEnveloped(context)
    const contextValue = await contextFactory()
    return (await execute({ schema: this.#schema, document, contextValue, variableValues })) as ExecutionResult // no @defer
  }

  /** SIGKILL: its timers end with it, and the store hears no more of it. */
  crash(): void {
    this.crashed = true
    this.#session?.crash()
    for (const timer of this.#timers) timer.cancel()
    this.#missed = null
  }

  /** SIGSTOP. */
  stop(): void {
    this.#missed ??= []
  }

  /** SIGCONT. */
  goOn(): void {
    const missed = this.#missed ?? []
    this.#missed = null
    for (const happen of missed) happen()
  }

  get stopped(): boolean {
    return this.#missed !== null
  }

  #happens(what: () => void): void {
    if (this.crashed) return
    if (this.#missed) this.#missed.push(what)
    else what()
  }

  #setTimeout(clock: TestClock, callback: () => void, delayMs: number): Timer {
    if (this.crashed) return { cancel: () => {} }
    let cancelled = false
    const timer = clock.setTimeout(() => {
      this.#timers.delete(timer)
      this.#happens(() => void (cancelled || callback()))
    }, delayMs)
    this.#timers.add(timer)
    return {
      cancel: () => {
        cancelled = true
        this.#timers.delete(timer)
        timer.cancel()
      },
    }
  }
}
