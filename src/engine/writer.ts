import { sleep } from '../core/clock.ts'
import type { Clock, Timer } from '../core/clock.ts'
import { StoreError } from '../store/store.ts'
import type { Turns } from './turns.ts'
import type { CommitReceipt, Conflict, RunCommit, StoreSession } from '../store/store.ts'

/** Whoever has something to commit: an execution. */
export interface Author {
  /** What has gathered since the last time, or null. Called once per batch. */
  takeCommit(): RunCommit | null
  onCommitted(commit: RunCommit, at: number, signalled: boolean): void
  /** The store refused it: somebody else has the run, or it has ended (I3). */
  onRefused(commit: RunCommit, conflict: Conflict | null): void
  onStoreFailure(commit: RunCommit, error: StoreError): void
  /**
   * What it has to commit, or another's before it, has been under way for longer than anybody should be kept waiting, and
   * may still come to either end. Called again and again.
   */
  onStalled(): void
}

/** Runs per batch: a transaction's length is what everybody else waits for. */
const MAX_BATCH = 500
/** And what they have to write: SQLite holds the event loop for as long as it takes. */
const MAX_WEIGHT = 1000
const LENGTH_A_WEIGHT = 4096
const FIRST_RETRY_MS = 10
const MAX_RETRY_MS = 1000
/** Beyond its patience: a store that fails has said so by then, one that says nothing has not. */
export const STALLED_MS = 1500
/** At the least between two looks at who waits for a commit that does not come back. */
const LOOK_AGAIN_MS = 100

/**
 * The one writer of a store: commits what has gathered while the previous commit was under way, one transaction for
 * many runs (group commit). SQLite's commits block the event loop, so nothing would gather by itself: a batch is
 * collected until the next `setImmediate`.
 */
export class Writer {
  readonly #session: () => Promise<StoreSession>
  readonly #clock: Clock
  /** How long a failing store is tried again before the runs are told. */
  readonly #patienceMs: number
  /** Since when, in this order. */
  readonly #dirty = new Map<Author, number>()
  readonly #turns: Turns
  #flushing = false
  #underWay: readonly Part[] = []
  /** Set while a commit is under way and somebody who waits for it has not been told that it takes long. */
  #stalled: Timer | null = null
  #isClosed = false

  constructor(session: () => Promise<StoreSession>, clock: Clock, patienceMs: number, turns: Turns) {
    this.#session = session
    this.#clock = clock
    this.#patienceMs = patienceMs
    this.#turns = turns
  }

  /** The author has something new for the next batch. */
  write(author: Author): void {
    const now = this.#clock.now()
    if (!this.#dirty.has(author)) this.#dirty.set(author, now)
    if (this.#underWay.length > 0 && !this.#stalled) this.#watch(now)
    if (this.#flushing) return
    this.#flushing = true
    setImmediate(() => this.#turns.take(() => void this.#flush()))
  }

  /** The process is being closed: nobody waits any more. */
  close(): void {
    this.#isClosed = true
    this.#stalled?.cancel()
  }

  async #flush(): Promise<void> {
    try {
      while (this.#dirty.size > 0) {
        const batch = this.#collect()
        if (batch.length > 0) await this.#commit(batch)
        // SQLite's commits would follow each other, and what was encoded for them, within one turn of the event loop.
        this.#turns.spend(weightOf(batch) * LENGTH_A_WEIGHT)
        if (this.#turns.isOver) await this.#turns.room()
      }
    } finally {
      this.#flushing = false
    }
  }

  #collect(): Part[] {
    const batch: Part[] = []
    let weight = 0
    for (const [author, since] of this.#dirty) {
      this.#dirty.delete(author)
      const commit = author.takeCommit()
      if (!commit) continue
      batch.push({ author, commit, since })
      weight += weightOf([{ commit }])
      if (batch.length === MAX_BATCH || weight >= MAX_WEIGHT) break
    }
    return batch
  }

  async #commit(batch: readonly Part[]): Promise<void> {
    this.#underWay = batch
    this.#watch(batch[0]?.since ?? this.#clock.now())
    try {
      await this.#commitInTime(batch)
    } finally {
      this.#underWay = []
      this.#stalled?.cancel()
      this.#stalled = null
    }
  }

  /** For somebody who waits since then, and longer than anybody else who has not been told. */
  #watch(since: number): void {
    this.#stalled?.cancel()
    if (this.#isClosed) return
    this.#stalled = this.#clock.setTimeout(() => this.#tellStalled(), Math.max(LOOK_AGAIN_MS, this.#leftMs(since)))
  }

  /** Those as well who wait for the batch to be over. */
  #tellStalled(): void {
    this.#stalled = null
    let next = Infinity
    for (const [author, since] of [
      ...this.#underWay.map((part) => [part.author, part.since] as const),
      ...this.#dirty,
    ]) {
      if (this.#leftMs(since) > 0) next = Math.min(next, since)
      else author.onStalled()
    }
    if (next !== Infinity) this.#watch(next)
  }

  #leftMs(since: number): number {
    return Math.max(0, since + this.#patienceMs + STALLED_MS - this.#clock.now())
  }

  async #commitInTime(batch: readonly Part[]): Promise<void> {
    const giveUpAt = this.#clock.now() + this.#patienceMs
    let receipt: CommitReceipt | undefined
    for (let delay = FIRST_RETRY_MS; !receipt; delay = Math.min(MAX_RETRY_MS, delay * 2)) {
      try {
        const session = await this.#session()
        receipt = await session.commit(batch.map((part) => part.commit))
      } catch (thrown) {
        const error = asStoreError(thrown)
        // What the store will never take must not hold up the others: alone it is told, in company each is tried alone.
        if (error.kind === 'rejected' && batch.length > 1) {
          for (const part of batch) await this.#commit([part])
          return
        }
        if (error.kind !== 'transient' || this.#clock.now() >= giveUpAt) {
          for (const { author, commit } of batch) author.onStoreFailure(commit, error)
          return
        }
        await sleep(this.#clock, delay)
      }
    }
    distribute(batch, receipt)
  }
}

interface Part {
  readonly author: Author
  readonly commit: RunCommit
  readonly since: number
}

function weightOf(batch: readonly Pick<Part, 'commit'>[]): number {
  let weight = 0
  for (const { commit } of batch) {
    weight += 1 + commit.opens.length
    for (const { body } of commit.outcomes) weight += 1 + body.length / LENGTH_A_WEIGHT
  }
  return weight
}

function distribute(batch: readonly Part[], receipt: CommitReceipt): void {
  for (const { author, commit } of batch) {
    const accepted = receipt.accepted.get(commit.runId)
    if (accepted) author.onCommitted(commit, receipt.at, accepted.signalled)
    else author.onRefused(commit, receipt.conflicts.get(commit.runId) ?? null)
  }
}

export function asStoreError(thrown: unknown): StoreError {
  return thrown instanceof StoreError
    ? thrown
    : new StoreError('broken', 'The store threw something that is no StoreError.', { cause: thrown })
}
