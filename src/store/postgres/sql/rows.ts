import type { EventRecord, OutcomeKind, OutcomeRecord, RunRecord, WaitKind, WaitRecord } from '../../store.ts'
import { fromText } from '../../text.ts'

export type RunRow = RunRecord

/** Of a table or a set of rows that is called `r`. */
export const RUN_COLUMNS = `
  r.id, r.status, r.epoch, r.holder, r.len, r.due_at as "dueAt", r.signalled,
  r.kept_by as "keptBy", r.server, r.operation_name as "operationName", r.owner, r.version, r.began_at as "beganAt", r.created_at as "createdAt",
  r.updated_at as "updatedAt", r.ended_at as "endedAt", r.timeout_at as "timeoutAt", r.takeovers,
  r.blamed, r.on_probation as "onProbation",
  r.resume_failures as "resumeFailures", r.note`

/** The columns that a row has beside the record's own are left out. */
export function toRunRecord(row: RunRow): RunRecord {
  return {
    id: row.id,
    status: row.status,
    epoch: row.epoch,
    holder: row.holder,
    len: row.len,
    dueAt: row.dueAt,
    signalled: row.signalled,
    keptBy: row.keptBy,
    server: row.server,
    operationName: row.operationName,
    owner: row.owner,
    version: row.version,
    beganAt: row.beganAt,
    createdAt: row.createdAt,
    updatedAt: row.updatedAt,
    endedAt: row.endedAt,
    timeoutAt: row.timeoutAt,
    takeovers: row.takeovers,
    blamed: row.blamed,
    onProbation: row.onProbation,
    resumeFailures: row.resumeFailures,
    note: row.note,
  }
}

/*
 * A run's journal and its waits come as JSON, so that they are of one snapshot with the run, in one round trip.
 */

export type OutcomeTuple = readonly [
  pos: number,
  key: string,
  kind: OutcomeKind,
  ok: boolean,
  body: string,
  calls: number,
  attempts: number,
  eventId: string | null,
  eventName: string | null,
  tookMs: number,
  committedAt: number,
  ordering: string | null,
]

/** Of the run whose number is `r.n`, from that position on. `limit` null: all. */
export const journalPart = (from: string, limit: string): string => `
  (select coalesce(json_agg(json_build_array(o.pos, o.key, o.kind, o.ok, o.body, o.calls, o.attempts, o.event_id,
      o.event_name, o.took_ms, o.committed_at, o.ordering) order by o.pos), '[]')
    from (select * from durable.outcomes p where p.run = r.n and p.pos >= ${from} order by p.pos limit ${limit}) o)`

export function toOutcomeRecord(tuple: OutcomeTuple): OutcomeRecord {
  const [pos, key, kind, ok, body, calls, attempts, eventId, eventName, tookMs, committedAt, ordering] = tuple
  return {
    pos,
    key: fromText(key),
    kind,
    ok,
    body: fromText(body),
    calls,
    attempts,
    eventId: eventId === null ? null : fromText(eventId),
    eventName: eventName === null ? null : fromText(eventName),
    tookMs,
    committedAt,
    ...(ordering !== null && { ordering: fromText(ordering) }),
  }
}

export type WaitTuple = readonly [
  key: string,
  kind: WaitKind,
  seq: number,
  event: string | null,
  match: string | null,
  attempts: number,
  since: number,
  until: number | null,
]

/** Of the run whose id is `r.id`. */
export const WAITS = `
  (select coalesce(json_agg(json_build_array(w.key, w.kind, w.seq, w.event, w.match, w.attempts, w.since, w.until)
      order by w.seq), '[]')
    from durable.waits w where w.run_id = r.id)`

export function toWaitRecord([key, kind, seq, event, match, attempts, since, until]: WaitTuple): WaitRecord {
  return {
    key: fromText(key),
    kind,
    seq,
    event: event === null ? null : fromText(event),
    match: match === null ? null : fromText(match),
    attempts,
    since,
    until,
  }
}

export const EVENT_COLUMNS = 'e.id, e.name, e.data, e.accepted_at as "acceptedAt"'

export type EventRow = EventRecord & { readonly n: number }
