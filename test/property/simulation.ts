import { makeExecutableSchema } from '@graphql-tools/schema'
import { parse } from 'graphql'
import { decode } from '../../src/core/codec.ts'
import { StepError } from '../../src/core/errors.ts'
import { createDurable } from '../../src/index.ts'
import { memoryStore } from '../../src/memory.ts'
import type { MemorySession, MemoryStore } from '../../src/store/memory/store.ts'
import { isEnded, StoreError } from '../../src/store/store.ts'
import type { ClaimReceipt, CommitReceipt, RunCommit, RunView } from '../../src/store/store.ts'
import { createTestClock } from '../../src/testing.ts'
import type { TestClock } from '../../src/testing.ts'
import type { DurableContext } from '../../src/types.ts'
import { Process } from './process.ts'

export interface SimulationOptions {
  readonly seed: number
  readonly runs: number
  readonly processes: number
}

/** What has happened, for a test to see that it was enough. */
export interface Happenings {
  runs: number
  completed: number
  failed: number
  cancelled: number
  crashes: number
  stops: number
  partitions: number
  failedCommits: number
  refusedCommits: number
  resumes: number
  outcomes: number
  timeouts: number
}

const MINUTE = 60_000
/** How long the faults go on, and by when everything has to be over after that. */
const FAULTS_MS = 3 * 60 * MINUTE
const QUIET_MS = 2 * 60 * MINUTE
const LEASE_MS = 15_000

const DOCUMENT = parse('mutation ($n: Int!) { order(n: $n) }')

interface Context extends DurableContext {
  readonly process: Process
  readonly resumed?: boolean
}

/** What the outside world knows of one order. */
interface Order {
  readonly n: number
  runId: string | null
  /** The step's key → when it was begun. */
  readonly begun: { readonly step: string; readonly at: number }[]
  /** When a client was told of its run. */
  told: boolean
  /** The event was accepted by somebody. */
  approved: boolean
  refunds: number
}

/** Several processes on one store, through hours of crashes, lost leases and failing commits; repeatable from a seed. */
export class Simulation {
  readonly violations: string[] = []
  readonly happenings: Happenings
  readonly #options: SimulationOptions
  readonly #clock: TestClock
  readonly #store: MemoryStore
  readonly #orders = new Map<number, Order>()
  readonly #processes: (Process | null)[] = []
  readonly #random: () => number
  /** Processes that the store cannot be reached from, until then. */
  readonly #partitioned = new Map<Process, number>()
  /** By run: claims (epoch, length of the journal), and outcomes as they were accepted (position, epoch). */
  readonly #claims = new Map<string, { readonly epoch: number; readonly len: number }[]>()
  readonly #accepted = new Map<string, { readonly pos: number; readonly key: string; readonly epoch: number }[]>()
  /** `run key` → when the wait for an event ends. */
  readonly #ends = new Map<string, number>()
  #faulty = true

  constructor(options: SimulationOptions) {
    this.#options = options
    this.#clock = createTestClock({ seed: options.seed })
    this.#random = createTestClock({ seed: options.seed + 1 }).random
    this.#store = memoryStore({ onCommit: (phase, what) => this.#onCommit(phase, what) })
    this.happenings = {
      runs: 0, completed: 0, failed: 0, cancelled: 0, crashes: 0, stops: 0, partitions: 0,
      failedCommits: 0, refusedCommits: 0, resumes: 0, outcomes: 0, timeouts: 0,
    } // prettier-ignore
  }

  async run(): Promise<void> {
    const { runs, processes } = this.#options
    const clock = this.#clock
    for (let slot = 0; slot < processes; slot++) this.#processes.push(await this.#start())
    for (let n = 0; n < runs; n++) this.#at(this.#random() * FAULTS_MS * 0.8, () => this.#order(n))
    for (let slot = 0; slot < processes; slot++) this.#later(6 * MINUTE, () => this.#disturb(slot))
    await clock.advance(FAULTS_MS)
    this.#faulty = false
    this.#partitioned.clear()
    for (const [slot, process] of this.#processes.entries()) {
      if (process?.stopped) process.goOn()
      this.#processes[slot] ??= await this.#start()
    }
    for (const order of this.#orders.values()) if (!order.approved) this.#approve(order)
    await clock.advance(QUIET_MS)
    const observer = await this.#store.connect({ processId: 'observer', leaseMs: 1e12, clock })
    await this.#judge(observer)
    await observer.close()
    for (const process of this.#processes) await process?.durable.close({ timeout: 0 })
    await clock.advance(1000) // answers that were still on their way
    if (clock.pending > 0) this.violations.push(`${clock.pending} timers were left`)
  }

  // ---- The operation

  /** Two steps side by side, an approval or none in time, a pause, and a payment that is refunded if it fails. */
  async order(n: number, { step, process }: Context): Promise<string> {
    const order = this.#orders.get(n)
    if (!order) throw new Error(`There is no order ${n}.`)
    const random = createTestClock({ seed: n }).random
    const fails = random() < 0.2
    const work = (id: string, ms: number, failures = 0) =>
      step.run(
        id,
        async ({ attempt, runId }) => {
          order.runId = runId
          order.begun.push({ step: id, at: this.#clock.now() })
          await new Promise<void>((resolve) => void process.clock.setTimeout(resolve, ms))
          if (attempt <= failures) throw new Error('not now')
          return `${id} ${order.begun.length}`
        },
        { retries: 3, backoff: { initial: '2s' } },
      )
    const seen = [await work('reserve', random() * 2000, Math.floor(random() * 3))]
    seen.push(...(await Promise.all([work('pack', random() * 2 * MINUTE), work('label', random() * 500, 1)])))
    seen.push(String(await Promise.race([step.sleep('soon', random() * 2000), work('guess', random() * 2000)])))
    const timeout = random() < 0.5 ? { timeout: random() * 90 * MINUTE } : {}
    const approval = await step.waitForEvent<{ n: number }>('approval', { event: 'approved', match: { n }, ...timeout })
    seen.push(approval ? `approved ${approval.data.n}` : 'not approved')
    await step.sleep('cooling-off', random() * 30 * MINUTE)
    try {
      seen.push(await work('charge', random() * 3000, fails ? 9 : 1))
    } catch (error) {
      if (!(error instanceof StepError) || !fails) this.violations.push(`I12: order ${n} caught ${String(error)}`)
      seen.push(await work('refund', 10))
      order.refunds++
    }
    return seen.join()
  }

  // ---- What happens

  #order(n: number): void {
    const process = this.#pick()
    if (!process) return
    const order: Order = { n, runId: null, begun: [], told: false, approved: false, refunds: 0 }
    this.#orders.set(n, order)
    process.execute(DOCUMENT, { process, simulation: this }, { n }).then(
      (result) => void (order.told ||= result.extensions?.['runId'] !== undefined),
      () => {}, // the store was away
    )
    this.#later(2 * 60 * MINUTE, () => this.#approve(order))
    if (this.#random() < 0.1) this.#later(60 * MINUTE, () => void this.#cancel(order))
  }

  #approve(order: Order): void {
    const process = this.#pick()
    const again = (): void => this.#later(MINUTE, () => this.#approve(order))
    if (!process || order.approved) return process ? undefined : again()
    process.durable
      .send({ id: `approval ${order.n}`, name: 'approved', data: { n: order.n } })
      .then(() => void (order.approved = true), again)
    this.#later(5 * MINUTE, () => this.#approve(order)) // should it have crashed
  }

  async #cancel(order: Order): Promise<void> {
    const process = this.#pick()
    if (!process || order.runId === null) return
    await process.durable.runs.cancel(order.runId).catch(() => {})
  }

  /** Something befalls a process, again and again. */
  #disturb(slot: number): void {
    if (!this.#faulty) return
    const process = this.#processes[slot]
    const kind = this.#random()
    const forMs = this.#random() * 60_000
    this.#later(6 * MINUTE, () => this.#disturb(slot))
    if (!process || process.stopped) return
    if (kind < 0.4) {
      this.happenings.crashes++
      process.crash()
      this.#processes[slot] = null
      this.#at(forMs, () => void this.#restart(slot))
    } else if (kind < 0.8) {
      this.happenings.stops++
      process.stop()
      this.#at(forMs, () => process.goOn())
    } else {
      this.happenings.partitions++
      this.#partitioned.set(process, this.#clock.now() + forMs)
    }
  }

  async #restart(slot: number): Promise<void> {
    if (this.#processes[slot] !== null) return
    const process = await this.#start()
    this.#processes[slot] ??= process
  }

  async #start(): Promise<Process> {
    const process: Process = new Process({
      store: this.#store,
      clock: this.#clock,
      schema,
      wrap: (session, self) => this.#wrap(session, self),
      durable: () => ({
        worker: { lease: LEASE_MS, pollInterval: '5s' },
        hot: { ttl: '5m', runs: 20 },
        context: {
          restore: () => {
            this.happenings.resumes++
            return { process, simulation: this }
          },
        },
        onWarning: () => {},
      }),
    })
    for (;;) {
      try {
        await process.durable.start()
        return process
      } catch {
        // The store failed just then.
      }
    }
  }

  #onCommit(phase: 'before' | 'after', what: string): void {
    if (!this.#faulty || what === 'connect' || what === 'close' || this.#random() >= 0.01) return
    this.happenings.failedCommits++
    throw new Error(`failed ${phase} ${what}`)
  }

  /** Reaches the store, or does not, and notes what it answered. */
  #wrap(session: MemorySession, process: Process): Partial<MemorySession> {
    const reach = async <T>(call: () => Promise<T>): Promise<T> => {
      if (this.#isPartitioned(process)) throw new StoreError('transient', 'The store cannot be reached.')
      await latency()
      const answer = await call()
      await latency()
      return answer
    }
    const latency = (): Promise<void> =>
      new Promise((resolve) => void process.clock.setTimeout(resolve, this.#random() * 100))
    return {
      beat: () => reach(() => session.beat()),
      reap: () => reach(() => session.reap()),
      send: (events) => reach(() => session.send(events)),
      end: (runId, ending) => reach(() => session.end(runId, ending)),
      read: (runId, parts) => reach(() => session.read(runId, parts)),
      findEvents: (queries) => reach(() => session.findEvents(queries)),
      claim: async (request) => this.#noteClaims(await reach(() => session.claim(request))),
      commit: async (batch) => this.#noteCommit(batch, await reach(() => session.commit(batch))),
    }
  }

  #noteClaims(receipt: ClaimReceipt): ClaimReceipt {
    for (const { run } of receipt.claimed) {
      this.#claims.set(run.id, [...(this.#claims.get(run.id) ?? []), { epoch: run.epoch, len: run.len }])
    }
    return receipt
  }

  #noteCommit(batch: readonly RunCommit[], receipt: CommitReceipt): CommitReceipt {
    for (const { runId, epoch, outcomes, opens } of batch) {
      if (!receipt.accepted.has(runId)) {
        this.happenings.refusedCommits++
        continue
      }
      const notes = this.#accepted.get(runId) ?? []
      this.#accepted.set(runId, notes)
      notes.push(...outcomes.map(({ pos, key }) => ({ pos, key, epoch })))
      for (const { key, forMs } of opens) {
        if (forMs !== null && !this.#ends.has(`${runId} ${key}`)) this.#ends.set(`${runId} ${key}`, receipt.at + forMs)
      }
    }
    return receipt
  }

  #isPartitioned(process: Process): boolean {
    return (this.#partitioned.get(process) ?? 0) > this.#clock.now()
  }

  #pick(): Process | null {
    const up = this.#processes.filter((process) => process && !process.stopped)
    return up[Math.floor(this.#random() * up.length)] ?? null
  }

  #at(inMs: number, what: () => void): void {
    this.#clock.setTimeout(what, inMs)
  }

  #later(withinMs: number, what: () => void): void {
    this.#at(this.#random() * withinMs, what)
  }

  // ---- What must have come of it

  async #judge(observer: MemorySession): Promise<void> {
    const records = await observer.list({ first: 1e9 })
    const stored = new Set(records.map(({ id }) => id))
    this.happenings.runs = records.length
    for (const order of this.#orders.values()) {
      if (order.told && !(order.runId !== null && stored.has(order.runId))) {
        this.violations.push(`I4: a client was told of the run of order ${order.n}, which is not stored`)
      }
    }
    for (const { id } of records) {
      const view = await observer.read(id, { journal: true, result: true })
      if (view) await this.#judgeRun(view, observer)
    }
  }

  async #judgeRun({ run, journal, result }: RunView, observer: MemorySession): Promise<void> {
    if (!isEnded(run.status)) return void this.violations.push(`I4: a run has not ended: ${JSON.stringify(run)}`)
    this.happenings[run.status]++
    const outcomes = journal ?? []
    this.happenings.outcomes += outcomes.length
    const order = [...this.#orders.values()].find(({ runId }) => runId === run.id)
    if (outcomes.some(({ pos }, index) => pos !== index)) this.violations.push(`I3: the journal of ${run.id} has gaps`)
    this.#judgeEpochs(run.id, outcomes)
    if (!order) return void this.violations.push(`nobody knows what ${run.id} is`)
    for (const { key, committedAt } of outcomes) {
      const late = order.begun.find(({ step, at }) => key === `order>${step}` && at > committedAt)
      if (late) this.violations.push(`I2: ${key} of ${run.id} was committed at ${committedAt} and begun at ${late.at}`)
    }
    const wait = outcomes.find(({ kind }) => kind === 'EVENT')
    if (wait && wait.eventId === null) await this.#judgeTimeout(order, wait, run, observer)
    if (run.status === 'completed') this.#judgeResult(order, result ?? '', outcomes)
    // Whoever held it died five times in a row: the run may be what kills them.
    if (run.status === 'failed' && run.takeovers < 5) this.violations.push(`order ${order.n} failed: ${result}`)
  }

  /** I3: what a holder wrote has the epoch that it claimed the run under. */
  #judgeEpochs(runId: string, outcomes: NonNullable<RunView['journal']>): void {
    for (const { pos, key, epoch } of this.#accepted.get(runId) ?? []) {
      if (outcomes[pos]?.key !== key) this.violations.push(`I3: ${key} was accepted at ${pos}, and is not there`)
      const newer = this.#claims.get(runId)?.find((claim) => claim.epoch > epoch && claim.len <= pos)
      if (newer) this.violations.push(`I3: ${key} was accepted under ${epoch} after a claim under ${newer.epoch}`)
    }
  }

  /** I6: an event that was accepted before the timeout beats it. */
  async #judgeTimeout(
    order: Order,
    { key }: { readonly key: string },
    { id, beganAt }: RunView['run'],
    observer: MemorySession,
  ): Promise<void> {
    this.happenings.timeouts++
    const match = JSON.stringify({ n: order.n })
    const until = this.#ends.get(`${id} ${key}`) ?? 0
    const [event] = await observer.findEvents([{ name: 'approved', match, since: beganAt, until, exclude: new Set() }])
    if (event) this.violations.push(`I6: order ${order.n} missed the event of ${event.acceptedAt}, until ${until}`)
  }

  #judgeResult(order: Order, result: string, outcomes: NonNullable<RunView['journal']>): void {
    const fails = outcomes.some(({ key, ok }) => key === 'order>charge' && !ok)
    const refunded = outcomes.some(({ key }) => key === 'order>refund')
    if (fails !== refunded || (!fails && order.refunds > 0)) this.violations.push(`I12: order ${order.n} was refunded`)
    for (const { key, ok, body } of outcomes) {
      const awaited = ['order>reserve', 'order>pack', 'order>label', 'order>charge', 'order>refund'].includes(key)
      if (awaited && ok && !result.includes(String(decode(body)))) {
        this.violations.push(`I2: the result of order ${order.n} lacks what ${key} committed: ${result}`)
      }
    }
  }
}

/** Wrapped once: what a resolver belongs to is found on its context. */
const schema = createDurable({ store: memoryStore(), schema: false }).schema(
  makeExecutableSchema({
    typeDefs: 'type Query { none: Int } type Mutation { order(n: Int!): String }',
    resolvers: {
      Mutation: {
        order: (_root, { n }: { n: number }, context: Context & { simulation: Simulation }) =>
          context.simulation.order(n, context),
      },
    },
  }),
)
