import { GraphQLError } from 'graphql'
import type { ExecutionArgs, ExecutionResult } from 'graphql'
import type { Timer } from '../core/clock.ts'
import { DurableError, messageOf } from '../core/errors.ts'
import { identityText, undistinguishedText } from '../core/identity.ts'
import type { Conflict, Idempotency, NewRun, RunRecord } from '../store/store.ts'
import type { ResumedRun } from '../types.ts'
import { unavailable } from './errors.ts'
import type { Engine } from './engine.ts'
import { Execution } from './execution.ts'
import type { Host } from './host.ts'
import { toolOf } from './tool-promises.ts'
import { unkeptMessage } from './execution-args.ts'
import { FieldPolicies } from './field-policies.ts'
import type { Kept, PendingField } from './field-promises.ts'
import { Labels } from './labels.ts'
import { deferredResult } from './deferred.ts'
import { rootKeys } from './documents.ts'
import { HoldBudget } from './hold-budget.ts'
import type { Followed } from './idempotency.ts'
import type { NewOutcome } from './limits.ts'
import { OwnExecutions } from './own-executions.ts'
import type { Abandonment, ExecutionOwner } from './owner.ts'
import { PARK_AFTER_MS } from './parking.ts'
import { PendingFields } from './pending-fields.ts'
import { isFinal, refusalReason } from './refusal.ts'
import type { PassOutcome } from './refusal.ts'
import { encodeResult, statusOf } from './result.ts'
import { ResultsBeforeRun } from './results-before-run.ts'
import { captureRequest, IDENTITIES, idempotencyOf } from './run-input.ts'
import type { RunInput } from './run-input.ts'
import { SignalsUntilRun } from './request-signal.ts'
import type { Scope } from './scope.ts'
import { UserFunctionError } from './user-functions.ts'

/**
 * One operation in this process, through all of its passes.
 *
 * - `foreground`: the request is open. What the executor awaits for a field can be rejected (the switch), while the
 *   resolver's own promise goes on and is kept.
 * - `background`: the request has been answered with the deferred payload, or there never was one (a cold resume). A
 *   pass hands out the promises that are kept, and its answer is the run's result.
 * - `over`: answered without a run, or the execution is over.
 */
type Phase = 'foreground' | 'background' | 'over'

/** A request whose executor does not come to its end by then is answered without the executor. */
const COARSE_AFTER_MS = 100
const MAX_RESUME_FAILURES = 10
/** A server that has not come to the end of an answer's hooks by then has lost the answer, or never had such hooks. */
const DELIVERED_AFTER_MS = 1000

export class Operation implements ExecutionOwner {
  readonly engine: Engine
  readonly host: Host
  readonly startedAt: number
  /** The executor's arguments, as they came to the plugin. In a cold pass, once it has reached the executor. */
  args: ExecutionArgs | null
  /** What resolvers have for their context: the one in `args`, or, where that serves others as well, one that inherits. */
  bound: object | null = null
  /** Resolvers' results by scope key: what is under way or done is handed to the next pass. */
  readonly kept = new Map<string, Kept>()
  readonly resultsBeforeRun = new ResultsBeforeRun()
  readonly labels: Labels
  readonly policies = new FieldPolicies()
  readonly executions = new OwnExecutions()
  /** A resolver or a step of another operation began it, with that one's context: the request is the other's. */
  isInner = false
  /** What the server resolves fields with that have no resolver; null: graphql's own. */
  fieldResolver: ExecutionArgs['fieldResolver'] | null = null
  /** A resolver has taken `step`: whatever resolvers begin from now on may come to wait for a tool. */
  stepTaken = false
  /** Among what is kept are properties of source objects, which have no resolver that would ask for it. */
  keepsProperties = false
  readonly pendingFields = new PendingFields()
  /** Root fields that have finished, executed field by field, before there was a run (I10). */
  readonly carried: NewOutcome[] = []
  /** What was rejected with the switch, by path. */
  readonly deferred: GraphQLError[] = []
  /** What the executor answered the foreground with, before any plugin saw it. */
  executed: ExecutionResult | null = null
  /** The executor has answered with parts (`@defer`, `@stream`), which somebody may read to their end, or nobody. */
  answersInParts = false
  /** Answers the request without waiting for the executor. */
  answerEarly: (result: ExecutionResult) => void = () => {}
  /** The coerced variables of the foreground's execution: tells a resolver call of a foreground that was left behind. */
  foregroundVariables: unknown = null
  input: RunInput | null
  phase: Phase
  reached = false
  /** A background pass has got through to the executor. */
  onReached: () => void = () => {}
  /** What a context factory or another plugin threw in this pass, before masking: operators have to see it (I4). */
  refusal: unknown = null
  /** The pass has come to the server's executor: what is executed before (by a context factory, say) is not it. */
  executing = false
  /** Its run is over for this process, and has not come to its end here: nothing of the user's runs any more (I12). */
  isAbandoned = false
  #execution: Execution | null = null
  #begun: Set<string> | null = null
  #finished: Map<string, ExecutionResult> | null = null
  #passing = false
  /** The executor's hooks are through, and the server's are not: the run's result is what comes of them (I7). */
  #undelivered = false
  /** A stored response that is delivered again, as it is: whatever hooks make of it does not show. */
  repeated: ExecutionResult | null = null
  /** What the server's hooks have made of the answer so far. */
  answered: ExecutionResult | null = null
  #deferAfter: Timer | null = null
  #nextPass: Timer | null = null
  #coarse: Timer | null = null
  readonly #holdBudget = new HoldBudget()
  #resumeFailures = 0
  #failedWith: DurableError | null = null
  /** Why the request may not become a run. */
  #refused: GraphQLError | null = null
  /** The request was answered because a commit did not come back; the run goes on if it does. */
  #isStalled = false
  #signals: SignalsUntilRun | null = null
  #version: string | null
  #owner: string | null = null
  /** What the store keeps of the request; emptied once it has been handed over. */
  #encodedInput = ''
  inputSize = 0
  /** Why there is no run to be made of the request. */
  #unkept: { readonly reason: unknown } | null = null
  #idempotencyKey: string | null = null
  #idempotency: Idempotency | null = null
  #joined: Followed | null = null
  /** While the run is being created under an idempotency key. */
  #onAbandonedEarly: ((why: Abandonment) => void) | null = null

  constructor(engine: Engine, host: Host, args: ExecutionArgs | null, input: RunInput | null) {
    this.engine = engine
    this.host = host
    this.args = args
    this.input = input
    this.phase = args ? 'foreground' : 'background'
    this.startedAt = engine.clock.now()
    this.#version = engine.options.version
    const isOld = input !== null && input.identities !== IDENTITIES
    this.labels = new Labels(engine.options.identities, isOld ? undistinguishedText : identityText)
  }

  /** The execution, if a tool has been called. */
  get run(): Execution | null {
    return this.#execution
  }

  get isAnswered(): boolean {
    return this.phase === 'over' && !this.#execution && !this.isAbandoned && this.#failedWith === null
  }

  /** Response keys of a mutation's root fields that the foreground has come to. */
  get begun(): Set<string> {
    return (this.#begun ??= new Set())
  }

  /** The responses of root fields that have finished, executed field by field (I10). */
  get finished(): Map<string, ExecutionResult> {
    return (this.#finished ??= new Map())
  }

  get deferring(): boolean {
    return this.deferred.length > 0 || this.#failedWith !== null || this.#refused !== null
  }

  /** Set where the run ended while the request was open, and there is nothing to follow. */
  get endStatus(): 'CANCELLED' | 'FAILED' | null {
    if (this.#failedWith === null || this.#failedWith.code === 'DURABLE_STORE_UNAVAILABLE') return null
    return this.#failedWith.code === 'DURABLE_RUN_CANCELLED' ? 'CANCELLED' : 'FAILED'
  }

  /** The run that whoever sent this operation can follow: its own, or the one that it joined. */
  get followed(): Followed | null {
    const run = this.#execution
    if (this.#joined || !run?.created) return this.#joined
    const waitingOn = run.waits.snapshots()
    return {
      runId: run.runId,
      status: waitingOn.length > 0 && run.attempts.size === 0 ? 'SUSPENDED' : 'RUNNING',
      waitingOn,
    }
  }

  /** Signals in place of those that executors give to resolvers. */
  get signals(): SignalsUntilRun {
    return (this.#signals ??= new SignalsUntilRun())
  }

  get context(): unknown {
    return this.args?.contextValue
  }

  /** For the engine: a run that was loaded from the store. */
  attach(execution: Execution, resumeFailures: number): void {
    this.#execution = execution
    this.#resumeFailures = resumeFailures
  }

  /**
   * Makes the run before anything is executed, under an idempotency key. Resolves when it is committed: with null, or
   * with the run that the key belongs to. Rejects where the store fails.
   */
  createUnder(key: string): Promise<{ fingerprint: string; conflict: Conflict | null }> {
    this.#idempotencyKey = key
    return new Promise((resolve, reject) => {
      const execution = this.execution()
      if (!execution) return reject(this.#refused ?? unavailable(null))
      const fingerprint = this.#idempotency?.fingerprint ?? ''
      this.#onAbandonedEarly = (why) => {
        if (why.kind === 'joins') resolve({ fingerprint, conflict: why.conflict })
        else reject(why.kind === 'failed' ? why.error : unavailable(null))
      }
      void execution.committed().then(() => {
        this.#onAbandonedEarly = null
        resolve({ fingerprint, conflict: null })
      })
    })
  }

  /** Answers with the run that this operation joined. */
  follow(run: Followed): ExecutionResult {
    this.#joined = run
    if (!this.args) return { data: null }
    return { data: null, errors: rootKeys(this.args).map((key) => this.deferral([key])) }
  }

  /** The run's execution; the first tool call makes it. */
  execution(): Execution | null {
    if (this.#execution || this.phase === 'over' || !this.args || this.#refused) return this.#execution
    if (this.engine.closing) {
      return this.#refuse(new DurableError('DURABLE_STORE_UNAVAILABLE', 'The server is shutting down. Try again.'))
    }
    try {
      this.#captureRequest(this.args)
    } catch (error) {
      if (!(error instanceof UserFunctionError)) throw error
      this.engine.options.warn('An operation was refused, since what its run is to keep could not be told.', {
        operationName: this.args.operationName ?? null,
        reason: error.message,
        cause: error.cause,
      })
      return this.#refuse(error.forClients)
    }
    const beganAt = this.engine.storeNow()
    const timeoutMs = this.engine.options.timeoutMs
    this.#execution = new Execution(this.engine, {
      runId: `run_${this.engine.clock.randomId()}`,
      epoch: 1,
      owner: this,
      created: false,
      beganAt,
      timeoutAt: timeoutMs === null ? null : beganAt + timeoutMs,
      journal: [],
      waits: [],
      carried: this.carried,
    })
    this.#signals?.letGo()
    this.engine.adopt(this)
    this.resultsBeforeRun.keepIn(this.kept, this.labels)
    const leftMs = this.engine.options.deferAfterMs - (this.engine.clock.now() - this.startedAt)
    this.#deferAfter = this.engine.clock.setTimeout(() => void this.deferAll(), Math.max(0, leftMs))
    return this.#execution
  }

  /** What cannot be kept is found out once: looking at it again for each tool call may take long. */
  #captureRequest(args: ExecutionArgs): void {
    if (this.#unkept) throw this.#unkept.reason
    try {
      const request = captureRequest(this.host, this.engine.options, args)
      if (this.#idempotencyKey !== null)
        this.#idempotency = idempotencyOf(
          this.host.name,
          request,
          this.#idempotencyKey,
          this.host.positionInBatch(args.contextValue),
        )
      this.input = request.input
      this.#encodedInput = request.encoded
      this.inputSize = request.encoded.length
      this.#owner = request.owner
    } catch (reason) {
      this.#unkept = { reason }
      throw reason
    }
  }

  /** There can be no run: the request gets an error, and no tool's promise tells (I12). */
  #refuse(error: GraphQLError): null {
    this.#refused = error
    // Later: the field that called the tool is not known to be pending before its resolver has returned.
    this.#deferAfter = this.engine.clock.setTimeout(() => {
      for (const field of this.pendingFields) this.#deferField(field)
      this.#answerWithoutExecutor(COARSE_AFTER_MS)
    }, 0)
    return null
  }

  // ---- The request is open

  mayHold(endsInMs: number | null, scope: Scope): boolean {
    if (endsInMs === null) return false
    // Not worth two commits: the lease is kept for as long.
    if (this.phase !== 'foreground') return endsInMs < PARK_AFTER_MS
    const now = this.engine.clock.now()
    return this.#holdBudget.take(now, endsInMs, scope.policy?.holdMs ?? this.engine.options.holdMs)
  }

  /** The switch, for one field. Its wait is committed. */
  defer(scope: Scope): void {
    if (this.phase !== 'foreground' || this.#failsToWait()) return
    const fields = this.pendingFields.awaiting(scope)
    const below = fields.length > 0 ? fields : this.pendingFields.below(scope.key)
    for (const field of below) if (!this.#isRunning(field)) this.#deferField(field)
    if (below.length > 0 || this.#coarse) return
    // Where nothing is pending, the field was deferred before, or has answered without waiting for this tool.
    if (this.resultsBeforeRun.isUnderWayWithin(scope.key)) this.#answerWithoutExecutor(0)
  }

  /** From the switch on another process may have to carry it on, which would answer null where it lacks something. */
  #failsToWait(): boolean {
    const unkept = this.input?.unkept
    if (!unkept || this.host.remakesArgs || !this.#execution) return false
    this.#execution.fail('DURABLE_NOT_SERIALIZABLE', unkeptMessage(unkept))
    return true
  }

  /** It is a tool's own promise, and that tool does not wait: its field goes on to its end. */
  #isRunning({ promise }: PendingField): boolean {
    const tool = toolOf(promise)
    return tool !== undefined && this.#execution?.waits.has(tool) === false
  }

  /** The switch, for whatever is running. */
  async deferAll(): Promise<void> {
    if (this.phase !== 'foreground' || !this.#execution || this.#failsToWait()) return
    this.#execution.waits.registerAll()
    await this.#execution.committed()
    if (this.phase !== 'foreground') return
    // The executor has answered, and a plugin's hook has lost the answer: the background pass makes the result (I4).
    if (this.executed) return this.onForegroundFailed()
    for (const field of this.pendingFields) this.#deferField(field)
    this.#answerWithoutExecutor(COARSE_AFTER_MS)
  }

  /** The entry of a field that is pending. */
  deferral(path: readonly (string | number)[]): GraphQLError {
    const error = withoutStack(() => this.#entry(path))
    this.deferred.push(error)
    return error
  }

  #entry(path: readonly (string | number)[]): GraphQLError {
    return this.#refused
      ? new GraphQLError(this.#refused.message, { path, extensions: this.#refused.extensions })
      : this.#failedWith === null
        ? new DurableError('DURABLE_DEFERRED', `"${path.join('.')}" is still running. Follow the run by its id.`, {
            path,
            extensions: { runId: this.#joined?.runId ?? this.#execution?.runId },
          })
        : new DurableError(this.#failedWith.code, this.#failedWith.message, {
            path,
            extensions: this.#failedWith.extensions,
          })
  }

  /**
   * The foreground's answer has been through every plugin. Where the operation was deferred, its entries are put back
   * in (masking may have erased them), and the background pass begins.
   */
  onForegroundResult(result: ExecutionResult): ExecutionResult {
    if (this.phase !== 'foreground') return result
    const execution = this.#execution
    this.#closeForeground()
    if (this.#joined) {
      this.phase = 'over'
      return deferredResult(this, result)
    }
    if (!execution) {
      this.phase = 'over'
      return this.repeated ?? result
    }
    this.phase = 'background'
    if (this.#failedWith && !this.#isStalled) return deferredResult(this, result)
    const isDeferred = this.deferring
    if (isDeferred) this.engine.onDeferred(this)
    const answer = isDeferred ? deferredResult(this, result) : result
    // A pass marks the context as that of a resumed run, which is not what the hooks of this answer are to see.
    if (this.host.deliversLater(this.context)) this.#awaitDelivery()
    else if (isDeferred) this.pass()
    else this.#end(execution, result)
    return answer
  }

  get undelivered(): boolean {
    return this.#undelivered
  }

  #awaitDelivery(): void {
    this.#undelivered = true
    this.#deferAfter = this.engine.clock.setTimeout(() => this.onDelivered(null), DELIVERED_AFTER_MS)
  }

  /**
   * The answer has been through the server's own hooks. Null: it was lost there. Then, and where the answer is the
   * deferred payload, a background pass makes the result.
   */
  onDelivered(result: ExecutionResult | null): void {
    const execution = this.#execution
    if (!this.#undelivered || !execution) return
    this.#undelivered = false
    this.#deferAfter?.cancel()
    if (result && !this.deferring) this.#end(execution, result)
    else this.pass()
  }

  /** The executor, or a plugin, threw: there is no answer that could be the run's result. */
  onForegroundFailed(): void {
    if (this.phase !== 'foreground') return
    this.#closeForeground()
    this.phase = this.#execution ? 'background' : 'over'
    this.pass()
  }

  // ---- A background pass

  /** Begins a background pass, unless one is under way. */
  pass(): void {
    if (this.#passing || this.phase !== 'background' || this.#execution?.state !== 'live') return
    if (this.#execution.isAnswered) return // it ends when its steps are finished
    // Under a key that may be another run's, nothing is executed before.
    if (this.#idempotencyKey !== null && !this.#execution.created) return
    this.#passing = true
    void this.#pass(this.#execution)
  }

  async #pass(execution: Execution): Promise<void> {
    // From here to the executor nothing of the run is in flight, and yet it must not be parked.
    const release = execution.holdLease()
    this.reached = false
    this.executing = false
    this.refusal = null
    const failuresBefore = this.#resumeFailures
    this.onReached = () => {
      if (this.#resumeFailures > 0) execution.onResumed()
      this.#resumeFailures = 0
      release()
    }
    let outcome: PassOutcome
    try {
      outcome = { result: await this.host.pass(this) }
    } catch (error) {
      outcome = { error: this.refusal ?? error }
    }
    this.#passing = false
    if (this.reached && 'result' in outcome) this.#end(execution, outcome.result)
    else this.#onPassRefused(execution, outcome, failuresBefore)
    release()
  }

  /** The response is the run's result. */
  #end(execution: Execution, result: ExecutionResult): void {
    let encoded: string
    try {
      encoded = encodeResult(result)
    } catch (cause) {
      const reason = messageOf(cause)
      const message = 'Expected a response that JSON can hold, but a scalar of it gave something else.'
      const { runId } = execution
      const error = new DurableError('DURABLE_NOT_SERIALIZABLE', message, { extensions: { runId } })
      return execution.end('failed', encodeResult({ data: null, errors: [error] }), reason)
    }
    execution.end(statusOf(result), encoded)
  }

  /**
   * For whoever makes a pass, after each await in it. Resolves while the run is ours: at once, or when it has been
   * claimed again. Never once it is over: nothing of the user's may run for it any more (I12).
   */
  untilLive(): Promise<void> {
    return new Promise((resolve) => this.#execution?.whenLive(resolve))
  }

  /** Passes in a row that were refused. */
  get resumeFailures(): number {
    return this.#resumeFailures
  }

  get hasPass(): boolean {
    return this.phase === 'background' && this.#passing && this.reached
  }

  mayPark(): boolean {
    return this.hasPass && this.pendingFields.size > 0 && this.pendingFields.allWaitForTools
  }

  onAbandoned(why: Abandonment): void {
    this.#deferAfter?.cancel()
    this.#nextPass?.cancel()
    if (this.#onAbandonedEarly) {
      this.#execution = null
      return this.#onAbandonedEarly(why)
    }
    this.isAbandoned ||= why.kind !== 'ended'
    if (this.phase !== 'foreground') {
      this.phase = 'over'
      return
    }
    if (why.kind === 'failed') this.#failedWith = why.error
    // Nobody is told of a run that was never committed (I4).
    else if (!this.#execution?.created) this.#failedWith = unavailable(null)
    for (const field of this.pendingFields) this.#deferField(field)
    this.#answerWithoutExecutor(COARSE_AFTER_MS)
  }

  onStalled(): void {
    const execution = this.#execution
    if (this.phase !== 'foreground' || this.#isStalled || !execution) return
    this.#isStalled = true
    // Nobody is told of a run that may never be committed (I4).
    if (!execution.created) this.#failedWith = unavailable(null)
    if (this.#onAbandonedEarly) {
      const refuse = this.#onAbandonedEarly
      this.#onAbandonedEarly = null
      void execution.committed().then(() => this.pass())
      return refuse({ kind: 'failed', error: unavailable(null) })
    }
    for (const field of this.pendingFields) this.#deferField(field)
    this.#answerWithoutExecutor(COARSE_AFTER_MS)
  }

  newRun(): Omit<NewRun, 'beganAgoMs'> {
    const { options } = this.engine
    const input = this.#encodedInput
    this.#encodedInput = '' // asked for once, and large
    return {
      server: this.host.name,
      operationName: this.input?.operationName ?? null,
      owner: this.#owner,
      version: options.version,
      timeoutMs: options.timeoutMs,
      input,
      idempotency: this.#idempotency,
    }
  }

  /** What the context functions are told. */
  get resumed(): ResumedRun {
    return {
      id: this.#execution?.runId ?? '',
      operationName: this.input?.operationName ?? null,
      owner: this.#owner,
      version: this.#version,
    }
  }

  /** For the engine: what the store kept. */
  restore({ owner, version }: RunRecord): void {
    this.#owner = owner
    this.#version = version
  }

  #deferField(field: PendingField): void {
    if (!field.reject) return
    this.pendingFields.delete(field)
    field.reject(this.deferral(field.path))
  }

  #answerWithoutExecutor(afterMs: number): void {
    this.#coarse ??= this.engine.clock.setTimeout(() => {
      if (this.phase !== 'foreground' || !this.args) return
      // It is answered. Whether its parts are read to their end or not, the run comes to its own (I4).
      if (this.answersInParts) return this.onForegroundFailed()
      const deferred = new Set(this.deferred.map(({ path }) => path?.[0]))
      for (const key of rootKeys(this.args)) if (!deferred.has(key)) this.deferral([key])
      this.answerEarly({ data: null, errors: [...this.deferred] })
    }, afterMs)
  }

  #closeForeground(): void {
    this.#signals?.letGo()
    this.#deferAfter?.cancel()
    this.#coarse?.cancel()
  }

  /**
   * A refusal is never a run's result: the pass is tried again, and then the run fails with its cause. One that comes
   * after the executor (of a hook for the answer) counts with those before: reaching it is not getting on.
   */
  #onPassRefused(execution: Execution, outcome: PassOutcome, failuresBefore: number): void {
    if (this.phase === 'over') return
    const reason = refusalReason(outcome)
    const failures = (this.#resumeFailures = Math.max(this.#resumeFailures, failuresBefore) + 1)
    const final = isFinal(outcome) || failures >= MAX_RESUME_FAILURES
    this.engine.options.warn(final ? 'A run could not be resumed.' : 'A run could not be resumed; it is tried again.', {
      runId: execution.runId,
      failures,
      reason,
    })
    if (final) {
      execution.failToGoOn(reason, isFinal(outcome) ? reason : undefined)
      return
    }
    const delayMs = this.engine.resumeDelayMs(failures)
    // With a step under way the lease cannot be given back: somebody else would run it beside this one.
    if (execution.attempts.size > 0) this.#nextPass = this.engine.clock.setTimeout(() => this.pass(), delayMs)
    else execution.giveBack(delayMs, { resumeFailures: failures, note: reason })
  }
}

/** Entries of a response, by the thousand where as many fields are pending: each stack would take 50 µs. */
function withoutStack<T>(make: () => T): T {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  try {
    return make()
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}
