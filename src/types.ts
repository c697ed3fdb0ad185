import type { ErrorClass } from './core/error-classes.ts'
import type { ExecutionResult, GraphQLResolveInfo, GraphQLSchema } from 'graphql'
import type { Clock } from './core/clock.ts'
import type { Duration } from './core/duration.ts'
import type { OutcomeKind, RunStatus as StoredRunStatus, Store, WaitKind } from './store/store.ts'

export type RunStatus = 'QUEUED' | 'RUNNING' | 'SUSPENDED' | 'COMPLETED' | 'FAILED' | 'CANCELLED'
export type StepKind = Exclude<OutcomeKind, 'PASS' | 'ANSWER'>
export type StepStatus = 'RUNNING' | 'WAITING' | 'COMPLETED' | 'FAILED'
export type { WaitKind }

/** Maps a stored status to the one that users and clients see. */
export function publicStatus(status: StoredRunStatus): RunStatus {
  return status.toUpperCase() as RunStatus // the two unions differ in case only
}

/** A run as it was at one moment. */
export interface RunSnapshot {
  readonly id: string
  readonly status: RunStatus
  readonly operationName: string | null
  readonly owner: string | null
  readonly version: string | null
  /** The response a synchronous client would have got; null until the run has ended. */
  readonly result: ExecutionResult | null
  readonly waitingOn: readonly WaitSnapshot[]
  readonly steps: readonly StepSnapshot[]
  /** When polling again makes sense; null once it has ended. */
  readonly retryAfterMs: number | null
  readonly createdAt: Date
  readonly updatedAt: Date
  readonly endedAt: Date | null
  /** For operators, never shown to clients: why it does not go on, or what was passed over. */
  readonly note: string | null
}

export interface WaitSnapshot {
  /** Items of lists by their identity, so that it stays the same when a list comes back in another order. */
  readonly path: readonly string[]
  /**
   * The same field as in `errors[].path` of the response: items of lists by their index. Null where this process does
   * not know it: the run is another's, and an item on the way has an identity.
   */
  readonly responsePath: readonly (string | number)[] | null
  readonly step: string
  readonly kind: WaitKind
  readonly event: string | null
  readonly since: Date
  readonly until: Date | null
}

export interface StepSnapshot {
  readonly id: string
  readonly path: readonly string[]
  readonly step: string
  readonly kind: StepKind
  readonly status: StepStatus
  readonly attempts: number
  readonly output: unknown
  readonly error: { readonly message: string; readonly extensions?: unknown } | null
  readonly startedAt: Date | null
  readonly endedAt: Date | null
}

export interface DurableEvent<Data = unknown> {
  readonly id: string
  readonly name: string
  readonly data: Data
  readonly acceptedAt: Date
}

export interface EventInput {
  /** At most 1,000 bytes. */
  readonly name: string
  /**
   * JSON and nothing that JSON drops or changes (`undefined`, NaN, Dates, Maps, instances of classes), of at most 100
   * levels and `limits.stepBytes`. Default: null.
   */
  readonly data?: unknown
  /** At most 1,000 bytes. The same id twice under one name is one event. Default: a random one. */
  readonly id?: string
}

export interface BackoffOptions {
  /** Default '1s'. */
  readonly initial?: Duration
  /** Default 2. */
  readonly factor?: number
  /** Default '15m'. */
  readonly max?: Duration
  /** 'full' (the default) draws each delay between 0 and the exponential value. */
  readonly jitter?: 'full' | 'none'
}

export interface StepRunOptions {
  /** How often it is tried again after the first attempt: a whole number from 0. Default: the field's, then `DurableOptions.retries`, 3. */
  readonly retries?: number
  readonly backoff?: BackoffOptions
  /** Of each attempt. Its `signal` aborts, and the attempt fails with DURABLE_STEP_TIMEOUT. Default: none. */
  readonly timeout?: Duration
  /** Default: everything but GraphQLError and NonRetriableError. */
  readonly retryIf?: (error: unknown) => boolean
}

export interface StepAttempt {
  readonly runId: string
  /** From 1. */
  readonly attempt: number
  /** The same for every attempt at this step, also after a crash: hand it to whatever the step calls. */
  readonly idempotencyKey: string
  /** Aborts on the attempt's timeout, and when the run is cancelled, timed out, or taken over by another process. */
  readonly signal: AbortSignal
}

export interface WaitForEventOptions {
  /** The event's name. */
  readonly event: string
  /**
   * A subset of the event's `data`, compared deeply: JSON as that is, at most 16 KiB of it. Default: every event of that
   * name.
   */
  readonly match?: Readonly<Record<string, unknown>>
  /** Then the wait gives null. Default: none. */
  readonly timeout?: Duration
  /** Closes the wait, so that a race's loser does not eat the next event. The promise rejects with an AbortError. */
  readonly signal?: AbortSignal
}

/** The tools of a resolver. Each outcome is committed before its promise settles (I1). */
export interface Step {
  /**
   * Runs `fn` once and keeps what it returned.
   *
   * @throws StepError when the attempts are used up; a GraphQLError that `fn` threw, as itself.
   */
  run<T>(id: string, fn: (attempt: StepAttempt) => T | Promise<T>, options?: StepRunOptions): Promise<Awaited<T>>
  sleep(id: string, duration: Duration): Promise<void>
  sleepUntil(id: string, date: Date | number | string): Promise<void>
  /** The event, or null on timeout. */
  waitForEvent<Data = unknown>(id: string, options: WaitForEventOptions): Promise<DurableEvent<Data> | null>
  /** Sends events once, whatever crashes. */
  sendEvent(id: string, event: EventInput | readonly EventInput[]): Promise<{ ids: string[] }>
}

/** For the types of resolvers; no context function has to supply it. */
export interface DurableContext {
  readonly step: Step
}

/** What `resumeInfo` tells of the run that a context belongs to, while it is being resumed. */
export interface ResumeInfo {
  readonly runId: string
  readonly resuming: true
  readonly captured: unknown
}

export type DurableAction = 'read' | 'list' | 'cancel' | 'retry' | 'send'

/** What tells an item of a list from the others. An object with a `toString` of its own will do as well. */
export type Identity = string | number | bigint | Date | ArrayBuffer | ArrayBufferView | { toHexString(): string }

export interface DurableOptions<Context = any, Captured = unknown> {
  /** Default `sqliteStore('durable.db')`. */
  readonly store?: Store
  /**
   * Whom a run belongs to: a text that is not empty, or null. Only its owner may see it. Default: knowing the id is what
   * lets a caller read a run. Where it throws, or answers something else, what it was asked for is refused.
   */
  readonly owner?: (context: Context) => string | null | undefined
  /** Anything but true refuses; so does an error, with a warning. */
  readonly authorize?: (request: AuthorizeRequest<Context>) => boolean | Promise<boolean>
  /** What a resumed run has of its request. Default: nothing, with a warning; `{}` says that it needs nothing. */
  readonly context?: ContextOptions<Context, Captured>
  /** How long a request may stay suspended, all waits together, before it is deferred. Default '1s'. */
  readonly hold?: Duration
  /** Deferred by then, whatever is running. Default '25s'. */
  readonly deferAfter?: Duration
  /** The most that `durableRun(wait:)` may ask for. Default '5m'. */
  readonly maxHold?: Duration
  /** Requests with the same key are one run, for each owner. Default: the `Idempotency-Key` header. */
  readonly idempotencyKey?: (context: Context) => string | null | undefined
  /** Of a step, after the first attempt. Default 3. */
  readonly retries?: number
  readonly backoff?: BackoffOptions
  /** Default: everything but GraphQLError and NonRetriableError. */
  readonly retryIf?: (error: unknown) => boolean
  /**
   * Classes of your own whose errors come out of a step's outcome, and of a finished root field's, as instances of them
   * again, in the first execution and in every replay. The constructor is not called: they have name, message and scalar
   * properties, but nothing that is private. Default: none; such errors keep their name and are Errors or GraphQLErrors.
   */
  readonly errorClasses?: readonly ErrorClass[]
  /** Of a whole run, counted from its first tool call. Default: none. */
  readonly timeout?: Duration
  /** Of the deployed code; kept on the run. */
  readonly version?: string
  /** How long ended runs and events are kept. Default '7d'. */
  readonly retention?: Duration
  readonly limits?: LimitOptions
  /** false: runs advance only when somebody asks for them. */
  readonly worker?: false | WorkerOptions
  readonly hot?: HotOptions
  /**
   * A list item's identity in step keys: a text, a number, a bigint, or an object that has a text of its own (a Date,
   * bytes, an ObjectId). `1` and `'1'` are two. null: it has none, and is told apart by its place. Default: the source's
   * `id`.
   */
  readonly identify?: (source: unknown, info: GraphQLResolveInfo) => Identity | null | undefined
  /** false: leaves the schema alone. `prefix` renames what is added. */
  readonly schema?: false | { readonly prefix?: string }
  /** Where results are served over plain HTTP. Default '/graphql/runs'; null: nowhere, and no Location. */
  readonly path?: string | null
  readonly clock?: Clock
  /** Where warnings go. Default: `console.warn`. */
  readonly onWarning?: (message: string, details: Readonly<Record<string, unknown>>) => void
}

export interface AuthorizeRequest<Context> {
  readonly action: DurableAction
  /**
   * Null for what concerns no run in particular (list, send). A summary: `steps` and `waitingOn` are empty, and `result`
   * is null, so that the question takes as long for any run as for none.
   */
  readonly run: RunSnapshot | null
  readonly context: Context
}

export interface ContextOptions<Context, Captured> {
  /** What of the request's identity the run keeps: plain data, without credentials. Called at once, so not asynchronous. */
  readonly capture?: (context: Context) => Captured extends PromiseLike<unknown> ? never : Captured
  /** Request headers kept for the synthetic Request. None by default. */
  readonly headers?: readonly string[]
  /** Given to the server's context pipeline, and assigned again after it. */
  readonly restore?: (captured: Captured, run: ResumedRun) => object | Promise<object>
  /** The synthetic request, to mint an internal token for instance. */
  readonly request?: (captured: Captured, run: ResumedRun) => RequestInit
  /** The whole context, instead of the server's pipeline. */
  readonly create?: (captured: Captured, run: ResumedRun) => Context | Promise<Context>
  /**
   * Runs around a background pass: your own AsyncLocalStorage. It calls `next` once, within ten seconds, and returns
   * what that gives.
   */
  readonly enter?: <T>(captured: Captured, run: ResumedRun, next: () => T) => T
}

/** What the context functions are told of the run. */
export interface ResumedRun {
  readonly id: string
  readonly operationName: string | null
  readonly owner: string | null
  readonly version: string | null
}

export interface LimitOptions {
  /** Of one encoded outcome. Default 4 MiB. */
  readonly stepBytes?: number
  /** Of all encoded outcomes of a run. Default 32 MiB. */
  readonly runBytes?: number
  /**
   * Of what a run keeps of its request, encoded: document, variables, named headers, what `context.capture` returned.
   * Whatever exceeds it makes no run: the first step is refused with DURABLE_TOO_LARGE, HTTP 413. Default 1 MiB, since
   * each resume loads it.
   */
  readonly inputBytes?: number
  /** Default 100,000. */
  readonly steps?: number
  /**
   * How many may wait for the end of a run in one process: `durableRun(wait:)`, `GET {path}/{runId}?wait`, `runs.wait`,
   * and requests that join a run by their Idempotency-Key. Beyond it they get
   * `DURABLE_TOO_MANY_WAITERS`, HTTP 503 and `Retry-After`. Default 10,000.
   */
  readonly waiters?: number
}

export interface WorkerOptions {
  /**
   * Runs that are carried on at a time. One that has only waited for something outside for ten seconds (a step that
   * hangs, say) does not count, so that it stops no other; at most 100 such for each. Default 64.
   */
  readonly concurrency?: number
  /** How long a process counts as alive after its last beat. Default '15s'. */
  readonly lease?: Duration
  /** Default '1s'. */
  readonly pollInterval?: Duration
}

export interface HotOptions {
  /** Suspended executions kept in memory to go on without a replay. Default 10,000. */
  readonly runs?: number
  /**
   * What they may hold together, as far as it is known: their outcomes, which the resolvers may keep, and five times
   * their requests. Beyond it the oldest are let go, and resume by a replay. Default 64 MiB.
   */
  readonly bytes?: number
  /** Default '1m'. */
  readonly ttl?: Duration
}

export interface ListFilter {
  readonly status?: RunStatus
  readonly operationName?: string
  readonly owner?: string
  /** Default 20, at most 100. */
  readonly first?: number
  /** `endCursor` of the page before. */
  readonly after?: string
}

export interface RunPage {
  readonly runs: RunSnapshot[]
  /** For `after`; null on the last page. */
  readonly endCursor: string | null
}

export interface Durable<Context = any> {
  /** The schema with durable resolvers and, unless `schema: false`, the fields that clients use. A copy; idempotent. */
  schema(schema: GraphQLSchema): GraphQLSchema
  /**
   * Deposits events. Once it resolves, no wait of a run that had begun misses them (I6).
   *
   * @throws GraphQLError BAD_USER_INPUT for a name or an id that is none
   * @throws DurableError DURABLE_NOT_SERIALIZABLE, DURABLE_TOO_LARGE, DURABLE_STORE_UNAVAILABLE
   */
  send(event: EventInput | readonly EventInput[]): Promise<{ ids: string[] }>
  readonly runs: Runs
  /** Everything under `path`, for servers that do not mount it themselves. */
  fetch(request: Request, context?: Context): Promise<Response>
  /**
   * Opens the store and starts the worker; a server plugin does so when it is registered. A store that cannot be reached
   * is tried until it can be, with a warning.
   *
   * @throws Error where trying again does not help: a database that is newer than the code, say, or a wrong password
   */
  start(): Promise<void>
  /** Stops claiming, lets running steps end, gives its leases back. */
  close(options?: { readonly timeout?: Duration }): Promise<void>
}

export interface ReadOptions {
  /** Without steps, waits and result: that reads one row, whatever the run has done. Default false. */
  readonly summary?: boolean
  /** With `summary`: what the run waits for all the same. Default false. */
  readonly waits?: boolean
  /** Without `summary`: all steps, none, or a part of them; a run may have a hundred thousand. Default true. */
  readonly steps?: boolean | StepPage
}

export interface WaitOptions extends ReadOptions {
  /** Default: none. */
  readonly timeout?: Duration
  /** Ends the wait, as `timeout` does: the run comes as it is then. */
  readonly signal?: AbortSignal
}

export interface StepPage {
  /** Default: all. */
  readonly first?: number
  /** The `id` of the last step of the part before. */
  readonly after?: string
}

export interface Runs {
  /** @throws DurableError DURABLE_STORE_UNAVAILABLE */
  get(id: string, options?: ReadOptions): Promise<RunSnapshot | null>
  /**
   * Newest first.
   *
   * @throws GraphQLError BAD_USER_INPUT where a filter or `after` makes no sense, or a filter is there and undefined:
   * leave out what is not to be filtered by.
   */
  list(filter?: ListFilter, options?: ReadOptions): Promise<RunPage>
  /**
   * Resolves when the run has ended, `timeout` (default: none) has passed, or the durable is closed; resumes the run if
   * it is due.
   *
   * @throws DurableError DURABLE_TOO_MANY_WAITERS (`limits.waiters`), DURABLE_STORE_UNAVAILABLE
   */
  wait(id: string, options?: WaitOptions): Promise<RunSnapshot | null>
  /** @throws DurableError where there is no such run. A run that has ended stays as it is. */
  cancel(id: string, reason?: string): Promise<RunSnapshot>
  /**
   * Deletes a run that has ended, and all that belongs to it. False where there is no such run, or where it goes on:
   * then nothing is changed. Cancel it first.
   */
  delete(id: string): Promise<boolean>
}
