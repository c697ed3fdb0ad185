export { createDurable } from './durable.ts'
export { resumeInfo } from './engine/resume-info.ts'
export { ambientStep as step } from './engine/scope.ts'
export { DurableError, ERROR_CODES, NonRetriableError, RetryAfterError, StepError } from './core/errors.ts'
export type { DurableErrorCode, DurableErrorOptions } from './core/errors.ts'
export type { ErrorClass } from './core/error-classes.ts'
export type { Clock, Timer } from './core/clock.ts'
export type { Duration } from './core/duration.ts'
export type {
  AuthorizeRequest,
  BackoffOptions,
  ContextOptions,
  Durable,
  DurableAction,
  DurableContext,
  DurableEvent,
  DurableOptions,
  EventInput,
  HotOptions,
  Identity,
  LimitOptions,
  ListFilter,
  ReadOptions,
  ResumedRun,
  ResumeInfo,
  RunPage,
  Runs,
  RunSnapshot,
  RunStatus,
  Step,
  StepAttempt,
  StepKind,
  StepPage,
  StepRunOptions,
  StepSnapshot,
  StepStatus,
  WaitForEventOptions,
  WaitKind,
  WaitOptions,
  WaitSnapshot,
  WorkerOptions,
} from './types.ts'
export type { Store } from './store/store.ts'
