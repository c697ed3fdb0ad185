import type { Warn } from './user-functions.ts'

/** What is under way for so long is told of: nobody else would say why its run does not go on (I4). */
const HANGS_AFTER_MS = 60_000

/** What is looked at of a run that this process advances. */
interface Watched {
  readonly runId: string
  readonly movedAt: number
  readonly attempts: ReadonlyMap<string, { readonly startedAt: number; readonly attempt: number }>
  readonly waits: { readonly size: number }
}

/** Warns, once each, of attempts that are under way for long, and of runs that wait for long for what is no step. */
export class HangingWatch {
  readonly #told = new WeakSet<object>()

  look(runs: Iterable<Watched>, now: number, warn: Warn): void {
    const before = now - HANGS_AFTER_MS
    for (const run of runs) {
      for (const [step, attempt] of run.attempts) {
        if (attempt.startedAt > before || !this.#isNew(attempt)) continue
        const since = new Date(attempt.startedAt).toISOString()
        const details = { runId: run.runId, step, attempt: attempt.attempt, since }
        warn('A step is under way for long, and its run waits for it. Give it a `timeout`.', details)
      }
      if (!waitsForNothing(run) || run.movedAt > before || !this.#isNew(run)) continue
      const since = new Date(run.movedAt).toISOString()
      warn('A run waits for long, and for no step: for what a resolver, or `context` in a pass, awaits.', {
        runId: run.runId,
        since,
      })
    }
  }

  #isNew(subject: object): boolean {
    if (this.#told.has(subject)) return false
    this.#told.add(subject)
    return true
  }
}

function waitsForNothing(run: Watched): boolean {
  return run.attempts.size === 0 && run.waits.size === 0
}
