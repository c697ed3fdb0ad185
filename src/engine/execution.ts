import type { Clock, Timer } from '../core/clock.ts'
import { encode } from '../core/codec.ts'
import { DurableError } from '../core/errors.ts'
import type { DurableErrorCode } from '../core/errors.ts'
import type {
  Claimed,
  Conflict,
  EndStatus,
  NewRun,
  NewWait,
  NextState,
  OutcomeRecord,
  RunCommit,
  StoreError,
  WaitRecord,
} from '../store/store.ts'
import { answerIn, answerOutcome } from './answer.ts'
import type { Answer } from './answer.ts'
import { ConsumedEvents } from './consumed-events.ts'
import type { Engine } from './engine.ts'
import { isRefusal, unavailable } from './errors.ts'
import { withinLimits } from './limits.ts'
import type { NewOutcome } from './limits.ts'
import type { Abandonment, ExecutionOwner } from './owner.ts'
import { assertTransition } from './execution-state.ts'
import type { ExecutionState } from './execution-state.ts'
import { Parking } from './parking.ts'
import { Pending } from './pending.ts'
import { Pump } from './pump.ts'
import type { Stall } from './pump.ts'
import { encodeOrdering } from './release-order.ts'
import type { Ordering } from './release-order.ts'
import { encodeResult } from './result.ts'
import { RunNote } from './run-note.ts'
import { Unfinished } from './unfinished.ts'
import { Waits } from './waits.ts'
import type { Author } from './writer.ts'

export interface ExecutionStart {
  readonly runId: string
  readonly epoch: number
  readonly owner: ExecutionOwner
  /** In the store already. */
  readonly created: boolean
  readonly timeoutAt: number | null
  readonly beganAt: number
  readonly journal: readonly OutcomeRecord[]
  readonly waits: readonly WaitRecord[]
  /** Outcomes that are known before the run is: root fields that have finished. */
  readonly carried: readonly NewOutcome[]
}

interface Sent {
  readonly commit: RunCommit
  readonly pending: Pending
  readonly at: number
}

/** Of a parked execution that has next to nothing: promises, a context, a document. */
const BASE_WEIGHT = 10_000
/** Measured: the body as text, its JSON, the coerced variables, and what servers and their contexts keep of them. */
const REQUEST_COPIES = 5

export class Execution implements Author {
  readonly engine: Engine
  readonly clock: Clock
  readonly runId: string
  readonly owner: ExecutionOwner
  readonly pump: Pump
  readonly waits: Waits
  readonly note: RunNote
  readonly #parking: Parking
  /** On the store's clock; guessed until the run is in the store. */
  beganAt: number
  timeoutAt: number | null
  /** Keys of the journal, with what consumed which event. */
  readonly outcomes = new Map<string, Pick<OutcomeRecord, 'key' | 'kind'>>()
  /** Events that waits of this run have consumed. */
  readonly consumed = new ConsumedEvents()
  /** Attempts under way: key → how to abort it and when it began. */
  readonly attempts = new Map<string, { abort(reason: unknown): void; startedAt: number; attempt: number }>()
  readonly unfinished = new Unfinished()
  /** Tool calls, all scopes together. */
  calls = 0
  epoch: number
  parkedAt = 0
  /** When something last happened to it: an attempt, a pass or a look-up began or ended, a commit came through. */
  movedAt: number
  /** When its lease was last known to be ours, on this process's clock: when what got it, or confirmed it, was sent. */
  leaseSeenAt: number
  /** On this process's own clock: how long ago that was needs no other. */
  readonly #startedAt: number
  #created: boolean
  #state: ExecutionState = 'live'
  #seq = 0
  #len: number
  #bytes = 0
  #inFlight = 0
  #pending: Pending = new Pending()
  #sent: Sent | null = null
  #whenLive: (() => void)[] = []
  #whenMayStart: (() => void)[] = []
  #timeout: Timer | null = null
  #isEvicted = false
  #answer: Answer | null = null
  /** What an earlier life has answered with: no other comes after it (I7). */
  #earlierAnswer: Answer | null
  /** It came to its end by an answer, and that is committed. */
  #hasEnded = false
  /** It was ended before it was done: no call learns of it (I12). */
  #isCut = false
  /** Calls that came while the end was being committed. */
  #late: (() => void)[] = []
  /** The store has refused a part of it for good. */
  #isUnwritable = false

  constructor(engine: Engine, start: ExecutionStart) {
    this.engine = engine
    this.clock = engine.clock
    this.runId = start.runId
    this.epoch = start.epoch
    this.owner = start.owner
    this.beganAt = start.beganAt
    this.timeoutAt = start.timeoutAt
    this.#startedAt = engine.clock.now()
    this.leaseSeenAt = this.#startedAt
    this.movedAt = this.#startedAt
    this.#created = start.created
    this.#len = start.journal.length
    this.#earlierAnswer = answerIn(start.journal)
    const pumpHost = {
      clock: engine.clock,
      turns: engine.turns,
      onQuiet: (): void => this.waits.onQuiet(),
      onDrained: (): void => this.#onDrained(),
      onStalled: (stall: Stall): void => this.#passOver(stall),
      onAskedAfterAll: (key: string): void => this.note.onAskedAfterAll(key),
    }
    this.pump = new Pump(pumpHost, start.journal)
    this.waits = new Waits(this, start.waits)
    this.note = new RunNote(this.runId, engine.options.warn, (note) => this.#writeNote(note))
    this.#parking = new Parking(this)
    for (const outcome of start.journal) {
      this.#count(outcome)
      this.#remember(outcome)
    }
    for (const outcome of start.carried) this.commitOutcome(outcome, null)
    this.pump.openTurn()
    this.#armTimeout()
  }

  get state(): ExecutionState {
    return this.#state
  }

  /** In the store, so that somebody may be told of it (I4). */
  get created(): boolean {
    return this.#created
  }

  /** Steps, commits and look-ups that are under way. */
  get busy(): boolean {
    return this.#inFlight > 0 || this.#sent !== null || this.#pending.isFull || !this.pump.idle
  }

  /** Bytes that it may keep in memory while it is parked, as far as they are known: decoded outcomes, and its request. */
  get weight(): number {
    return BASE_WEIGHT + this.#bytes + REQUEST_COPIES * this.owner.inputSize
  }

  /** Something that keeps the run from being parked until the returned function is called. */
  holdLease(): () => void {
    this.#inFlight++
    this.movedAt = this.clock.now()
    let released = false
    return () => {
      if (released) return
      released = true
      this.#inFlight--
      this.movedAt = this.clock.now()
      this.considerParking()
    }
  }

  /** Runs it while the lease is ours: now, or once the run has been claimed again, or never. */
  whenLive(start: () => void): void {
    if (this.#state === 'live') return start()
    if (this.#state === 'over' || this.#state === 'ending') return
    this.#whenLive.push(start)
    if (this.#state === 'parked') this.engine.reclaim(this.runId)
  }

  /**
   * As `whenLive`, for what has effects outside of the store: not while the process is closing, nor while it cannot know
   * whether the lease is still its own (I3).
   */
  whenMayStart(start: () => void): void {
    if (this.engine.mayStart(this)) return this.whenLive(start)
    this.#whenMayStart.push(start)
    // Whether the store can be had at all, the request has to learn: nothing else would be committed for it.
    if (!this.#created) void this.committed()
  }

  /**
   * Enqueues an outcome for the next commit; it is released in order after that (I1). `scope`: whose tool it is of; null
   * where it is of none.
   */
  commitOutcome(outcome: NewOutcome, scope: { readonly calls: number } | null): void {
    if (this.#state !== 'live') return
    if (scope === null) return this.#enqueue(outcome, 0, {})
    this.pump.place(outcome.key, (before) => {
      const called = this.pump.takeCalls(outcome.key)
      const ordering = { ...(called.length > 0 && { called }), ...(before !== undefined && { before }) }
      this.whenLive(() => this.#enqueue(outcome, scope.calls, ordering))
    })
  }

  #enqueue(outcome: NewOutcome, calls: number, ordering: Ordering): void {
    const text = encodeOrdering(ordering)
    const kept = withinLimits(outcome, this.#bytes, this.engine.options)
    this.#count(kept)
    this.#pending.outcomes.push({
      pos: this.#len++,
      key: kept.key,
      kind: kept.kind,
      ok: kept.ok,
      body: kept.body,
      calls,
      attempts: kept.attempts,
      eventId: kept.eventId,
      eventName: kept.eventName,
      tookMs: Math.max(0, this.clock.now() - kept.startedAt),
      ...(text !== undefined && { ordering: text }),
    })
    this.engine.writer.write(this)
  }

  /** What was answered is no step's, and leaves steps their room. */
  #count({ kind, body }: Pick<NewOutcome, 'kind' | 'body'>): void {
    if (kind !== 'ANSWER') this.#bytes += Buffer.byteLength(body)
  }

  openWait(wait: NewWait): void {
    if (this.#state !== 'live') return
    this.#pending.opens.push(wait)
    this.engine.writer.write(this)
  }

  /** Resolves once the run, and everything enqueued so far, is in the store. Never, where that fails. */
  committed(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#state === 'over') return
      if (this.#created && !this.#pending.isFull && !this.#sent) return resolve()
      this.#pending.done.push(resolve)
      this.engine.writer.write(this)
    })
  }

  /** A pass has answered: no other is made, and the run ends once its steps are finished. */
  get isAnswered(): boolean {
    return this.#answer !== null
  }

  /** Ends the run with the response that a synchronous client would have got, after the steps that were called. */
  end(status: EndStatus, result: string, note?: string): void {
    this.whenLive(() => {
      this.#answer = this.#earlierAnswer ?? { status, result, note }
      if (this.unfinished.size === 0) return this.#endIfDone()
      if (!this.#earlierAnswer) this.commitOutcome(answerOutcome(this.#answer, this.clock.now()), null)
      this.note.onUnawaited(this.unfinished.keys, this.#earlierAnswer === null)
      void this.committed() // after a crash another process has to call them again
      this.considerParking()
    })
  }

  #onDrained(): void {
    this.unfinished.settle()
    this.#endIfDone()
    this.considerParking()
  }

  /** What is on its way to the code may make it call further steps. */
  #endIfDone(): void {
    const answer = this.#answer
    if (!answer || this.#state !== 'live' || this.unfinished.size > 0 || !this.pump.idle) return
    this.#commitEnd(answer.status, answer.result, answer.note ?? this.note.atEnd(this.pump.unasked))
    if (this.note.namesUnawaited && this.#pending.note === undefined) this.#pending.note = null // it has ended after all
  }

  /**
   * A tool was called when nothing starts any more. Tells it once the run has come to its end, and never where the run
   * is over otherwise (I12).
   */
  onLateCall(tell: () => void): void {
    if (this.#hasEnded) tell()
    else if (this.#state === 'ending' && !this.#isCut) this.#late.push(tell)
    else this.onCalledAfterEviction()
  }

  #commitEnd(status: EndStatus, result: string, note?: string): void {
    this.#setState('ending')
    this.#pending.next = { kind: 'end', ending: { status, result } }
    if (note !== undefined) this.#pending.note = note
    this.engine.writer.write(this)
  }

  /** Ends the run because it cannot go on. No tool's promise learns of it (I12). */
  fail(code: DurableErrorCode, message: string, note?: string): void {
    if (this.#state !== 'live') return this.whenLive(() => this.fail(code, message, note))
    const error = new DurableError(code, message, { extensions: { runId: this.runId } })
    this.#isCut = true
    // What was answered stays the result (I7): only the steps that nobody awaited are cut.
    const answer = this.#answer ?? this.#earlierAnswer
    if (answer) this.#commitEnd(answer.status, answer.result, this.#cutNote(note ?? message))
    else this.#commitEnd('failed', encodeResult({ data: null, errors: [error] }), note)
    this.pump.stop()
    this.waits.stop()
    this.#abortAttempts(error)
    this.owner.onAbandoned({ kind: 'failed', error })
  }

  /** The same for what nobody could carry on, here or elsewhere. `forClients`: why, where that may be told. */
  failToGoOn(note: string, forClients?: string): void {
    const message = 'The operation could not be carried on.'
    this.fail('DURABLE_RESUME_FAILED', forClients === undefined ? message : `${message} ${forClients}`, note)
  }

  #cutNote(message: string): string {
    const { keys } = this.unfinished
    // A pass that was cut short may not have come to them.
    const which = keys.length > 0 ? ` (${keys.join(', ')})` : ''
    return `Ended with steps that nobody had awaited unfinished${which}: ${message}`
  }

  /** The execution is not ours to carry on. */
  abandon(why: Abandonment): void {
    if (this.#state === 'over') return
    this.#setState('over')
    this.pump.stop()
    this.waits.stop()
    this.#timeout?.cancel()
    this.#parking.stop()
    this.#isEvicted = why.kind === 'evicted'
    if (this.#whenLive.length + this.#whenMayStart.length > 0) this.onCalledAfterEviction()
    this.#whenLive = []
    this.#whenMayStart = []
    this.#late = []
    this.unfinished.clear()
    this.#pending = new Pending()
    this.#abortAttempts(new DOMException('The run is no longer advanced by this process.', 'AbortError'))
    this.engine.forget(this)
    this.owner.onAbandoned(why)
  }

  /**
   * The user's code went on by something that is no tool, after its promises were dropped. What it wants happens in a
   * cold pass instead.
   */
  onCalledAfterEviction(): void {
    if (!this.#isEvicted) return
    this.#isEvicted = false
    this.engine.carryOnEvicted(this.runId)
  }

  /** A claim under the epoch that this was parked with: the promises go on where they were. */
  continue(claimed: Claimed, claimedAt: number): void {
    this.epoch = claimed.run.epoch
    this.leaseSeenAt = claimedAt
    this.movedAt = this.clock.now()
    this.#seq = 0
    this.#setState('live')
    this.#armTimeout()
    this.waits.resume()
    for (const start of this.#whenLive.splice(0)) this.whenLive(start)
    if (this.#pending.isFull) this.engine.writer.write(this)
    this.considerParking()
  }

  /** Looks again whether anything is in flight, once the present turn is through. */
  considerParking(): void {
    this.#parking.consider()
  }

  /** What wanted to start while no step might be started in this process. */
  startWaiting(): void {
    for (const start of this.#whenMayStart.splice(0)) this.whenMayStart(start)
  }

  /** Gives the lease back before the run has come to its next wait: anybody may go on with it in `wakeInMs`. */
  giveBack(wakeInMs: number, why: { resumeFailures?: number; note?: string } = {}): void {
    if (this.#state !== 'live') return
    Object.assign(this.#pending, why)
    this.#commitPark({ kind: 'park', wakeInMs })
  }

  #commitPark(next: NextState): void {
    this.#setState('parking')
    this.#pending.next = next
    this.engine.writer.write(this)
  }

  /** A pass has got through after others had been refused: only those in a row count. */
  onResumed(): void {
    if (this.#state !== 'live') return
    this.#pending.resumeFailures = 0
    this.#pending.note = null
    this.engine.writer.write(this)
  }

  /** It has been held for long enough, and nobody died of it. */
  onAcquitted(): void {
    if (this.#state !== 'live') return
    this.#pending.suspicion = 'acquitted'
    this.engine.writer.write(this)
  }

  /** Gives the lease back until the next wait is over. */
  park(wakeInMs: number | null): void {
    this.#pending.suspicion = 'cleared' // it has got as far as it can: nobody died of it
    this.#commitPark({ kind: 'park', wakeInMs, keeps: this.engine.keepsParked(this) })
  }

  /** Something has to start as soon as the process may start anything. */
  get isHeldUp(): boolean {
    return this.#whenMayStart.length > 0
  }

  storeNow(): number {
    return this.engine.storeNow()
  }

  // ---- Author: what the writer asks and tells

  takeCommit(): RunCommit | null {
    const gathered = this.#pending
    if (this.#state === 'over' || this.#state === 'parked' || this.#sent || (this.#created && !gathered.isFull))
      return null
    const pending = gathered.takePart()
    if (pending === gathered) this.#pending = new Pending()
    const create = this.#created ? null : this.#newRun()
    const commit = pending.toCommit({ runId: this.runId, epoch: this.epoch, seq: ++this.#seq, create })
    this.#sent = { commit, pending, at: this.clock.now() }
    return commit
  }

  #newRun(): NewRun {
    const sinceStart = (): number => Math.max(0, this.clock.now() - this.#startedAt)
    return {
      ...this.owner.newRun(),
      // Read when it is sent, however long that takes: an event that is accepted meanwhile is the run's (I6).
      get beganAgoMs() {
        return sinceStart()
      },
    }
  }

  /**
   * The store has the run, and said when. Before that its clock may not have been known at all: the first operation of
   * a process whose own clock is fast would otherwise begin in the future, and not see its events (I6).
   */
  #onCreated(at: number): void {
    const agoMs = Math.max(0, this.clock.now() - this.#startedAt)
    if (this.timeoutAt !== null) this.timeoutAt += at - agoMs - this.beganAt
    this.beganAt = at - agoMs
    this.#armTimeout()
    this.startWaiting()
  }

  onCommitted(commit: RunCommit, at: number, signalled: boolean): void {
    const sent = this.#sent
    this.#sent = null
    if (this.#state === 'over' || !sent) return
    this.#created = true
    this.leaseSeenAt = Math.max(this.leaseSeenAt, sent.at) // whoever may commit has the lease
    this.#parking.onProgress()
    this.movedAt = this.clock.now()
    this.engine.onStoreTime(at)
    if (commit.create) this.#onCreated(at)
    for (const outcome of commit.outcomes) {
      const record = { ...outcome, committedAt: at }
      this.#remember(record)
      this.pump.push(record)
    }
    if (commit.outcomes.length > 0) this.engine.onGotOn(this.runId)
    for (const wait of commit.opens) this.waits.onRegistered(wait, at)
    if (commit.opens.length > 0) this.waits.afterRegistered()
    for (const done of sent.pending.done) done()
    if (commit.next.kind === 'park') return this.#onParked(commit.next.wakeInMs, signalled)
    if (commit.next.kind === 'end') return this.#onEnded()
    if (signalled) this.waits.scan()
    if (this.#pending.isFull) this.engine.writer.write(this)
    this.considerParking()
  }

  onRefused(_commit: RunCommit, conflict: Conflict | null): void {
    this.#sent = null
    this.abandon(conflict ? { kind: 'joins', conflict } : { kind: 'lost' })
  }

  onStalled(): void {
    if (this.#state !== 'over') this.owner.onStalled()
  }

  onStoreFailure(commit: RunCommit, cause: StoreError): void {
    this.#sent = null
    if (this.#state === 'over') return
    const mayEnd = this.#created && (!this.#isUnwritable || this.#answer !== null)
    if (isRefusal(cause) && mayEnd) return this.#onUnwritable(commit, cause)
    this.engine.options.warn(
      this.#created
        ? 'The store could not commit; the run is given up by this process for now.'
        : 'The store could not commit; the operation was answered with an error, and there is no run of it.',
      { ...(this.#created && { runId: this.runId }), reason: cause.message },
    )
    this.abandon({ kind: 'failed', error: unavailable(cause, this.#created ? this.runId : undefined) })
  }

  /** The store will never take it, from anybody: given up, the step would run again and again. The run ends instead. */
  #onUnwritable({ next }: RunCommit, cause: StoreError): void {
    this.#isUnwritable = true
    if (next.kind === 'end') this.#answer = this.#earlierAnswer = null // it is what cannot be stored
    if (this.#state !== 'live') this.#setState('live')
    this.#pending = new Pending()
    this.failToGoOn(cause.message)
  }

  #onParked(wakeInMs: number | null, signalled: boolean): void {
    this.#setState('parked')
    this.parkedAt = this.clock.now()
    this.waits.pause()
    this.#timeout?.cancel()
    this.engine.onParked(this, signalled ? 0 : wakeInMs)
    if (this.#whenLive.length > 0) this.engine.reclaim(this.runId)
  }

  #onEnded(): void {
    this.engine.onEnded(this.runId)
    this.#hasEnded = !this.#isCut
    const late = this.#hasEnded ? this.#late : []
    for (const tell of late) tell()
    this.abandon({ kind: 'ended' })
  }

  #remember(outcome: OutcomeRecord): void {
    this.outcomes.set(outcome.key, { key: outcome.key, kind: outcome.kind })
    this.unfinished.delete(outcome.key)
    if (outcome.eventId !== null) this.consumed.add(outcome.eventName, outcome.eventId)
    this.waits.forget(outcome.key)
  }

  #writeNote(note: string | null): void {
    if (this.#state !== 'live') return
    this.#pending.note = note
    this.engine.writer.write(this)
  }

  /** Kept in the journal, so that no later replay waits for it again and all of them go on in the same order (I5). */
  #passOver({ passed, released, awaitsNew }: Stall): void {
    const key = `>${passed[0] ?? released}`
    const at = this.clock.now()
    const pass = {
      key,
      kind: 'PASS' as const,
      ok: true,
      body: NOTHING,
      attempts: 0,
      eventId: null,
      eventName: null,
      startedAt: at,
    }
    this.whenLive(() => this.#enqueue(pass, 0, { passed }))
    if (!awaitsNew) this.note.onPassedOver(passed, released)
  }

  #armTimeout(): void {
    this.#timeout?.cancel()
    if (this.timeoutAt === null) return
    const inMs = Math.max(0, this.timeoutAt - this.engine.storeNow())
    this.#timeout = this.clock.setTimeout(
      () => this.fail('DURABLE_RUN_TIMEOUT', 'The operation took longer than its timeout.'),
      inMs,
    )
  }

  #abortAttempts(reason: unknown): void {
    for (const attempt of this.attempts.values()) attempt.abort(reason)
    this.attempts.clear()
  }

  /** The only place where the state changes; execution-state.ts has the table. */
  #setState(state: ExecutionState): void {
    assertTransition(this.#state, state)
    this.#state = state
  }
}

/** The body of what has no value. */
const NOTHING = encode(undefined)
