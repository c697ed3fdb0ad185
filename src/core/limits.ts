/**
 * What every store can hold, whichever it is. Names go into indexes, and a row of PostgreSQL's has at most 2,704 bytes
 * there: an event's name with a run's id and a key, an event's name with its id, an owner with a time and a run's id,
 * one idempotency key of server, owner and key. Checked at the door, before anything has an effect, so that nothing is
 * refused by a store later, when a step has already run.
 *
 * In bytes, as a text is written to a store: UTF-8, with what no store can hold as it is counted at its escaped length.
 */
export const MAX_BYTES = {
  /** A step's key: the path to its field, with aliases and the identities of list items, and its id. */
  key: 1_500,
  owner: 1_000,
  /** A server's `name`. */
  server: 100,
  operationName: 1_000,
  version: 1_000,
  eventName: 1_000,
  eventId: 1_000,
  /** Of one request; its characters are ASCII. */
  idempotencyKey: 255,
  /** With the server and the owner that it belongs to, as JSON. */
  idempotency: 2_400,
  /** Why a run was cancelled. */
  reason: 4_000,
  /** The `match` of a wait: each event of the name is compared with it. */
  match: 16_384,
} as const

/** Of a step's id, in characters: beside the path to its field. */
export const MAX_ID_LENGTH = 256

/** Of an event's data, and of `match`. Whatever walks through JSON does it by recursion, and a stack has an end. */
export const MAX_JSON_DEPTH = 100

/** Of the variables of an operation that becomes a run. */
export const MAX_INPUT_DEPTH = 500

/** What a character that no store can hold as it is (NUL, half of a surrogate pair) takes more, once it is escaped. */
const ESCAPE_BYTES = 4
const ESCAPED = /[\0\u001a]|\p{Surrogate}/gu // oxlint-disable-line no-control-regex -- those are what it is about

export function bytesOf(text: string): number {
  const bytes = Buffer.byteLength(text)
  if (text.isWellFormed() && !text.includes('\0') && !text.includes('\u001a')) return bytes
  return bytes + ESCAPE_BYTES * (text.match(ESCAPED)?.length ?? 0)
}

/** More than this no character takes: most texts need no counting. */
const MAX_BYTES_OF_CHARACTER = 8

export function fits(text: string, maxBytes: number): boolean {
  return text.length * MAX_BYTES_OF_CHARACTER <= maxBytes || bytesOf(text) <= maxBytes
}
