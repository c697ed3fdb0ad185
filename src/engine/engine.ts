import { AsyncLocalStorage } from 'node:async_hooks'
import { backoffMs } from '../core/backoff.ts'
import { sleep } from '../core/clock.ts'
import type { Clock } from '../core/clock.ts'
import { DurableError, messageOf } from '../core/errors.ts'
import type { Claimed, Store, StoreSession } from '../store/store.ts'
import type { RunSnapshot } from '../types.ts'
import { createCursorSeal } from './cursor-seal.ts'
import type { CursorSeal } from './cursor-seal.ts'
import type { Execution } from './execution.ts'
import type { Host } from './host.ts'
import { Hosts } from './hosts.ts'
import { HotCache } from './hot.ts'
import type { Operation } from './operation.ts'
import type { EngineOptions } from './options.ts'
import { Reads } from './reads.ts'
import { encodeResult } from './result.ts'
import { giveBackClaimed, resumeCold } from './resume.ts'
import { nextTurn } from './scheduler.ts'
import { StoreAccess } from './store-access.ts'
import { Turns } from './turns.ts'
import { Waiters } from './until-ended.ts'
import { Worker } from './worker.ts'
import { Writer } from './writer.ts'

/** The operation that a pass is being made for, until it has reached the executor. */
export const resuming = new AsyncLocalStorage<Operation>()

/**
 * A process's engine: its session with the store, the executions that it advances, and the servers that can make
 * passes for them.
 */
export class Engine {
  readonly clock: Clock
  readonly options: EngineOptions
  readonly store: StoreAccess
  readonly hosts: Hosts
  readonly turns = new Turns()
  /** Operations whose run this process holds, or keeps hot. */
  readonly #operations = new Map<string, Operation>()
  readonly #hot: HotCache<Execution>
  readonly reads: Reads
  readonly waiters: Waiters
  readonly writer: Writer
  /** Whether a caller may see a run (I9). */
  readonly canRead: (run: RunSnapshot, context: unknown) => Promise<boolean>
  readonly #reclaiming = new Set<string>()
  /** Runs that are being cancelled from here: the open request is told why, rather than that its run is lost. */
  readonly #cancelling = new Set<string>()
  #cursorSeal: Promise<CursorSeal> | null = null
  #worker: Worker | null = null
  #unwatch: () => void = () => {}
  #clockOffsetMs = 0
  #closing = false
  #closed: Promise<void> | null = null
  #warnedOfContext = false

  constructor(store: Store, options: EngineOptions, clock: Clock, canRead: Engine['canRead']) {
    this.canRead = canRead
    this.options = options
    this.clock = clock
    this.hosts = new Hosts(options.warn)
    this.store = new StoreAccess(store, options, clock, (session) => this.#onOpened(session))
    this.reads = new Reads(this.store)
    this.waiters = new Waiters(this)
    // What is committed before the store has opened waits for that.
    this.writer = new Writer(() => this.store.session(), clock, this.store.patienceMs, this.turns)
    this.#hot = new HotCache(
      clock,
      { runs: options.hotRuns, bytes: options.hotBytes, ttlMs: options.hotTtlMs },
      (execution) => execution.abandon({ kind: 'evicted' }),
    )
  }

  // ---- Life

  #onOpened(session: StoreSession): void {
    this.#worker = new Worker(this, session)
    this.#unwatch = session.watch((hint) => {
      if (hint.kind === 'signalled') this.#operations.get(hint.runId)?.run?.waits.scan()
      if (hint.kind === 'ended') this.#onEndedElsewhere(hint.runId)
      if (hint.kind === 'due' || hint.kind === 'signalled') this.#worker?.wake()
      // Another process sends no signals here: what waits for events looks for itself.
      if (hint.kind === 'changed') this.#scanEvents()
      if ('runId' in hint) this.waiters.onChanged(hint.runId)
      // What is due is the worker's business, where there is one.
      else if (hint.kind === 'changed' || !this.options.worker) this.waiters.onAnyChanged()
    })
    this.#worker.start()
    this.onConfirmed()
  }

  #scanEvents(): void {
    for (const run of this.liveRuns) run.waits.scanIfWaiting()
  }

  /** A server's runs are carried on as soon as it can make passes. */
  addHost(host: Host): void {
    this.hosts.add(host, () => this.#worker?.wake())
  }

  get canClaim(): boolean {
    return this.hosts.ready.size > 0 && !this.#closing
  }

  /** New steps may start: the process is not closing, the store is open, and has heard of it lately. */
  mayStart(run: Execution): boolean {
    return !this.#closing && (this.#worker?.mayStart(run) ?? false)
  }

  /** A beat was confirmed again: what waited for that goes on. */
  onConfirmed(): void {
    for (const operation of this.#operations.values()) operation.run?.startWaiting()
  }

  /** Stops claiming, lets running steps end within `timeoutMs`, and gives every lease back. Once. */
  close(timeoutMs: number): Promise<void> {
    this.#closed ??= this.#close(timeoutMs)
    return this.#closed
  }

  async #close(timeoutMs: number): Promise<void> {
    this.#closing = true
    this.store.giveUpOpening()
    this.waiters.close()
    for (const operation of this.#operations.values()) void operation.deferAll()
    const running = [...this.#operations.values()].flatMap(({ run }) => (run ? [run] : []))
    const giveUpAt = this.clock.now() + timeoutMs
    // Each as soon as it can be, so that none stands still because another's step takes long.
    const giveBackIdle = (): void => running.filter((run) => !run.busy).forEach(giveBackNow)
    await this.#until((run) => !run.busy, running, giveUpAt, giveBackIdle)
    running.forEach(giveBackNow)
    // Steps that outlive their time are aborted below; whoever takes a run over runs them again, under the same key.
    const parkedBy = Math.max(giveUpAt, this.clock.now() + PARTING_MS)
    await this.#until((run) => run.state !== 'parking', running, parkedBy)
    for (const { run } of this.#operations.values()) run?.abandon({ kind: 'evicted' })
    this.#worker?.stop()
    this.#hot.clear()
    this.#unwatch()
    this.writer.close()
    await this.store.close()
  }

  async #until(
    isDone: (run: Execution) => boolean,
    runs: readonly Execution[],
    giveUpAt: number,
    meanwhile: () => void = () => {},
  ): Promise<void> {
    const isBusy = (): boolean => !this.waiters.isEmpty || runs.some((run) => run.state !== 'over' && !isDone(run))
    for (let look = 0; ; look++) {
      meanwhile()
      if (this.clock.now() >= giveUpAt || !isBusy()) return
      // What is about to be over needs no clock, and that of a test may stand still.
      await (look < CLOSE_TURNS ? nextTurn() : sleep(this.clock, CLOSE_POLL_MS))
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

  // ---- Secrets

  /** Asked of the store once, when a client lists runs. */
  cursorSeal(): Promise<CursorSeal> {
    this.#cursorSeal ??= this.store
      .call((session) => session.secret())
      .then(createCursorSeal)
      .catch((error: unknown) => {
        this.#cursorSeal = null // it is asked again
        throw error
      })
    return this.#cursorSeal
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

  /** Executions whose lease this process holds. */
  get liveRuns(): readonly Execution[] {
    return [...this.#operations.values()].flatMap(({ run }) => (run?.state === 'live' ? run : []))
  }

  /** Parked runs stay in memory, and are carried on from there when they are due. */
  keepsParked({ weight }: Execution): boolean {
    const { worker, hotRuns, hotBytes } = this.options
    return worker !== null && hotRuns > 0 && weight <= hotBytes
  }

  get hotEpochs(): ReadonlyMap<string, number> {
    return this.#hot.epochs
  }

  onParked(execution: Execution, wakeInMs: number | null): void {
    this.#hot.add(execution)
    this.#worker?.onReleased()
    if (wakeInMs !== null) this.#worker?.wakeIn(wakeInMs)
  }

  onGotOn(runId: string): void {
    this.#worker?.onGotOn(runId)
  }

  onEnded(runId: string): void {
    this.waiters.onChanged(runId)
  }

  onDeferred(operation: Operation): void {
    if (this.options.hasContext || this.#warnedOfContext) return
    this.#warnedOfContext = true
    this.options.warn(
      'An operation was deferred, and the option `context` is not set: resumed after a restart, it will run without what its request carried (user, headers). Set `context.capture` and `context.restore`, or `context: {}` where it needs nothing of that.',
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
    if (this.canClaim) await this.#worker?.claimOne(runId, false)
  }

  /** Advances a run whose lease was just taken. */
  async carryOn(claimed: Claimed, sentAt: number): Promise<void> {
    if (this.#closing) return giveBackClaimed(this, claimed)
    const hot = this.#operations.get(claimed.run.id)
    if (hot?.run?.state === 'parked' && hot.run.epoch === claimed.previousEpoch) {
      this.#hot.delete(hot.run)
      hot.run.continue(claimed, sentAt)
      hot.pass()
      return
    }
    hot?.run?.abandon({ kind: 'lost' })
    await resumeCold(this, claimed, sentAt)
  }

  /** A look-up failed while the run was held: as with a commit that fails, this process gives it up for now. */
  onLookUpFailed(execution: Execution, cause: unknown): void {
    // What no store caused, or would ever answer, would fail for everybody, again and again (I4).
    if (!DurableError.is(cause) || cause.code !== 'DURABLE_STORE_UNAVAILABLE') {
      const note = `An event could not be given to a wait: ${messageOf(DurableError.is(cause) ? cause.cause : cause)}`
      return execution.failToGoOn(note)
    }
    this.options.warn('The store could not be read; the run is given up by this process for now.', {
      runId: execution.runId,
      reason: messageOf(cause),
    })
    execution.abandon({ kind: 'failed', error: cause })
  }

  // ---- Ends

  /** Ends a run from outside and fences whoever holds it. */
  async cancel(runId: string, reason: string | undefined): Promise<boolean> {
    const message = reason ? `The operation was cancelled: ${reason}` : 'The operation was cancelled.'
    const error = new DurableError('DURABLE_RUN_CANCELLED', message, { extensions: { runId } })
    const result = encodeResult({ data: null, errors: [error] })
    this.#cancelling.add(runId)
    try {
      const run = await this.store.call((session) => session.end(runId, { status: 'cancelled', result }))
      if (run?.status === 'cancelled') {
        this.#operations.get(runId)?.run?.abandon({ kind: 'failed', error })
        this.waiters.onChanged(runId)
      }
      return run !== null
    } finally {
      this.#cancelling.delete(runId)
    }
  }

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
}

/** Somebody else may go on with it at once. */
function giveBackNow(run: Execution): void {
  if (run.state !== 'live') return
  run.waits.registerAll()
  run.giveBack(0)
}

const CLOSE_POLL_MS = 10
/** A commit to memory or SQLite, and what goes on with it, takes fewer. */
const CLOSE_TURNS = 20
/** What a store gets to take the last commits when the steps have used up the time for closing. */
const PARTING_MS = 500
const RECLAIM_POLL_MS = 50
