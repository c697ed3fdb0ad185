import type { Names } from './names.ts'

/** The root fields, as they are called without a prefix. The resolvers are keyed by the same names. */
const ROOT_FIELDS = /\b(durableRuns?|cancelDurableRun|sendDurableEvent)\b/g
const TYPES = /\bDurable[A-Z]\w*/g

/**
 * What clients see of runs. The scalars DurableJSON and DurableDateTime are in scalars.ts.
 *
 * Everything carries `@cacheControl`: a response cache that kept a polled run would say SUSPENDED for ever, and say it
 * to everybody. The types carry it as well, for caches that look at the types of a result, whatever field it came from.
 */
const CLIENT_TYPE_DEFS = `
extend type Query {
  "The run of that id, or null where there is none that the caller may see. wait: how many seconds to wait for its end; the run is resumed if it is due."
  durableRun(id: ID!, wait: Int = 0): DurableRun @cacheControl(maxAge: 0, scope: PRIVATE)
  "The runs that the caller may see, newest first. A page has at most 100."
  durableRuns(status: DurableRunStatus, operationName: String, first: Int = 20, after: String): DurableRunConnection! @cacheControl(maxAge: 0, scope: PRIVATE)
}

extend type Mutation {
  "Ends a run. One that has ended stays as it is."
  cancelDurableRun(id: ID!, reason: String): DurableRun! @cacheControl(maxAge: 0, scope: PRIVATE)
  "Gives an event to the runs that wait for it, and answers its id. The same id twice is one event."
  sendDurableEvent(name: String!, data: DurableJSON, id: ID): ID! @cacheControl(maxAge: 0, scope: PRIVATE)
}

"One operation, from its first durable step to its stored result."
type DurableRun @cacheControl(maxAge: 0, scope: PRIVATE) {
  id: ID!
  status: DurableRunStatus!
  operationName: String
  "Of the code that began it."
  version: String
  "The result's data; null until the run has ended."
  data: DurableJSON
  "The result's errors; null where it has none."
  errors: [DurableJSON!]
  "The response that a synchronous client would have got; null until the run has ended."
  result: DurableJSON
  waitingOn: [DurableWait!]!
  steps: [DurableStep!]!
  "When asking again makes sense; null once it has ended."
  retryAfterMs: Int
  createdAt: DurableDateTime!
  updatedAt: DurableDateTime!
  endedAt: DurableDateTime
}

enum DurableRunStatus {
  QUEUED
  RUNNING
  SUSPENDED
  "The result has no errors."
  COMPLETED
  "The result has errors, or the run could not be carried on."
  FAILED
  CANCELLED
}

"Something that a run waits for."
type DurableWait @cacheControl(maxAge: 0, scope: PRIVATE) {
  "Items of lists by their identity."
  path: [String!]!
  "The same as in errors { path }: items of lists by their index; null where it is not known."
  responsePath: [DurableJSON!]
  step: String!
  kind: DurableWaitKind!
  "The event's name, where it is an event."
  event: String
  since: DurableDateTime!
  until: DurableDateTime
}

enum DurableWaitKind {
  SLEEP
  EVENT
  CALLBACK
  RUN
  RETRY
}

"A named piece of a run's work."
type DurableStep @cacheControl(maxAge: 0, scope: PRIVATE) {
  id: ID!
  path: [String!]!
  step: String!
  kind: DurableStepKind!
  status: DurableStepStatus!
  attempts: Int!
  output: DurableJSON
  error: DurableJSON
  startedAt: DurableDateTime
  endedAt: DurableDateTime
}

enum DurableStepKind {
  RUN
  SLEEP
  EVENT
  CALLBACK
  INVOKE
  SEND
  DEFER
  FIELD
}

enum DurableStepStatus {
  RUNNING
  WAITING
  COMPLETED
  FAILED
}

type DurableRunConnection @cacheControl(maxAge: 0, scope: PRIVATE) {
  nodes: [DurableRun!]!
  edges: [DurableRunEdge!]!
  pageInfo: DurablePageInfo!
}

type DurableRunEdge @cacheControl(maxAge: 0, scope: PRIVATE) {
  cursor: String!
  node: DurableRun!
}

type DurablePageInfo @cacheControl(maxAge: 0, scope: PRIVATE) {
  hasNextPage: Boolean!
  endCursor: String
}
`

export function clientTypeDefs(names: Names): string {
  return CLIENT_TYPE_DEFS.replace(TYPES, names.type).replace(ROOT_FIELDS, names.field)
}
