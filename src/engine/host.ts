import type { ExecutionResult } from 'graphql'
import type { Operation } from './operation.ts'
import type { Masking } from './visible-error.ts'

/** A server, as the engine sees it: something that can execute an operation through its own pipeline. */
export interface Host extends Masking {
  /** Runs belong to the server of this name. */
  readonly name: string
  /** It makes again what else its executor is called with (`RemadeArgs`). */
  readonly remakesArgs: boolean
  /** Resolves once a pass can be made. Nothing is claimed before. */
  ready(): Promise<void>
  /** Those of the named request headers that the context's request has. */
  headers(context: unknown, names: readonly string[]): Record<string, string>
  /** Which of a batch's operations the context is of, from 0; 0 where there is no batch. */
  positionInBatch(context: unknown): number
  /**
   * Whether an answer in this context goes through the server's own hooks when the executor's are through. Then what came
   * of it is told to `Operation.onDelivered`.
   */
  deliversLater(context: unknown): boolean
  /**
   * One pass: the operation, whole, through the server's pipeline. Hot (`operation.args` is there): with the
   * foreground's own context and arguments. Cold: with a context made from what the run kept. Rejects, or answers
   * without having reached the executor, where the server refuses.
   */
  pass(operation: Operation): Promise<ExecutionResult>
}
