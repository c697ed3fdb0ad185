import type { ExecutionArgs, ExecutionResult } from 'graphql'

/** What an executor may answer: at once or later, whole or in parts. */
export type Executed = ExecutionResult | AsyncIterable<unknown>
export type Execute = (args: ExecutionArgs) => Executed | Promise<Executed>
