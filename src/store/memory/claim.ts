import type { Claimed, ClaimReceipt, ClaimRequest, LoadedRun } from '../store.ts'
import { JOURNAL_PAGE } from '../store.ts'
import type { RunEntry } from './database.ts'
import { journalOf, transact, update, waitsOf } from './database.ts'
import { ensureRegistered } from './liveness.ts'
import type { Caller } from './session.ts'

export function claim(caller: Caller, request: ClaimRequest): ClaimReceipt {
  const at = caller.now()
  const chosen = request.limit <= 0 ? [] : chooseRuns(caller, at, request)
  const claimed = chosen.length === 0 ? [] : take(caller, at, chosen, request)
  const suspects = (request.suspects ?? Infinity) - chosen.filter((entry) => isSuspect(caller, entry)).length
  return { at, claimed, nextDueAt: nextDueAt(caller, at, { ...request, suspects }) }
}

function chooseRuns(caller: Caller, at: number, request: ClaimRequest): RunEntry[] {
  const { limit, runId, evenIfNotDue, suspects = Infinity } = request
  const named = runId === undefined ? undefined : caller.database.runs.get(runId)
  if (runId !== undefined && evenIfNotDue) return named && isParked(named) && isServed(named, request) ? [named] : []
  const entries = runId === undefined ? [...caller.database.runs.values()] : named ? [named] : []
  const due = entries
    .filter((entry) => (claimableAt(caller, entry, request) ?? Infinity) <= at)
    .toSorted((one, other) => Number(one.record.dueAt) - Number(other.record.dueAt))
  const allowed = new Set(due.filter((entry) => isSuspect(caller, entry)).slice(0, suspects))
  return due.filter((entry) => allowed.has(entry) || !isSuspect(caller, entry)).slice(0, limit)
}

function isParked({ record }: RunEntry): boolean {
  return record.holder === null && record.endedAt === null
}

function isServed({ record }: RunEntry, { servers }: ClaimRequest): boolean {
  return servers === undefined || servers.includes(record.server)
}

function isSuspect({ suspects }: Caller, { record }: RunEntry): boolean {
  return record.takeovers >= suspects.from
}

/** Only parked runs have a due time: neither held nor ended ones are ever found by it. */
function claimableAt(caller: Caller, entry: RunEntry, request: ClaimRequest): number | null {
  const { dueAt, keptBy } = entry.record
  if (dueAt === null || !isServed(entry, request)) return null
  return keptBy === null || keptBy === caller.processId ? dueAt : dueAt + (request.preferMs ?? 0)
}

function take(caller: Caller, at: number, entries: readonly RunEntry[], { hot }: ClaimRequest): Claimed[] {
  return transact(caller, 'claim', (tx) => {
    ensureRegistered(caller, tx)
    return entries.map((entry) => {
      const previousEpoch = entry.record.epoch
      tx.touch(entry)
      update(entry, at, {
        holder: caller.processId,
        keptBy: null,
        onProbation: isSuspect(caller, entry),
        epoch: previousEpoch + 1,
        status: 'running',
        dueAt: null,
        signalled: false,
      })
      tx.hint({ kind: 'changed' })
      return {
        run: entry.record,
        previousEpoch,
        loaded: hot?.get(entry.record.id) === previousEpoch ? null : load(entry),
      }
    })
  })
}

function load(entry: RunEntry): LoadedRun {
  return { input: entry.input, journal: journalOf(entry, { from: 0, limit: JOURNAL_PAGE }), waits: waitsOf(entry) }
}

function nextDueAt(caller: Caller, at: number, request: ClaimRequest): number | null {
  let next: number | null = null
  for (const entry of caller.database.runs.values()) {
    if (request.suspects === 0 && isSuspect(caller, entry)) continue
    const { dueAt } = entry.record
    const claimable = claimableAt(caller, entry, request)
    if (dueAt === null || claimable === null) continue
    const lookAt = dueAt > at ? dueAt : claimable
    if (next === null || lookAt < next) next = lookAt
  }
  return next
}
