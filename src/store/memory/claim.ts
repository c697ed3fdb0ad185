import type { Claimed, ClaimReceipt, ClaimRequest, LoadedRun } from '../store.ts'
import type { RunEntry } from './database.ts'
import { journalOf, transact, update, waitsOf } from './database.ts'
import { ensureRegistered } from './liveness.ts'
import type { Caller } from './session.ts'

export function claim(caller: Caller, request: ClaimRequest): ClaimReceipt {
  const at = caller.now()
  const candidates = chooseRuns(caller, at, request)
  const claimed = candidates.length === 0 ? [] : take(caller, at, candidates, request)
  return { at, claimed, nextDueAt: nextDueAt(caller, request) }
}

/** Only parked runs have a due time: neither held nor ended ones are ever found by it. */
function chooseRuns(caller: Caller, at: number, request: ClaimRequest): RunEntry[] {
  const { limit, runId, evenIfNotDue } = request
  if (limit <= 0) return []
  const isDue = ({ record }: RunEntry): boolean => record.dueAt !== null && record.dueAt <= at
  if (runId === undefined) {
    const due = [...caller.database.runs.values()].filter((entry) => isDue(entry) && isServed(entry, request))
    return due.toSorted((one, other) => Number(one.record.dueAt) - Number(other.record.dueAt)).slice(0, limit)
  }
  const named = caller.database.runs.get(runId)
  if (!named || !isServed(named, request) || named.record.holder !== null || named.record.endedAt !== null) return []
  return evenIfNotDue || isDue(named) ? [named] : []
}

function isServed({ record }: RunEntry, { servers }: ClaimRequest): boolean {
  return servers === undefined || servers.includes(record.server)
}

function take(caller: Caller, at: number, entries: readonly RunEntry[], { hot }: ClaimRequest): Claimed[] {
  return transact(caller, 'claim', (tx) => {
    ensureRegistered(caller, tx)
    return entries.map((entry) => {
      const previousEpoch = entry.record.epoch
      tx.touch(entry)
      update(entry, at, {
        holder: caller.processId,
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
  return { input: entry.input, journal: journalOf(entry), waits: waitsOf(entry) }
}

function nextDueAt(caller: Caller, request: ClaimRequest): number | null {
  let next: number | null = null
  for (const entry of caller.database.runs.values()) {
    const { record } = entry
    if (!isServed(entry, request)) continue
    if (record.dueAt !== null && (next === null || record.dueAt < next)) next = record.dueAt
  }
  return next
}
