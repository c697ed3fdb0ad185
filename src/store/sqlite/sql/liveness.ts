import { statement } from './statement.ts'

export interface ProcessRow {
  readonly id: string
  readonly leaseMs: number
  readonly beatAt: number
  /** It touches its lock file with each beat. Earlier versions did not. */
  readonly touches: 0 | 1
}

export const READ_PROCESSES = statement<[], ProcessRow>(
  'select id, lease_ms as leaseMs, beat_at as beatAt, touches from processes',
)

export const READ_PROCESS = statement<[id: string], ProcessRow>(
  'select id, lease_ms as leaseMs, beat_at as beatAt, touches from processes where id = ?',
)

export const PUT_PROCESS = statement<[id: string, leaseMs: number, beatAt: number]>(
  'insert or replace into processes (id, lease_ms, beat_at, touches) values (?, ?, ?, 1)',
)

export const DELETE_PROCESS = statement<[id: string]>('delete from processes where id = ?')

export const READ_HELD = statement<
  [holder: string],
  { readonly runId: string; readonly epoch: number; readonly signalled: 0 | 1 }
>('select id as runId, epoch, signalled from runs where holder = ?')

export const FIND_HELD = statement<
  [holder: string],
  { readonly n: number; readonly takeovers: number; readonly blamed: number; readonly onProbation: 0 | 1 }
>('select n, takeovers, blamed, on_probation as onProbation from runs where holder = ?')

export const RELEASE = statement<[dueAt: number, takeovers: number, blamed: number, updatedAt: number, run: number]>(`
  update runs set
    status = 'suspended', holder = null, due_at = ?, takeovers = ?, blamed = ?, on_probation = 0, updated_at = ?
  where n = ?`)
