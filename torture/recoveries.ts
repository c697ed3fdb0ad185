import type { Entry } from './facts.ts'

/** How long it took others to take over what a process had when something happened to it. */
export interface Recoveries {
  readonly count: number
  readonly p50: number
  readonly p99: number
  readonly max: number
}

/**
 * From the kill, or the freeze, of a run's holder to the claim by which another process goes on with it. The store
 * counts such takeovers itself, until the run gets on, which tells them from other claims.
 */
export function measureRecoveries(entries: readonly Entry[], after: 'kill' | 'freeze'): Recoveries {
  const happenedAt = new Map<string, number>()
  const holders = new Map<string, string>()
  const durations: number[] = []
  for (const entry of entries) {
    if (entry.kind === 'disruption' && entry.what === after && entry.life !== null) {
      if (entry.phase === 'begin') happenedAt.set(entry.life, entry.t)
      else if (after === 'freeze') happenedAt.delete(entry.life) // what it loses from now on, it loses to something else
    } else if (entry.kind === 'committed') {
      if (entry.created) holders.set(entry.runId, entry.life)
    } else if (entry.kind === 'claimed') {
      const { runId, life, t } = entry
      const holder = holders.get(runId)
      const at = happenedAt.get(holder ?? '')
      if (entry.takeovers > 0 && at !== undefined && holder !== life) durations.push(t - at)
      holders.set(runId, life)
    }
  }
  return summarize(durations)
}

/** For each failover, the longest stretch in which nobody was told of a commit. */
export function measurePauses(entries: readonly Entry[]): Recoveries {
  const begun = new Map<number, number>()
  const spans: { readonly from: number; readonly to: number }[] = []
  for (const entry of entries) {
    if (entry.kind !== 'disruption' || entry.what !== 'failover') continue
    const from = begun.get(entry.id)
    if (entry.phase === 'begin') begun.set(entry.id, entry.t)
    else if (from !== undefined) spans.push({ from, to: entry.t })
  }
  const commits = entries.filter(({ kind }) => kind === 'committed').map(({ t }) => t)
  return summarize(
    spans.map(({ from, to }) => {
      const within = [from, ...commits.filter((t) => t >= from && t <= to), to]
      return Math.max(...within.slice(1).map((t, index) => t - (within[index] ?? t)))
    }),
  )
}

function summarize(durations: number[]): Recoveries {
  durations.sort((a, b) => a - b)
  const quantile = (q: number): number =>
    durations[Math.min(durations.length - 1, Math.floor(q * durations.length))] ?? 0
  return { count: durations.length, p50: quantile(0.5), p99: quantile(0.99), max: durations.at(-1) ?? 0 }
}
