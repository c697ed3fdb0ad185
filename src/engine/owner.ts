import type { DurableError } from '../core/errors.ts'
import type { Conflict, NewRun } from '../store/store.ts'
import type { Scope } from './scope.ts'

/** Why an execution is over. */
export type Abandonment =
  /** Its end is committed. */
  | { readonly kind: 'ended' }
  /** Before it came to its end: from here on nothing of the user's runs for it (I12). */
  | { readonly kind: 'lost' | 'evicted' }
  /** It never became a run: its idempotency key belongs to another one. */
  | { readonly kind: 'joins'; readonly conflict: Conflict }
  /** The error that whoever still waits for the response gets. */
  | { readonly kind: 'failed'; readonly error: DurableError }

/** The GraphQL side of an execution. */
export interface ExecutionOwner {
  /** What the store keeps of the operation. */
  newRun(): Omit<NewRun, 'beganAgoMs'>
  /**
   * Whether a wait of this field that ends in `endsInMs` (null: unknown) may keep the request open. Where it may not,
   * `defer` follows as soon as the wait is committed.
   */
  mayHold(endsInMs: number | null, scope: Scope): boolean
  defer(scope: Scope): void
  /** Of the operation as the store keeps it, in bytes or thereabouts. */
  readonly inputSize: number
  /** There is a pass, and everything pending in it waits for a tool. */
  mayPark(): boolean
  /** A background pass is under way. */
  readonly hasPass: boolean
  onAbandoned(why: Abandonment): void
  /** A commit is under way for too long to keep a request open for it. */
  onStalled(): void
}
