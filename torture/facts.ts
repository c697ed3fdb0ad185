/**
 * What the witness is told. Instants are real milliseconds, whatever the clock of the teller's engine says; `life` is
 * one life of one process.
 */
export type Fact =
  /** A step's function was called, or has come to its end. */
  | ({ readonly kind: 'begin' } & Effect)
  | ({ readonly kind: 'end' } & Effect)
  | { readonly kind: 'connected'; readonly life: string; readonly processId: string }
  /** The store gave it the lease. `takeovers`: deaths of holders since the run last got on. */
  | {
      readonly kind: 'claimed'
      readonly life: string
      readonly runId: string
      readonly epoch: number
      readonly takeovers: number
    }
  /** The store accepted it. */
  | {
      readonly kind: 'committed'
      readonly life: string
      readonly runId: string
      readonly epoch: number
      readonly created: boolean
      readonly next: 'hold' | 'park' | 'end'
      readonly outcomes: readonly CommittedOutcome[]
    }
  /** A call of the store was made to fail. */
  | { readonly kind: 'fault'; readonly life: string; readonly what: string }
  /** Something was done to a process, or (`life` null) to all of them. */
  | {
      readonly kind: 'disruption'
      readonly life: string | null
      readonly what: Disruption
      readonly phase: 'begin' | 'end'
      readonly id: number
    }

export type Disruption = 'kill' | 'freeze' | 'close' | 'terminate' | 'restart' | 'failover'

export interface Effect {
  readonly life: string
  readonly runId: string
  readonly step: string
  readonly idempotencyKey: string
  readonly attempt: number
  /** When the step's function was called. */
  readonly calledAt: number
}

export interface CommittedOutcome {
  readonly pos: number
  readonly key: string
  readonly digest: number
}

/** What the witness makes of it: `seq` is the order in which it heard, `t` its own clock. */
export type Entry = Fact & { readonly seq: number; readonly t: number }
