import type { NewWait, NextState, Outcome, RunCommit } from '../store/store.ts'

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
