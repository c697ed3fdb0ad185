import type { ExecutionResult } from 'graphql'
import { isObject } from '../core/objects.ts'
import { headersIn, initOf, isPossibleStatus } from '../core/response-init.ts'
import type { ResponseInit } from '../core/response-init.ts'

/** What the response and its errors say in `extensions.http`: as in Yoga, the last header and the highest status win. */
export function responseInitOf(result: ExecutionResult): ResponseInit | null {
  const all = [result, ...(result.errors ?? [])].map((each) => each?.extensions?.['http']).filter(isObject)
  // `spec`: a status for clients that ask for `application/graphql-response+json`. Stored responses are JSON.
  const statuses = all.map((http) => (http['spec'] ? undefined : http['status'])).filter(isPossibleStatus)
  const headers = Object.fromEntries(all.flatMap((http) => headersIn(http['headers'])))
  return initOf(statuses.length === 0 ? undefined : Math.max(...statuses), headers)
}
