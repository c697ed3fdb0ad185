import type { Conflict, EndStatus, OutcomeKind, WaitKind } from '../../store.ts'
import { RUN_COLUMNS, type RunRow } from './rows.ts'
import { statement } from './statement.ts'

/** What decides whether a part is accepted. */
export interface Fence {
  readonly n: number
  readonly epoch: number
  readonly holder: string | null
  readonly signalled: 0 | 1
  readonly commitBy: string | null
  readonly commitEpoch: number | null
  readonly commitSeq: number | null
}

export const READ_FENCE = statement<[id: string], Fence>(`
  select n, epoch, holder, signalled, commit_by as commitBy, commit_epoch as commitEpoch, commit_seq as commitSeq
  from runs where id = ?`)

export const INSERT_RUN = statement<
  [
    id: string,
    epoch: number,
    holder: string,
    server: string,
    operationName: string | null,
    owner: string | null,
    version: string | null,
    beganAt: number,
    createdAt: number,
    updatedAt: number,
    timeoutAt: number | null,
  ]
>(`
  insert into runs (id, status, epoch, holder, len, signalled, server, operation_name, owner, version, began_at,
    created_at, updated_at, timeout_at, takeovers, resume_failures)
  values (?, 'running', ?, ?, 0, 0, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0)`)

export const INSERT_KEY = statement<[key: string, run: number, fingerprint: string]>(
  'insert into idempotency (key, run, fingerprint) values (?, ?, ?)',
)

export const READ_KEY = statement<[key: string], Conflict>(`
  select runs.id as runId, fingerprint from idempotency join runs on runs.n = idempotency.run where key = ?`)

export const INSERT_INPUT = statement<[run: number, body: string]>('insert into inputs (run, body) values (?, ?)')

export const INSERT_OUTCOME = statement<
  [
    run: number,
    pos: number,
    key: string,
    kind: OutcomeKind,
    ok: 0 | 1,
    body: string,
    calls: number,
    attempts: number,
    eventId: string | null,
    eventName: string | null,
    tookMs: number,
    ordering: string | null,
    committedAt: number,
  ]
>(`
  insert into outcomes (run, pos, key, kind, ok, body, calls, attempts, event_id, event_name, took_ms, ordering,
    committed_at)
  values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)

export const PUT_WAIT = statement<
  [
    run: number,
    key: string,
    kind: WaitKind,
    seq: number,
    event: string | null,
    match: string | null,
    leaf: bigint | null,
    attempts: number,
    since: number,
    until: number | null,
  ]
>(`
  insert or replace into waits (run, key, kind, seq, event, match, leaf, attempts, since, until)
  values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)

export const CLOSE_WAIT = statement<[run: number, key: string]>('delete from waits where run = ? and key = ?')

export const CLOSE_WAITS = statement<[run: number]>('delete from waits where run = ?')

export const RECORD_COMMIT = statement<
  [
    outcomes: number,
    isCleared: 0 | 1,
    sameIsCleared: 0 | 1,
    isAcquitted: 0 | 1,
    resumeFailures: number | null,
    setsNote: 0 | 1,
    note: string | null,
    updatedAt: number,
    by: string,
    epoch: number,
    seq: number,
    run: number,
  ]
>(`
  update runs set
    len = len + ?,
    takeovers = iif(?, 0, takeovers),
    blamed = iif(?, 0, blamed),
    on_probation = iif(?, 0, on_probation),
    resume_failures = coalesce(?, resume_failures),
    note = iif(?, ?, note),
    updated_at = ?,
    commit_by = ?,
    commit_epoch = ?,
    commit_seq = ?
  where n = ?`)

/** Now if it was signalled, else at the wake-up or the timeout, whichever is first. */
export const PARK = statement<
  [keptBy: string | null, now: number, wakeAt: number | null, sameWakeAt: number | null, run: number],
  { readonly dueAt: number | null }
>(`
  update runs set
    status = 'suspended',
    holder = null,
    kept_by = ?,
    due_at = iif(signalled, ?, coalesce(min(?, timeout_at), ?, timeout_at))
  where n = ?
  returning due_at as dueAt`)

export const END = statement<
  [status: EndStatus, raiseEpochBy: 0 | 1, endedAt: number, updatedAt: number, run: number],
  RunRow
>(`
  update runs set
    status = ?, epoch = epoch + ?, holder = null, kept_by = null, due_at = null, signalled = 0, ended_at = ?,
    updated_at = ?
  where n = ?
  returning ${RUN_COLUMNS}`)

export const INSERT_RESULT = statement<[run: number, body: string]>('insert into results (run, body) values (?, ?)')
