import { AsyncLocalStorage } from 'node:async_hooks'
import { backoffMs } from '../core/backoff.ts'
import { sleep } from '../core/clock.ts'
import type { Clock } from '../core/clock.ts'
import { decode } from '../core/codec.ts'
import { DurableError, messageOf } from '../core/errors.ts'
import type {
  Claimed,
  EventQuery,
  EventRecord,
  LoadedRun,
  ReadParts,
  RunView,
  Store,
  StoreSession,
} from '../store/store.ts'
import { StoreError } from '../store/store.ts'
import type { EventInput, RunSnapshot } from '../types.ts'
import { unavailable } from './errors.ts'
import { Execution } from './execution.ts'
import { giveBack } from './give-back.ts'
import type { Host } from './host.ts'
import { HotCache } from './hot.ts'
import { parseIdempotencyKey } from './idempotency.ts'
import { Operation } from './operation.ts'
import type { RunInput } from './operation.ts'
import type { EngineOptions } from './options.ts'
import { outsideOfRequests } from './pump.ts'
import { mayBeKeyed, restoreFinished } from './serial.ts'
import { MAX_TAKEOVERS, SUSPECTS } from './takeovers.ts'
import { toJson } from './waits.ts'
import { Worker } from './worker.ts'
import { asStoreError, Writer } from './writer.ts'

/** The operation that a pass is being made for, until it has reached the executor. */
export const resuming = new AsyncLocalStorage<Operation>()

/**
 * A process's engine: its session with the store, the executions that it advances, and the servers that can make
 * passes for them.
 */
export class Engine {
  readonly clock: Clock
  readonly options: EngineOptions
  readonly #processId: string
  readonly #store: Store
  readonly #hosts = new Map<string, Host>()
  /** Operations whose run this process holds, or keeps hot. */
  readonly #operations = new Map<string, Operation>()
  readonly #hot: HotCache
  readonly #listeners = new Set<(runId: string | null) => void>()
  #session: StoreSession | null = null
  #starting: Promise<void> | null = null
  readonly writer: Writer
  /** Whether a caller may see a run: decided by the options of the durable instance. */
  canRead: (run: RunSnapshot, context: unknown) => Promise<boolean> = () => Promise.resolve(true)
  readonly #reclaiming = new Set<string>()
  #worker: Worker | null = null
  #unwatch: () => void = () => {}
  #clockOffsetMs = 0
  #closing = false
  readonly #whenClosing = Promise.withResolvers<void>()
  #closed: Promise<void> | null = null
  #isOver = false
  #warnedOfContext = false

  constructor(store: Store, options: EngineOptions, clock: Clock) {
    this.#store = store
    this.options = options
    this.clock = clock
    this.#processId = `proc_${clock.randomId()}`
    // What is committed before the store has opened waits for that.
    this.writer = new Writer(() => this.#connected(), clock, Math.max(options.holdMs, MIN_PATIENCE_MS))
    this.#hot = new HotCache(clock, options.hotRuns, options.hotTtlMs, (execution) =>
      execution.abandon({ kind: 'evicted' }),
    )
  }

  // ---- Life

  /** Opens the store, once; the worker begins as soon as a server is there. */
  start(): Promise<void> {
    this.#starting ??= this.#start().catch((error: unknown) => {
      this.#starting = null // the next request tries again
      throw error
    })
    return this.#starting
  }

  /**
   * Opens the store as often as it takes: a process may be up before its database is.
   *
   * @throws StoreError where trying again does not help, or the engine was closed meanwhile
   */
  async startInTime(): Promise<void> {
    for (let failures = 1; ; failures++) {
      try {
        return await this.start()
      } catch (thrown) {
        const error = asStoreError(thrown)
        if (error.kind !== 'transient' || this.#closing) throw error
        if (failures === 1) {
          this.options.warn('The store could not be opened; it is tried until it can be.', { reason: error.message })
        }
        await this.#pause(backoffMs(failures, START_BACKOFF, () => this.clock.random()))
      }
    }
  }

  /** Is cut short when the engine is closed. */
  async #pause(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = this.clock.setTimeout(resolve, ms)
    await Promise.race([promise, this.#whenClosing.promise])
    timer.cancel()
  }

  async #start(): Promise<void> {
    const { leaseMs } = this.options
    if (this.#isOver) throw closed()
    const identity = { processId: this.#processId, leaseMs, clock: this.clock }
    const session = await this.#store.connect({ ...identity, suspects: SUSPECTS })
    if (this.#isOver) {
      await session.close()
      throw closed()
    }
    this.#session = session
    this.#worker = new Worker(this, session)
    this.#unwatch = session.watch((hint) => {
      if (hint.kind === 'signalled') this.#operations.get(hint.runId)?.run?.waits.scan()
      if (hint.kind === 'ended') this.#onEndedElsewhere(hint.runId)
      if (hint.kind === 'due' || hint.kind === 'signalled') this.#worker?.wake()
      // Another process sends no signals here: what waits for events looks for itself.
      if (hint.kind === 'changed') this.#scanEvents()
      this.#tell('runId' in hint ? hint.runId : null)
    })
    this.#worker.start()
  }

  #scanEvents(): void {
    for (const { run } of this.#operations.values()) if (run?.state === 'live') run.waits.scanIfWaiting()
  }

  addHost(host: Host): void {
    if (this.#hosts.has(host.name)) {
      this.options.warn(
        'Two servers share one durable under the same name; the later one resumes the runs of both. Give each a `name` in the second argument of its plugin.',
        { server: host.name },
      )
    }
    this.#hosts.set(host.name, host)
    void host.ready().then(
      () => {
        this.#readyHosts.add(host.name)
        this.#worker?.wake()
      },
      (error: unknown) =>
        this.options.warn('A server cannot resume runs.', { server: host.name, error: String(error) }),
    )
  }

  readonly #readyHosts = new Set<string>()

  /** Whose runs this process can carry on. */
  get readyServers(): readonly string[] {
    return [...this.#readyHosts]
  }

  get canClaim(): boolean {
    return this.#readyHosts.size > 0 && !this.#closing
  }

  /** New steps may start: the process is not closing, and the store has heard of it lately. */
  mayStart(run: Execution): boolean {
    return !this.#closing && (this.#worker?.mayStart(run) ?? true)
  }

  /** A beat was confirmed again: what waited for that goes on. */
  onConfirmed(): void {
    for (const operation of this.#operations.values()) operation.run?.startWaiting()
  }

  /**
   * The key that a request's operation is to be executed under, once. Queries have none, unless they are `@durable`:
   * they change nothing, and clients that send a key with everything would make a run of every poll.
   */
  idempotencyKeyOf({ host, context, args }: Operation): string | null {
    if (!args || !mayBeKeyed(args)) return null
    if (this.options.idempotencyKey) return this.options.idempotencyKey(context) ?? null
    const header = host.headers(context, ['idempotency-key'])['idempotency-key']
    return header === undefined ? null : parseIdempotencyKey(header)
  }

  assertOpen(): void {
    if (!this.#closing) return
    throw new DurableError('DURABLE_STORE_UNAVAILABLE', 'The server is shutting down. Try again.')
  }

  /** @throws DurableError DURABLE_STORE_UNAVAILABLE */
  async session(): Promise<StoreSession> {
    try {
      return await this.#connected()
    } catch (cause) {
      throw unavailable(cause)
    }
  }

  async #connected(): Promise<StoreSession> {
    await this.start()
    if (this.#session) return this.#session
    throw closed()
  }

  /** Stops claiming, lets running steps end within `timeoutMs`, and gives every lease back. Once. */
  close(timeoutMs: number): Promise<void> {
    this.#closed ??= this.#close(timeoutMs)
    return this.#closed
  }

  async #close(timeoutMs: number): Promise<void> {
    this.#closing = true
    this.#whenClosing.resolve()
    this.#tell(null)
    for (const operation of this.#operations.values()) void operation.deferAll()
    const running = [...this.#operations.values()].flatMap(({ run }) => (run ? [run] : []))
    const giveUpAt = this.clock.now() + timeoutMs
    await this.#until((run) => !run.busy, running, giveUpAt)
    for (const run of running) {
      run.waits.registerAll()
      run.giveBack(0)
    }
    // Steps that outlive their time are aborted below; whoever takes a run over runs them again, under the same key.
    const parkedBy = Math.max(giveUpAt, this.clock.now() + PARTING_MS)
    await this.#until((run) => run.state !== 'parking', running, parkedBy)
    for (const { run } of this.#operations.values()) run?.abandon({ kind: 'evicted' })
    this.#worker?.stop()
    this.#hot.clear()
    this.#unwatch()
    this.#isOver = true
    // A store that is only just being opened is closed as soon as it is.
    await this.#starting?.catch(() => {})
    const session = this.#session
    this.#session = null
    try {
      await session?.close()
    } catch (error) {
      // Nothing that the caller could do: others find out that this process is gone, as with one that was killed.
      this.options.warn('The leases could not be given back; others take the runs over a moment later.', {
        reason: messageOf(error),
      })
    }
  }

  async #until(isDone: (run: Execution) => boolean, runs: readonly Execution[], giveUpAt: number): Promise<void> {
    const isBusy = (): boolean => this.#listeners.size > 0 || runs.some((run) => run.state !== 'over' && !isDone(run))
    while (this.clock.now() < giveUpAt && isBusy()) {
      await sleep(this.clock, CLOSE_POLL_MS)
    }
  }

  // ---- Time

  /** The store's clock, as far as this process knows it. */
  storeNow(): number {
    return this.clock.now() + this.#clockOffsetMs
  }

  onStoreTime(at: number): void {
    this.#clockOffsetMs = at - this.clock.now()
  }

  resumeDelayMs(failures: number): number {
    return backoffMs(failures, { ...this.options.backoff, jitter: 'none' }, () => 1)
  }

  // ---- Operations

  /** An operation has become a run. */
  adopt(operation: Operation): void {
    if (operation.run) this.#operations.set(operation.run.runId, operation)
  }

  forget(execution: Execution): void {
    if (this.find(execution.runId)?.run === execution) this.#operations.delete(execution.runId)
    this.#hot.delete(execution)
    this.#worker?.onReleased()
  }

  find(runId: string): Operation | undefined {
    return this.#operations.get(runId)
  }

  get operations(): ReadonlyMap<string, Operation> {
    return this.#operations
  }

  /** Parked runs stay in memory, and are carried on from there when they are due. */
  get keepsParked(): boolean {
    return this.options.worker !== null && this.options.hotRuns > 0
  }

  get hotEpochs(): ReadonlyMap<string, number> {
    return this.#hot.epochs
  }

  onParked(execution: Execution, wakeInMs: number | null): void {
    this.#hot.add(execution)
    this.#worker?.onReleased()
    if (wakeInMs !== null) this.#worker?.wakeIn(wakeInMs)
    this.#tell(execution.runId)
  }

  onEnded(runId: string): void {
    this.#tell(runId)
  }

  onDeferred(operation: Operation): void {
    const { capture, restore, request, create, enter, headers } = this.options.context
    if (capture ?? restore ?? request ?? create ?? enter ?? headers) return
    if (this.#warnedOfContext) return
    this.#warnedOfContext = true
    this.options.warn(
      'An operation was deferred, and none of the `context` options is set: resumed after a restart, it will run without what its request carried (user, headers). Set `context.capture` and `context.restore`.',
      { operationName: operation.input?.operationName },
    )
  }

  // ---- Claims

  /** A parked execution wants to go on before it is due: the run is claimed for it, or turns out to be lost. */
  reclaim(runId: string): void {
    if (this.#reclaiming.has(runId)) return
    this.#reclaiming.add(runId)
    void this.#reclaim(runId).finally(() => this.#reclaiming.delete(runId))
  }

  /** A run whose promises were dropped wants to go on: by a cold pass, now. */
  carryOnEvicted(runId: string): void {
    void this.#claimUntilKnown(runId)
  }

  async #claimUntilKnown(runId: string): Promise<void> {
    while (!this.#closing) {
      if ((await this.#worker?.claimOne(runId, true)) !== 'failed') return // else a failing store must not lose it (I4)
      await sleep(this.clock, RECLAIM_POLL_MS)
    }
  }

  async #reclaim(runId: string): Promise<void> {
    while (!this.#closing && this.find(runId)?.run?.state === 'parked') {
      const answer = await this.#worker?.claimOne(runId, true)
      if (this.find(runId)?.run?.state !== 'parked') return
      // Nothing to claim: another process has it, or it has ended.
      if (answer === 'none') return this.find(runId)?.run?.abandon({ kind: 'lost' })
      await sleep(this.clock, RECLAIM_POLL_MS)
    }
  }

  /** Somebody asks for the run: it is carried on if it is due. */
  async carryOnIfDue(runId: string): Promise<void> {
    await this.session()
    if (this.canClaim) await this.#worker?.claimOne(runId, false)
  }

  /** Advances a run whose lease was just taken. */
  async carryOn(claimed: Claimed, sentAt: number): Promise<void> {
    if (this.#closing) return // it is given back with the session
    this.#tell(claimed.run.id)
    const hot = this.#operations.get(claimed.run.id)
    if (hot?.run?.state === 'parked' && hot.run.epoch === claimed.previousEpoch) {
      this.#hot.delete(hot.run)
      hot.run.continue(claimed, sentAt)
      hot.pass()
      return
    }
    hot?.run?.abandon({ kind: 'lost' })
    const loaded = claimed.loaded ?? (await this.#load(claimed.run.id))
    try {
      if (loaded) this.#resumeCold(claimed, loaded, sentAt)
    } catch (error) {
      await this.#putOff(claimed, messageOf(error))
    }
  }

  /** What the store has of a run cannot be read (another version wrote it, say): others may try, and operators see why. */
  async #putOff({ run }: Claimed, reason: string): Promise<void> {
    const failures = run.resumeFailures + 1
    this.options.warn('A run could not be read; it is tried again.', { runId: run.id, failures, reason })
    const session = await this.session()
    const lease = { runId: run.id, epoch: run.epoch, seq: 1 }
    const why = { resumeFailures: failures, note: reason }
    await session.commit([giveBack(lease, this.resumeDelayMs(failures), why)])
  }

  async #load(runId: string): Promise<LoadedRun | null> {
    const session = await this.session()
    const view = await session.read(runId, { journal: true, input: true })
    if (!view?.journal || view.input === null) return null
    return { input: view.input, journal: view.journal, waits: view.waits }
  }

  #resumeCold({ run }: Claimed, loaded: LoadedRun, sentAt: number): void {
    const host = this.#hosts.get(run.server) ?? missingHost(run.server)
    const operation = new Operation(this, host, null, readInput(loaded.input))
    operation.restore(run)
    const execution = new Execution(this, {
      runId: run.id,
      epoch: run.epoch,
      owner: operation,
      created: true,
      beganAt: run.beganAt,
      timeoutAt: run.timeoutAt,
      journal: loaded.journal,
      waits: loaded.waits,
      carried: [],
    })
    execution.leaseSeenAt = sentAt
    operation.attach(execution, run.resumeFailures)
    restoreFinished(operation, execution, loaded.journal)
    this.adopt(operation)
    if (run.takeovers >= MAX_TAKEOVERS) {
      execution.fail(
        'DURABLE_RESUME_FAILED',
        'The operation could not be carried on.',
        `${run.takeovers} processes in a row died while they held this run, without a new outcome.`,
      )
      return
    }
    outsideOfRequests(() => operation.pass())
  }

  /** A look-up failed while the run was held: as with a commit that fails, this process gives it up for now. */
  onLookUpFailed(execution: Execution, cause: unknown): void {
    this.options.warn('The store could not be read; the run is given up by this process for now.', {
      runId: execution.runId,
      reason: messageOf(cause),
    })
    execution.abandon({ kind: 'failed', error: unavailable(cause) })
  }

  // ---- Events

  async send(events: readonly EventInput[]): Promise<{ ids: string[] }> {
    const records = events.map((event) => this.#toRecord(event))
    const session = await this.session()
    await this.#patiently(() => session.send(records))
    return { ids: records.map((record) => record.id) }
  }

  #toRecord(event: EventInput): { id: string; name: string; data: string } {
    if (typeof event?.name !== 'string' || event.name === '') {
      throw new TypeError(`Expected an event to have a name, but got ${typeof event?.name}.`)
    }
    const data = toJson(event.data, `the data of event "${event.name}"`)
    const { stepBytes } = this.options
    const bytes = Buffer.byteLength(data)
    if (bytes > stepBytes) {
      throw new DurableError(
        'DURABLE_TOO_LARGE',
        `The data of event "${event.name}" has ${bytes} bytes, more than limits.stepBytes (${stepBytes}).`,
      )
    }
    return { id: event.id ?? `evt_${this.clock.randomId()}`, name: event.name, data }
  }

  async findEvents(queries: readonly EventQuery[]): Promise<readonly (EventRecord | null)[]> {
    const session = await this.session()
    return this.#patiently(() => session.findEvents(queries))
  }

  /** Tries again while the store is failing, for as long as the writer does. */
  async #patiently<T>(call: () => Promise<T>): Promise<T> {
    const giveUpAt = this.clock.now() + Math.max(this.options.holdMs, MIN_PATIENCE_MS)
    for (let delayMs = 10; ; delayMs = Math.min(1000, delayMs * 2)) {
      try {
        return await call()
      } catch (thrown) {
        const error = asStoreError(thrown)
        if (error.kind !== 'transient' || this.clock.now() >= giveUpAt) throw unavailable(error)
        await sleep(this.clock, delayMs)
      }
    }
  }

  /** @throws DurableError DURABLE_STORE_UNAVAILABLE */
  async read(runId: string, parts?: ReadParts): Promise<RunView | null> {
    const session = await this.session()
    return this.#patiently(() => session.read(runId, parts))
  }

  // ---- Ends

  /** Ends a run from outside and fences whoever holds it. */
  async cancel(runId: string, reason: string | undefined, result: string): Promise<boolean> {
    const session = await this.session()
    this.#cancelling.add(runId)
    try {
      const run = await this.#patiently(() => session.end(runId, { status: 'cancelled', result }))
      if (run?.status === 'cancelled') this.#abandonCancelled(runId, reason)
      return run !== null
    } finally {
      this.#cancelling.delete(runId)
    }
  }

  #abandonCancelled(runId: string, reason: string | undefined): void {
    const message = reason ? `The operation was cancelled: ${reason}` : 'The operation was cancelled.'
    const error = new DurableError('DURABLE_RUN_CANCELLED', message, { extensions: { runId } })
    this.#operations.get(runId)?.run?.abandon({ kind: 'failed', error })
    this.#tell(runId)
  }

  /** Runs that are being cancelled from here: the open request is told why, rather than that its run is lost. */
  readonly #cancelling = new Set<string>()

  #onEndedElsewhere(runId: string): void {
    if (this.#cancelling.has(runId)) return
    const run = this.#operations.get(runId)?.run
    // Our own commits of an end leave `ending` by themselves.
    if (run && run.state !== 'ending') run.abandon({ kind: 'lost' })
  }

  // ---- Who waits for runs

  /** It is being closed: whoever waits for a run is answered with the run as it is, while that can be done. */
  get closing(): boolean {
    return this.#closing
  }

  /** Calls back when the run, or (null) any run, may have changed. */
  onChange(listener: (runId: string | null) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  #tell(runId: string | null): void {
    for (const listener of this.#listeners) listener(runId)
  }
}

function closed(): StoreError {
  return new StoreError('broken', 'The store has been closed.')
}

/** How long a failing store is tried again, at the least. */
const MIN_PATIENCE_MS = 1000
const CLOSE_POLL_MS = 10
/** Between attempts to open a store that cannot be reached. */
const START_BACKOFF = { initialMs: 100, factor: 2, maxMs: 5_000, jitter: 'full' } as const
/** What a store gets to take the last commits when the steps have used up the time for closing. */
const PARTING_MS = 500
const RECLAIM_POLL_MS = 50

function readInput(encoded: string): RunInput {
  return decode(encoded) as RunInput // written by Operation
}

function missingHost(name: string): Host {
  return {
    name,
    ready: () => Promise.resolve(),
    headers: () => ({}),
    pass: () => Promise.reject(new Error(`No server named "${name}" is registered in this process.`)),
  }
}
