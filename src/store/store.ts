import type { Clock } from '../core/clock.ts'

/**
 * The contract between the engine and a store.
 *
 * The engine decides, the store applies: every method is one atomic transition, fenced by the run's epoch where it
 * says so, and no method carries policy. Instants are milliseconds since the epoch on the store's own clock (I3, and
 * DESIGN: the store's clock decides leases and wake-ups); transitions therefore take durations and answer with
 * instants. Values are opaque strings that the engine encoded.
 *
 * Every method rejects with a `StoreError` and nothing else when the store is at fault.
 */
export interface Store {
  readonly name: string
  /**
   * Opens the store for one process and registers it as alive. The same store may be connected to several times
   * (tests do so to play several processes).
   */
  connect(options: ConnectOptions): Promise<StoreSession>
}

export interface ConnectOptions {
  /** Unique for each life of a process. */
  readonly processId: string
  /** How long the process counts as alive after its last beat, where the store has no faster way to tell. */
  readonly leaseMs: number
  /** Embedded stores take their time from it; servers use their own. */
  readonly clock: Clock
  /** Absent: no run is ever a suspect. */
  readonly suspects?: SuspectPolicy
}

/**
 * A run whose holders died again and again, while it did not get on, is a suspect: it may be what kills them. Claims
 * take few suspects at a time (`ClaimRequest.suspects`) and put them on probation, until a commit acquits them. If a
 * process dies with a run on probation, that run is blamed (see suspicion.ts).
 */
export interface SuspectPolicy {
  /** So many takeovers make a suspect. */
  readonly from: number
  /** What it waits for before it may be claimed again; twice as long with each further takeover. */
  readonly delayMs: number
}

export interface StoreSession {
  /**
   * Appends to runs: creates them, adds outcomes, opens and closes waits, parks or ends them. Atomic for the whole
   * batch, all or nothing for each run.
   *
   * A run's part is accepted if the run is held by this process under the same epoch and has not ended, or is created
   * here; otherwise none of it is written (I3). Committing the very same part again counts as accepted: the caller
   * may not know that an earlier try went through. That includes a part that parked or ended the run.
   */
  commit(batch: readonly RunCommit[]): Promise<CommitReceipt>

  /**
   * Takes the lease of up to `limit` runs that are due, earliest first, or of the one run named. Each claimed run gets
   * this process as its holder, an epoch one higher, status `running`, no due time, and `signalled` cleared; suspects
   * are on probation then. Of concurrent claims on one run exactly one wins.
   */
  claim(request: ClaimRequest): Promise<ClaimReceipt>

  /**
   * Ends a run from outside, whoever holds it, and raises its epoch so that the holder is fenced. Answers the run's
   * record as it is afterwards, or null where there is no such run. A run that has already ended is left as it is.
   */
  end(runId: string, ending: RunEnding): Promise<RunRecord | null>

  /**
   * Deposits events, and signals every run with an open wait of that name whose pattern matches: sets `signalled`, and
   * makes the run due now if it is parked. An id seen before is the event it was then: nothing changes. An event that
   * this accepted is found by every `findEvents` that starts later (I6).
   */
  send(events: readonly NewEvent[]): Promise<SendReceipt>

  /**
   * For each query, the earliest-accepted event that fits it and that no query before it has got, or null: two waits of
   * a run never get the same event.
   */
  findEvents(queries: readonly EventQuery[]): Promise<readonly (EventRecord | null)[]>

  /** Says that this process is alive, and answers what the store believes it holds. */
  beat(): Promise<BeatReceipt>

  /**
   * Finds processes that are dead (their lease has run out, or the store can tell sooner), and makes the runs they
   * held due now, suspects after their delay: holder null, status `suspended`, `takeovers` and `blamed` as
   * suspicion.ts has it. Answers how many runs that were.
   */
  reap(): Promise<number>

  /**
   * The run with its waits, and with whatever else was asked for, of one moment. Null where there is none. Without the
   * waits and the rest, it costs the same whatever the run has done and is waiting for (I9).
   */
  read(runId: string, parts?: ReadParts): Promise<RunView | null>

  /** How it stands with these runs; those that there are not are left out. For whoever waits for many. */
  peek(runIds: readonly string[]): Promise<PeekReceipt>

  /** Newest first by (createdAt, id). `after` is the last run of the page before; the order is total and stable. */
  list(query: ListQuery): Promise<readonly RunRecord[]>

  /** Deletes an ended run and all that belongs to it. False where there is none, or it has not ended. */
  delete(runId: string): Promise<boolean>

  /** Deletes runs that ended, and events that were accepted, longer ago than `olderThanMs`. Bounded work a call. */
  prune(olderThanMs: number): Promise<PruneReceipt>

  /**
   * Calls back when something may have changed: a hint, never a promise, and possibly about something that this
   * session did itself. Returns how to stop.
   */
  watch(listener: (hint: StoreHint) => void): () => void

  /**
   * A text of at least 128 random bits that all sessions of the store get, and nobody else: what clients are given is
   * sealed with it. Made when it is first asked for, and the same from then on.
   */
  secret(): Promise<string>

  /** Releases what the session holds open and unregisters the process. Runs it still holds become due now. */
  close(): Promise<void>
}

export type RunStatus = 'queued' | 'running' | 'suspended' | 'completed' | 'failed' | 'cancelled'
export type EndStatus = 'completed' | 'failed' | 'cancelled'
export type OutcomeKind =
  'RUN' | 'SLEEP' | 'EVENT' | 'CALLBACK' | 'INVOKE' | 'SEND' | 'DEFER' | 'FIELD' | 'PASS' | 'ANSWER'
export type WaitKind = 'SLEEP' | 'EVENT' | 'CALLBACK' | 'RUN' | 'RETRY'

/** The narrow row: everything that claims and lists need, and nothing that is large. */
export interface RunRecord {
  readonly id: string
  readonly status: RunStatus
  readonly epoch: number
  readonly holder: string | null
  /** How many outcomes the journal has. */
  readonly len: number
  /** When a claim may take it; null while it is held, or waits for a signal alone. */
  readonly dueAt: number | null
  /** A signal came that no claim has seen yet. */
  readonly signalled: boolean
  /** The process that parked it and keeps it in memory, as far as that said so. */
  readonly keptBy: string | null
  readonly server: string
  readonly operationName: string | null
  readonly owner: string | null
  readonly version: string | null
  /** When its first tool was called: events accepted from here on are its (I6). */
  readonly beganAt: number
  readonly createdAt: number
  readonly updatedAt: number
  readonly endedAt: number | null
  readonly timeoutAt: number | null
  /** How often its holder died since it last got on. */
  readonly takeovers: number
  /** How much of that speaks against the run itself. */
  readonly blamed: number
  /** It was claimed as a suspect, and has not been acquitted since. */
  readonly onProbation: boolean
  /** Passes in a row that did not reach the operation. */
  readonly resumeFailures: number
  /** For operators: why it does not go on, or what was passed over. Never shown to clients. */
  readonly note: string | null
}

export interface NewRun {
  readonly server: string
  readonly operationName: string | null
  readonly owner: string | null
  readonly version: string | null
  /** How long ago the run began, as of now: stores read it each time they are about to write it. */
  readonly beganAgoMs: number
  /** Counted from when it began. */
  readonly timeoutMs: number | null
  /** Encoded: document, variables, headers, captured context. */
  readonly input: string
  /** No two runs have the same key. It lives as long as its run. */
  readonly idempotency: Idempotency | null
}

export interface Idempotency {
  readonly key: string
  /** Of the operation: tells a request that came twice from another one under the same key. */
  readonly fingerprint: string
}

/** One entry of the journal. `pos` counts from 0; `(run, pos)` and `(run, key)` are unique. */
export interface Outcome {
  readonly pos: number
  readonly key: string
  readonly kind: OutcomeKind
  readonly ok: boolean
  /** The encoded value or error. */
  readonly body: string
  /** How many tool calls its scope had made when it was enqueued (ordered release). */
  readonly calls: number
  readonly attempts: number
  /** The event it consumed, if it is an EVENT that came: an id is unique within its name. */
  readonly eventId: string | null
  /** Null also where an earlier version wrote the outcome. */
  readonly eventName: string | null
  /** How long before the commit its work began. */
  readonly tookMs: number
  /** What ordered release has to know of it besides, as text; absent: nothing. Kept as it is. */
  readonly ordering?: string
}

export interface OutcomeRecord extends Outcome {
  readonly committedAt: number
}

/** Opens a wait, or replaces the one under the same key. */
export interface NewWait {
  readonly key: string
  readonly kind: WaitKind
  /** Order of opening within the run. */
  readonly seq: number
  readonly event: string | null
  /** A JSON object, or null: matches everything. */
  readonly match: string | null
  /** From the commit on; null: no end. */
  readonly forMs: number | null
  /** How long before the commit it was called: `since` is the commit's time less that. Default 0. */
  readonly agoMs?: number
  /** Attempts made so far (RETRY). */
  readonly attempts: number
}

export interface WaitRecord {
  readonly key: string
  readonly kind: WaitKind
  readonly seq: number
  readonly event: string | null
  readonly match: string | null
  readonly attempts: number
  readonly since: number
  readonly until: number | null
}

export interface RunEnding {
  readonly status: EndStatus
  /** The encoded result. */
  readonly result: string
}

/** What becomes of the lease with this commit. */
export type NextState =
  | { readonly kind: 'hold' }
  /**
   * Due in `wakeInMs`, or now if the run was signalled; null: when signalled only. `keeps`: this process keeps the run
   * in memory, and others leave it to it for a moment (`preferMs` of a claim).
   */
  | { readonly kind: 'park'; readonly wakeInMs: number | null; readonly keeps?: boolean }
  | { readonly kind: 'end'; readonly ending: RunEnding }

export interface RunCommit {
  readonly runId: string
  readonly epoch: number
  /**
   * Counts the commits under this epoch from 1. The run keeps the last one it accepted, and so a commit whose answer
   * was lost is recognised when it comes again.
   */
  readonly seq: number
  /** The run's first commit carries it; its epoch is then 1. */
  readonly create: NewRun | null
  readonly outcomes: readonly Outcome[]
  /** An outcome closes the wait of its own key by itself. */
  readonly opens: readonly NewWait[]
  readonly next: NextState
  /**
   * `cleared`: it got on, and takeovers and blame are forgotten; outcomes have that effect by themselves. `acquitted`:
   * it is on probation no more.
   */
  readonly suspicion?: 'cleared' | 'acquitted'
  /** Where present, these replace the record's values. */
  readonly resumeFailures?: number
  readonly note?: string | null
}

export interface CommitReceipt {
  /** The store's time of this commit: `until` is `at + forMs`. */
  readonly at: number
  /** By run id: refused ones are absent. */
  readonly accepted: ReadonlyMap<string, { readonly signalled: boolean }>
  /** Of the refused ones, by run id, those that were to be created under a key of another run; and that run. */
  readonly conflicts: ReadonlyMap<string, Conflict>
}

export interface Conflict {
  readonly runId: string
  readonly fingerprint: string
}

export interface ClaimRequest {
  readonly limit: number
  /** Claims this run only. */
  readonly runId?: string
  /** With `runId`: also if it is parked and not due, or a suspect. Never if somebody alive holds it. */
  readonly evenIfNotDue?: boolean
  /** Leaves a run that another process keeps in memory to that process for so long after it became due. Default 0. */
  readonly preferMs?: number
  /** Takes so many suspects at most. Default: any number. */
  readonly suspects?: number
  /** Runs of these servers only, also in `nextDueAt`; absent: of any. */
  readonly servers?: readonly string[]
  /** Runs that are suspended in memory here, with the epoch they were parked under: their journals are not loaded. */
  readonly hot?: ReadonlyMap<string, number>
}

export interface Claimed {
  /** As it is after the claim. */
  readonly run: RunRecord
  readonly previousEpoch: number
  /** Null where `hot` named the run under its previous epoch. */
  readonly loaded: LoadedRun | null
}

/** A page of a journal, for who reads it and for stores that answer in one piece: parsing it holds the event loop. */
export const JOURNAL_PAGE = 1000

export interface LoadedRun {
  readonly input: string
  /** From its beginning on, all of it or a part; of a longer one (see `RunRecord.len`) the rest is read. */
  readonly journal: readonly OutcomeRecord[]
  readonly waits: readonly WaitRecord[]
}

export interface ClaimReceipt {
  readonly at: number
  readonly claimed: readonly Claimed[]
  /**
   * When to look again: nothing that was not claimed, and that such a request may take, becomes due before. Null where
   * nothing will by itself.
   */
  readonly nextDueAt: number | null
}

export interface NewEvent {
  readonly id: string
  readonly name: string
  /** JSON. */
  readonly data: string
}

export interface EventRecord extends NewEvent {
  readonly acceptedAt: number
}

export interface SendReceipt {
  /** Runs that were signalled. */
  readonly signalled: readonly string[]
}

export interface EventQuery {
  readonly name: string
  readonly match: string | null
  /** Accepted at this instant or later. */
  readonly since: number
  /** Accepted at this instant or earlier; null: no bound. */
  readonly until: number | null
  readonly exclude: ReadonlySet<string>
}

export interface BeatReceipt {
  readonly at: number
  /**
   * From when the beat was sent, nobody takes this process for dead for so long, whatever happens to it: as long as it
   * may start steps without hearing from the store again. At most the lease.
   */
  readonly goodForMs: number
  readonly held: readonly { readonly runId: string; readonly epoch: number; readonly signalled: boolean }[]
}

export interface ReadParts {
  /** Default true. */
  readonly waits?: boolean
  readonly journal?: boolean | JournalPart
  readonly result?: boolean
  readonly input?: boolean
}

/** So many outcomes, from that position on. */
export interface JournalPart {
  readonly from: number
  readonly limit: number
}

export interface RunView {
  readonly at: number
  readonly run: RunRecord
  /** Empty where they were not asked for. */
  readonly waits: readonly WaitRecord[]
  readonly journal: readonly OutcomeRecord[] | null
  readonly result: string | null
  readonly input: string | null
}

export interface PeekReceipt {
  readonly at: number
  readonly runs: readonly Pick<RunRecord, 'id' | 'status' | 'dueAt'>[]
}

export interface ListQuery {
  readonly first: number
  readonly after?: { readonly createdAt: number; readonly id: string }
  readonly status?: RunStatus
  readonly operationName?: string
  readonly owner?: string
}

export interface PruneReceipt {
  readonly runs: number
  readonly events: number
  /** There is more to prune. */
  readonly more: boolean
}

export type StoreHint =
  | { readonly kind: 'due' }
  | { readonly kind: 'signalled'; readonly runId: string }
  | { readonly kind: 'ended'; readonly runId: string }
  /** Another process wrote something. */
  | { readonly kind: 'changed' }

/** For drivers: what it means to connect without a policy. */
export const NO_SUSPECTS: SuspectPolicy = { from: 2 ** 31 - 1, delayMs: 0 }

export function isEnded(status: RunStatus): status is EndStatus {
  return status === 'completed' || status === 'failed' || status === 'cancelled'
}

/**
 * What a driver's errors are translated into, once, at the store.
 *
 * - `transient`: the same call may succeed later; nothing was written, or the retry counts as success.
 * - `rejected`: this batch can never be written (a value the store refuses); smaller batches may.
 * - `broken`: no retry helps (corrupt, misconfigured, newer than the code).
 */
export class StoreError extends Error {
  override readonly name = 'StoreError'
  readonly kind: 'transient' | 'rejected' | 'broken'

  constructor(kind: StoreError['kind'], message: string, options?: ErrorOptions) {
    super(message, options)
    this.kind = kind
  }
}
