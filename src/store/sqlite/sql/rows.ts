import type { OutcomeRecord, RunRecord, WaitRecord } from '../../store.ts'

/** SQLite has no booleans. */
type Flag = 0 | 1

export type RunRow = Omit<RunRecord, 'signalled' | 'onProbation'> & {
  readonly n: number
  readonly signalled: Flag
  readonly onProbation: Flag
}
export type OutcomeRow = Omit<OutcomeRecord, 'ok' | 'ordering'> & {
  readonly ok: Flag
  readonly ordering: string | null
}

export const RUN_COLUMNS = `
  n, id, status, epoch, holder, len, due_at as dueAt, signalled, kept_by as keptBy, server,
  operation_name as operationName, owner, version, began_at as beganAt, created_at as createdAt,
  updated_at as updatedAt, ended_at as endedAt, timeout_at as timeoutAt, takeovers, blamed, on_probation as onProbation,
  resume_failures as resumeFailures, note`

export const OUTCOME_COLUMNS = `
  pos, key, kind, ok, body, calls, attempts, event_id as eventId, event_name as eventName, took_ms as tookMs, ordering,
  committed_at as committedAt`

export const WAIT_COLUMNS = 'key, kind, seq, event, match, attempts, since, until'

export function toFlag(value: boolean): Flag {
  return value ? 1 : 0
}

export function toRunRecord(row: RunRow): RunRecord {
  const { n: _n, ...record } = row
  return { ...record, signalled: row.signalled === 1, onProbation: row.onProbation === 1 }
}

export function toOutcomeRecord(row: OutcomeRow): OutcomeRecord {
  const { ordering, ...outcome } = row
  return { ...outcome, ok: row.ok === 1, ...(ordering !== null && { ordering }) }
}

// The driver's rows have no prototype; callers get plain objects.
export function toWaitRecord(row: WaitRecord): WaitRecord {
  return { ...row }
}
