import { GraphQLError } from 'graphql'

/**
 * Every code this library puts into `extensions.code`, what it means, and whether sending the same request again
 * later can succeed. The classes, the documentation and the responses are all made from this one table.
 */
export const ERROR_CODES = {
  DURABLE_DEFERRED: { retryable: true, meaning: 'The field is still pending; follow the run by its runId.' },
  DURABLE_STEP_FAILED: { retryable: false, meaning: 'A step used up its attempts.' },
  DURABLE_STEP_TIMEOUT: { retryable: true, meaning: 'An attempt at a step took longer than its timeout.' },
  DURABLE_STEP_MISUSED: { retryable: false, meaning: 'A step tool was called where it cannot work.' },
  DURABLE_NOT_SERIALIZABLE: { retryable: false, meaning: 'A value has no durable representation.' },
  DURABLE_TOO_LARGE: { retryable: false, meaning: 'A value exceeds a configured limit.' },
  DURABLE_TOO_MANY_STEPS: { retryable: false, meaning: 'The run has more steps than the configured limit.' },
  DURABLE_NONDETERMINISM: { retryable: false, meaning: 'The code no longer matches what the run recorded.' },
  DURABLE_RUN_TIMEOUT: { retryable: false, meaning: 'The run took longer than its timeout.' },
  DURABLE_RUN_CANCELLED: { retryable: false, meaning: 'The run was cancelled.' },
  DURABLE_IDEMPOTENCY_CONFLICT: { retryable: false, meaning: 'The idempotency key belongs to another operation.' },
  DURABLE_FORBIDDEN: { retryable: false, meaning: 'The caller may not do this.' },
  DURABLE_STORE_UNAVAILABLE: { retryable: true, meaning: 'The store could not commit in time.' },
  DURABLE_TOO_MANY_WAITERS: { retryable: true, meaning: 'As many clients wait for runs as may wait at a time.' },
  DURABLE_RESUME_FAILED: { retryable: false, meaning: 'The run could not be carried on.' },
} as const satisfies Record<string, { retryable: boolean; meaning: string }>

export type DurableErrorCode = keyof typeof ERROR_CODES

export interface DurableErrorOptions {
  readonly cause?: unknown
  /** Overrides the table's verdict for this one error. */
  readonly retryable?: boolean
  readonly path?: readonly (string | number)[]
  readonly extensions?: Readonly<Record<string, unknown>>
}

/**
 * An error of this library. It is a `GraphQLError`, because servers mask every other class and would lose the code;
 * `extensions.code` reaches the client, `cause` never does.
 */
export class DurableError extends GraphQLError {
  readonly code: DurableErrorCode
  readonly retryable: boolean
  override readonly cause: unknown

  constructor(code: DurableErrorCode, message: string, options: DurableErrorOptions = {}) {
    super(message, {
      ...(options.path && { path: options.path }),
      extensions: { ...options.extensions, code },
    })
    this.code = code
    this.retryable = options.retryable ?? ERROR_CODES[code].retryable
    this.cause = options.cause
    Object.defineProperty(this, 'cause', { enumerable: false })
  }

  static is(error: unknown): error is DurableError {
    return error instanceof DurableError
  }
}

/** What somebody threw, as a text for operators. */
export function messageOf(thrown: unknown): string {
  try {
    return thrown instanceof Error ? thrown.message : String(thrown)
  } catch {
    return `a value of type ${typeof thrown}`
  }
}

/** Thrown in a resolver when a step's attempts are used up. `cause` is what the last attempt threw. */
export class StepError extends DurableError {
  readonly stepId: string
  readonly attempts: number

  constructor(stepId: string, attempts: number, cause: unknown, code: DurableErrorCode = 'DURABLE_STEP_FAILED') {
    // The cause's message may be internal: it stays out of a message that clients see.
    super(code, `Step "${stepId}" failed after ${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}.`, { cause })
    this.stepId = stepId
    this.attempts = attempts
  }
}

/** Throw it in a step to fail the step at once, whatever attempts are left. */
export class NonRetriableError extends Error {
  override readonly name = 'NonRetriableError'
}

/** Throw it in a step to say when the next attempt makes sense. `after` is a duration or a date. */
export class RetryAfterError extends Error {
  override readonly name = 'RetryAfterError'
  readonly after: number | string | Date

  constructor(message: string, after: number | string | Date, options?: ErrorOptions) {
    super(message, options)
    this.after = after
  }
}
