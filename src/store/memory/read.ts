import type { ListQuery, PeekReceipt, ReadParts, RunRecord, RunView } from '../store.ts'
import { journalOf, waitsOf } from './database.ts'
import type { Caller } from './session.ts'

export function read(caller: Caller, runId: string, parts: ReadParts = {}): RunView | null {
  const entry = caller.database.runs.get(runId)
  if (!entry) return null
  return {
    at: caller.now(),
    run: entry.record,
    waits: parts.waits === false ? [] : waitsOf(entry),
    journal: parts.journal ? journalOf(entry, parts.journal) : null,
    result: parts.result ? entry.result : null,
    input: parts.input ? entry.input : null,
  }
}

export function peek(caller: Caller, runIds: readonly string[]): PeekReceipt {
  const found = runIds.map((id) => caller.database.runs.get(id)).filter((entry) => entry !== undefined)
  return { at: caller.now(), runs: found.map(({ record: { id, status, dueAt } }) => ({ id, status, dueAt })) }
}

export function list(caller: Caller, query: ListQuery): RunRecord[] {
  const { first, after } = query
  if (first <= 0) return []
  const fitting = [...caller.database.runs.values()]
    .map(({ record }) => record)
    .filter((run) => fits(run, query) && (!after || newestFirst(after, run) < 0))
  return fitting.toSorted(newestFirst).slice(0, first)
}

function fits(run: RunRecord, { status, operationName, owner }: ListQuery): boolean {
  return (
    (status === undefined || run.status === status) &&
    (operationName === undefined || run.operationName === operationName) &&
    (owner === undefined || run.owner === owner)
  )
}

type Position = Pick<RunRecord, 'createdAt' | 'id'>

function newestFirst(one: Position, other: Position): number {
  if (one.createdAt !== other.createdAt) return other.createdAt - one.createdAt
  return one.id === other.id ? 0 : one.id > other.id ? -1 : 1
}
