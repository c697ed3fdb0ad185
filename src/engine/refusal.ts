import type { ExecutionResult } from 'graphql'
import { messageOf } from '../core/errors.ts'

/** How a pass came out: with the executor's answer, or whoever refused it. */
export type PassOutcome = { readonly result: ExecutionResult } | { readonly error: unknown }

/** The operation can never be resumed: it is not valid for the schema any more. */
export class InvalidDocument extends Error {
  override readonly name = 'InvalidDocument'
}

/** No later pass will be accepted either. */
export function isFinal(outcome: PassOutcome): boolean {
  return 'error' in outcome && outcome.error instanceof InvalidDocument
}

/** For operators, and where it is final for clients, too. */
export function refusalReason(outcome: PassOutcome): string {
  if ('error' in outcome) return messageOf(outcome.error)
  const messages = outcome.result.errors?.map((error) => error.message).join('; ')
  return `The server answered without executing the operation${messages ? `: ${messages}` : ''}.`
}
