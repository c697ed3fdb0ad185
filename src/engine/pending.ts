import type { NewWait, NextState, Outcome, RunCommit } from '../store/store.ts'

/** Of one run in one transaction: about ten milliseconds of SQLite's, for which it holds the event loop. */
const MAX_ENTRIES = 500
const MAX_LENGTH = 4 * 1024 * 1024

/** What a run's next commit will say, as it gathers. */
export class Pending {
  readonly outcomes: Outcome[] = []
  readonly opens: NewWait[] = []
  next: NextState = { kind: 'hold' }
  suspicion: RunCommit['suspicion']
  resumeFailures: number | undefined
  note: string | null | undefined
  /** Told once it is committed. */
  readonly done: (() => void)[] = []

  /** There is something to commit. */
  get isFull(): boolean {
    return (
      this.outcomes.length > 0 ||
      this.opens.length > 0 ||
      this.next.kind !== 'hold' ||
      this.suspicion !== undefined ||
      this.note !== undefined ||
      this.done.length > 0
    )
  }

  /**
   * As much of it as one transaction should take; the rest stays for the next, and what becomes of the lease with it.
   * Waits come before outcomes, which close them. Responses of root fields are not parted from the run's beginning (I10).
   */
  takePart(): Pending {
    const opens = Math.min(this.opens.length, MAX_ENTRIES)
    const outcomes = Math.max(
      this.outcomes.findLastIndex(({ kind }) => kind === 'FIELD') + 1,
      opens < this.opens.length ? 0 : this.#outcomesThatFit(MAX_ENTRIES - opens),
    )
    if (opens === this.opens.length && outcomes === this.outcomes.length) return this
    const part = new Pending()
    part.opens.push(...this.opens.splice(0, opens))
    part.outcomes.push(...this.outcomes.splice(0, outcomes))
    return part
  }

  /** At least one, if there is any. */
  #outcomesThatFit(max: number): number {
    let length = 0
    const tooMuch = this.outcomes.findIndex(({ body }, at) => {
      length += body.length
      return at > 0 && (at >= max || length > MAX_LENGTH)
    })
    return tooMuch < 0 ? this.outcomes.length : tooMuch
  }

  toCommit(lease: Pick<RunCommit, 'runId' | 'epoch' | 'seq' | 'create'>): RunCommit {
    const { outcomes, opens, next, suspicion, resumeFailures, note } = this
    return {
      ...lease,
      outcomes,
      opens,
      next,
      ...(suspicion !== undefined && { suspicion }),
      ...(resumeFailures !== undefined && { resumeFailures }),
      ...(note !== undefined && { note }),
    }
  }
}
