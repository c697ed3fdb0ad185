import { statement } from './statement.ts'

export interface ProcessRow {
  readonly id: string
  readonly leaseMs: number
  readonly beatAt: number
}

export const READ_PROCESSES = statement<[], ProcessRow>(
  'select id, lease_ms as leaseMs, beat_at as beatAt from processes',
)

export const READ_PROCESS = statement<[id: string], ProcessRow>(
  'select id, lease_ms as leaseMs, beat_at as beatAt from processes where id = ?',
)

export const PUT_PROCESS = statement<[id: string, leaseMs: number, beatAt: number]>(
  'insert or replace into processes (id, lease_ms, beat_at) values (?, ?, ?)',
)

export const DELETE_PROCESS = statement<[id: string]>('delete from processes where id = ?')

export const READ_HELD = statement<
  [holder: string],
  { readonly runId: string; readonly epoch: number; readonly signalled: 0 | 1 }
>('select id as runId, epoch, signalled from runs where holder = ?')

/** Takeovers are counted for runs with at least `leastToBlame` of them already. */
export const RELEASE_HELD = statement<
  [holder: string, now: number, counts: 0 | 1, leastToBlame: number, suspectFrom: number, delayMs: number]
>(`
  update runs set
    status = 'suspended', holder = null, updated_at = ?2,
    takeovers = takeovers + (?3 and takeovers >= ?4),
    due_at = ?2 + iif(?3 and takeovers >= ?4 and takeovers + 1 >= ?5, ?6 << (takeovers + 1 - ?5), 0)
  where holder = ?1`)

export const MOST_TAKEOVERS = statement<[holder: string], { readonly takeovers: number | null }>(
  'select max(takeovers) as takeovers from runs where holder = ?',
)
