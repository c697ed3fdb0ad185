import type { ExecutionResult } from 'graphql'
import { memoryStore } from '../../src/memory.ts'
import type { MemorySession, MemoryStore } from '../../src/store/memory/store.ts'
import type { CommitReceipt, RunCommit, RunView } from '../../src/store/store.ts'
import { createTestClock } from '../../src/testing.ts'
import type { TestClock } from '../../src/testing.ts'
import type { Clock, Timer } from '../../src/core/clock.ts'
import type { DurableOptions } from '../../src/types.ts'
import { EVENT_NAMES } from './program.ts'
import type { Branch } from './program.ts'
import { Pass } from './pass.ts'
import { Process } from './process.ts'
import { DOCUMENTS, schema } from './schema.ts'

/** One run of a random operation, and everything that happens to it. */
export interface Plan {
  readonly seed: number
  readonly kind: keyof typeof DOCUMENTS
  readonly first: Branch
  readonly second: Branch
  /** Its programs also await what is no tool: in which order their calls and their outcomes come is not recorded. */
  readonly pauses: boolean
  readonly hold: number
  readonly deferAfter: number
  /** How long parked executions stay hot; null: they are evicted at once. */
  readonly hotMs: number | null
  /** The store stops answering at a life's n-th commit: before it is made, or before its answer. */
  /** The code that is deployed at the first crash. */
  readonly deploy?: { readonly first: Branch; readonly second: Branch }
  /** That code may lack steps. */
  readonly mayPassOver?: boolean
  readonly crashes: readonly { readonly commit: number; readonly phase: 'before' | 'after' }[]
}

/** What is told of a run in the end. */
export interface Story {
  readonly violations: readonly string[]
  readonly passes: readonly Pass[]
  readonly result: ExecutionResult
  /** Null where nothing of the run was ever committed. */
  readonly run: RunView | null
  readonly crashes: number
}

const LEASE_MS = 2000
const SEND_EVERY_MS = 700
/** Virtual time that no program needs. */
const GIVE_UP_MS = 20 * 60_000

/** Steps fail, races leave losers behind, and these go on to further steps when nobody waits for them any more. */
const EXPECTED_WARNINGS = /used up its attempts\.$|^Steps were not awaited|was called after its operation/

export class World {
  readonly plan: Plan
  readonly clock: TestClock
  readonly violations: string[] = []
  readonly passes: Pass[] = []
  /** Keys that the store has accepted outcomes under. */
  readonly committed = new Set<string>()
  readonly idempotencyKeys = new Map<string, string>()
  executions = 0
  runId: string | null = null
  /** A run's end has been committed, in the last life or in the replay. */
  hasEnded = false
  readonly #store: MemoryStore
  #armed: { left: number; phase: 'before' | 'after'; process: Process } | null = null
  readonly #working = new Set<Timer>()
  #crashes = 0
  /** Of the code that the run ended with: a replay is of that. */
  #lastVersion: number | null = null

  constructor(plan: Plan) {
    this.plan = plan
    this.clock = createTestClock({ seed: plan.seed })
    this.#store = memoryStore({ onCommit: (phase, what) => this.#onCommit(phase, what) })
  }

  async live(): Promise<Story> {
    const observer = await this.#store.connect({ processId: 'observer', leaseMs: 1e12, clock: this.clock })
    const read = (): Promise<RunView | null> =>
      this.runId === null
        ? Promise.resolve(null)
        : observer.read(this.runId, { journal: true, result: true, input: true })
    let result: ExecutionResult | null = null
    // Its run ends after the steps that a race has left.
    let answered: ExecutionResult | null = null
    let life: Process | null = null
    const giveUpAt = this.clock.now() + GIVE_UP_MS
    let sendAt = this.clock.now() + SEND_EVERY_MS
    let sent = 0
    while (result === null) {
      if (this.clock.now() > giveUpAt) {
        this.violations.push(`I4: the run has not ended: ${JSON.stringify((await read())?.run)}`)
        break
      }
      if (!life || life.crashed) {
        const view = await read()
        for (const { key } of view?.journal ?? []) this.committed.add(key)
        life = await this.#begin()
        if (!view) {
          this.committed.clear()
          this.idempotencyKeys.clear()
          this.passes.length = 0
          this.runId = null
          answered = null
          life.execute(DOCUMENTS[this.plan.kind], { pass: this.pass(life.clock) }).then(
            (answer) => (answer.extensions?.['runId'] === undefined ? (answered ??= answer) : undefined),
            (error: unknown) => this.violations.push(`the request failed: ${String(error)}`),
          )
        }
      }
      const nextAt = Math.min(this.clock.nextAt ?? Infinity, sendAt)
      await this.clock.advance(nextAt - this.clock.now())
      if (this.clock.now() >= sendAt) {
        sendAt += SEND_EVERY_MS
        const events = EVENT_NAMES.map((name) => ({ name, data: ++sent }))
        if (!life.crashed)
          life.durable.send(events).catch((error: unknown) => this.violations.push(`send: ${String(error)}`))
      }
      await this.clock.settle()
      const stored = (await read())?.result
      if (stored) result = (JSON.parse(stored) as { result: ExecutionResult }).result
      else if (answered && this.runId === null) result = answered
    }
    this.#armed = null
    await this.clock.settle()
    const view = await read()
    await life?.durable.close({ timeout: 0 })
    await observer.close()
    for (const timer of this.#working) timer.cancel()
    if (this.clock.pending > 0) this.violations.push(`${this.clock.pending} timers were left`)
    this.#judge(view)
    return { violations: this.violations, passes: this.passes, result: result ?? {}, run: view, crashes: this.#crashes }
  }

  /** The complete journal, replayed by a process that knows nothing else, and what that gives. */
  async replay({ run, input, journal }: RunView): Promise<{ result: ExecutionResult; pass: Pass }> {
    const observer = await this.#store.connect({ processId: 'replayer', leaseMs: 1e12, clock: this.clock })
    const runId = `${run.id}_again`
    const create = {
      ...run,
      input: input ?? '',
      idempotency: null,
      beganAgoMs: this.clock.now() - run.beganAt,
      timeoutMs: null,
    }
    const outcomes = journal ?? []
    const next = { kind: 'park', wakeInMs: 0 } as const
    await observer.commit([{ runId, epoch: 1, seq: 1, create, outcomes, opens: [], next }])
    this.runId = runId
    this.hasEnded = false
    for (const { key } of outcomes) this.committed.add(key)
    this.idempotencyKeys.clear()
    const passesBefore = this.passes.length
    this.#lastVersion = this.passes.at(-1)?.version ?? 0
    const life = await this.#begin({ hot: { runs: 10 } })
    this.#armed = null
    const giveUpAt = this.clock.now() + GIVE_UP_MS
    let stored: string | null | undefined = null
    while (!stored && this.clock.now() < giveUpAt) {
      await this.clock.advance(this.clock.nextAt === null ? 0 : this.clock.nextAt - this.clock.now())
      stored = (await observer.read(runId, { result: true }))?.result
    }
    await life.durable.close({ timeout: 0 })
    await observer.close()
    const [pass] = this.passes.splice(passesBefore)
    const { result } = JSON.parse(stored ?? '{"result":{"data":"the replay did not end"}}') as {
      result: ExecutionResult
    }
    return { result, pass: pass ?? new Pass(this, this.clock, this.#version) }
  }

  /** A pass of the operation that adopts nothing: the foreground's, or a cold one. */
  pass(clock: Clock): Pass {
    const pass = new Pass(this, clock, this.#version)
    this.passes.push(pass)
    return pass
  }

  /** How often the code has been deployed. */
  get #version(): number {
    return this.#lastVersion ?? (this.plan.deploy && this.#crashes > 0 ? 1 : 0)
  }

  /** A program's own work, which nobody else's timer is. */
  after(ms: number, clock: Clock): Promise<void> {
    return new Promise((resolve) => {
      const timer = clock.setTimeout(() => {
        this.#working.delete(timer)
        resolve()
      }, ms)
      this.#working.add(timer)
    })
  }

  async #begin(options: DurableOptions = {}): Promise<Process> {
    const { plan } = this
    const process = new Process({
      store: this.#store,
      clock: this.clock,
      schema,
      wrap: (session) => ({ commit: (batch) => this.#watchCommit(session, batch) }),
      durable: (clock) => ({
        hold: plan.hold,
        deferAfter: plan.deferAfter,
        hot: plan.hotMs === null ? { runs: 0 } : { ttl: plan.hotMs },
        worker: { lease: LEASE_MS, pollInterval: 500 },
        context: { restore: () => ({ pass: this.pass(clock) }) },
        onWarning: (message, details) => {
          if (this.plan.mayPassOver && message.startsWith('The code ')) return
          if (!EXPECTED_WARNINGS.test(message)) this.violations.push(`${message} ${JSON.stringify(details)}`)
        },
        ...options,
      }),
    })
    await process.durable.start()
    const crash = plan.crashes[this.#crashes]
    this.#armed = crash ? { left: crash.commit, phase: crash.phase, process } : null
    return process
  }

  #onCommit(phase: 'before' | 'after', what: string): void {
    if (what !== 'commit' || this.#armed?.phase !== phase || --this.#armed.left > 0) return
    const { process } = this.#armed
    this.#armed = null
    this.#crashes++
    process.crash()
  }

  async #watchCommit(session: MemorySession, batch: readonly RunCommit[]): Promise<CommitReceipt> {
    for (const part of batch) if (part.create) this.runId = part.runId
    const receipt = await session.commit(batch)
    for (const part of batch) {
      if (part.next.kind === 'end' && receipt.accepted.has(part.runId)) this.hasEnded = true
      if (receipt.accepted.has(part.runId)) for (const { key } of part.outcomes) this.committed.add(key)
    }
    return receipt
  }

  #judge(view: RunView | null): void {
    const consumed = (view?.journal ?? []).flatMap(({ eventId }) => eventId ?? [])
    if (new Set(consumed).size < consumed.length) this.violations.push('I6: an event was consumed twice')
    for (const [index, pass] of this.passes.entries()) {
      const next = this.passes[index + 1]
      if (next && !this.plan.pauses && next.version === pass.version) this.violations.push(...pass.divergences(next))
    }
    if (this.violations.length === 0) this.#judgeFields()
  }

  /** Each field below one that gave a value has run its own program: none was handed another's. */
  #judgeFields(): void {
    const has = (scope: string): boolean => this.passes.some(({ traces }) => traces.has(scope))
    const { first, second } = this.passes.at(-1)?.branches ?? this.plan
    const roots = { [this.plan.kind === 'serial' ? 'durable' : 'first']: first, second }
    for (const [name, { value, children }] of Object.entries(roots)) {
      if (!this.passes.some(({ traces }) => traces.get(name)?.at(-1)?.startsWith('gave '))) continue
      const scopes = [
        ...(value ? [`${name}.value`] : []),
        ...children.flatMap((child) => {
          const below = `${name}.children.[:${child.id}]`
          return child.value ? [`${below}.before`, `${below}.value`] : [`${below}.before`]
        }),
      ]
      for (const scope of scopes) if (!has(scope)) this.violations.push(`the resolver of ${scope} was never called`)
    }
  }
}
