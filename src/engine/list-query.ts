import { Refusal, count, readInput, show, withOnly } from '../core/refusals.ts'
import { isRunId } from '../core/run-id.ts'
import type { ListQuery, RunRecord, RunStatus as StoredStatus } from '../store/store.ts'
import type { ListFilter, RunSnapshot, RunStatus } from '../types.ts'

const DEFAULT_PAGE = 20
const MAX_PAGE = 100

const STATUSES: Readonly<Record<RunStatus, StoredStatus>> = {
  QUEUED: 'queued',
  RUNNING: 'running',
  SUSPENDED: 'suspended',
  COMPLETED: 'completed',
  FAILED: 'failed',
  CANCELLED: 'cancelled',
}

/** @throws GraphQLError BAD_USER_INPUT: filters and cursors often come from clients */
export function toQuery(filter: ListFilter): ListQuery {
  return readInput(() => {
    const given = withOnly(filter, ['status', 'operationName', 'owner', 'first', 'after'], 'a filter of runs')
    const { first = DEFAULT_PAGE, after } = given
    return {
      first: Math.min(count(first, 'first', 1), MAX_PAGE),
      ...(after !== undefined && { after: decodeCursor(after) }),
      ...('status' in given && { status: statusOf(given.status) }),
      ...('operationName' in given && { operationName: nameIn(given.operationName, 'operationName') }),
      ...('owner' in given && { owner: nameIn(given.owner, 'owner') }),
    }
  })
}

/** Undefined does not count as absent here: `{ owner: user?.id }` would list everybody's runs to whoever has none. */
function nameIn(value: unknown, what: string): string {
  if (typeof value === 'string') return value
  throw new Refusal(`Expected ${what} to be a text, but got ${show(value)}. Leave it out to list the runs of any.`)
}

function statusOf(status: unknown): StoredStatus {
  const known = Object.keys(STATUSES)
  if (typeof status === 'string' && known.includes(status)) return STATUSES[status as RunStatus] // it is one of them
  throw new Refusal(`Expected status to be one of ${known.join(', ')}, but got ${show(status)}. Leave it out for any.`)
}

/** The place after a run, as `endCursor` names it. */
export function cursorOf(run: Pick<RunSnapshot, 'createdAt' | 'id'>): string {
  return encodeCursor({ createdAt: run.createdAt.getTime(), id: run.id })
}

export function encodeCursor({ createdAt, id }: Pick<RunRecord, 'createdAt' | 'id'>): string {
  return Buffer.from(`${createdAt} ${id}`).toString('base64url')
}

function decodeCursor(cursor: unknown): { createdAt: number; id: string } {
  if (typeof cursor === 'string') {
    const [instant = '', id] = Buffer.from(cursor, 'base64url').toString().split(' ')
    const createdAt = Number(instant)
    const isOurs =
      isRunId(id) && Number.isSafeInteger(createdAt) && createdAt >= 0 && encodeCursor({ createdAt, id }) === cursor
    if (isOurs) return { createdAt, id }
  }
  throw new Refusal(`Expected after to be the endCursor of another page, but got ${show(cursor)}.`)
}
