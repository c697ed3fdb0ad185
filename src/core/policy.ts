/**
 * What `@durable` says about one field. What is absent is decided by the nearest `@durable` field above it, and then by
 * the options of the durable instance.
 */
export interface FieldPolicy {
  /** Names the field in step keys, so that renaming the field loses nothing. */
  readonly id?: string
  /** Of each step below the field, after the first attempt. */
  readonly retries?: number
  /** Of each attempt at a step below the field. */
  readonly timeoutMs?: number
  /** How long a request may stay suspended in this field before it is deferred. */
  readonly holdMs?: number
}
