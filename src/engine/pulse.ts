import type { BeatReceipt, StoreSession } from '../store/store.ts'
import type { Engine } from './engine.ts'
import type { Execution } from './execution.ts'
import { giveBack } from './give-back.ts'

/** A process that has just connected counts as alive for so long. */
const FIRST_BEAT_WITHIN_MS = 1500
/** A seq that no execution reaches: gives back a lease that nobody here knows. */
const RELEASE_SEQ = 2 ** 31 - 1
/** Whatever made a process give a run up may still be so. */
const STRAY_DELAY_MS = 1000

/** What beats need to know of claims, and cause. */
interface Claims {
  isClaiming(runId: string): boolean
  /** A run was given back, and is due in so long. */
  onGivenBack(dueInMs: number): void
}

/**
 * Says that this process is alive, knows for how long that is good, and compares what the store believes that it holds
 * with what is in memory.
 */
export class Pulse {
  readonly #engine: Engine
  readonly #session: StoreSession
  readonly #claims: Claims
  /** Held runs that nobody here knew at the last beat: (run, epoch). */
  #strays = new Set<string>()
  #confirmedAt: number
  #goodForMs: number
  /** Ever since, the store has heard from this process in time. A lease from before that may be somebody else's by now. */
  #intactSince: number
  #isTooSlow = false

  constructor(engine: Engine, session: StoreSession, worker: Claims) {
    this.#engine = engine
    this.#session = session
    this.#claims = worker
    this.#confirmedAt = engine.clock.now()
    this.#intactSince = engine.clock.now()
    this.#goodForMs = Math.min(FIRST_BEAT_WITHIN_MS, engine.options.leaseMs)
  }

  /**
   * The store has heard from this process lately, so that nobody can have taken its runs over. That may be much less
   * than its lease: a store that sees connections break gives up on a process sooner.
   */
  get confirmed(): boolean {
    const sinceMs = this.#engine.clock.now() - this.#confirmedAt
    return sinceMs >= 0 && sinceMs < this.#goodForMs // a clock that was set back says nothing
  }

  /**
   * Whether a run may start a step. An answer that was on its way while this process was stopped gives it a lease that
   * others may have taken meanwhile: after such a gap, each lease has to be seen in a beat first (I2).
   */
  mayStart({ leaseSeenAt, created }: Execution): boolean {
    return this.confirmed && (!created || leaseSeenAt >= this.#intactSince)
  }

  async beat(): Promise<void> {
    const sentAt = this.#engine.clock.now()
    const leases = this.#leases()
    const receipt = await this.#session.beat()
    const now = this.#engine.clock.now()
    if (!this.confirmed) this.#intactSince = now
    // Not when the answer is read: a process that was stopped meanwhile would trust a lease that has run out.
    this.#confirmedAt = sentAt
    this.#goodForMs = receipt.goodForMs
    this.#engine.onStoreTime(receipt.at)
    // First of all: what was taken over must not start anything more (I2).
    dropLost(leases, receipt, now)
    if (this.confirmed) this.#engine.onConfirmed()
    this.#warnOfSlowBeats(now - sentAt)
    await this.#reconcile(receipt)
  }

  /** Nothing starts here meanwhile, and nobody would know why. */
  #warnOfSlowBeats(tookMs: number): void {
    if (this.#isTooSlow === !this.confirmed) return
    this.#isTooSlow = !this.confirmed
    if (this.confirmed) return
    this.#engine.options.warn(
      'The store answers too late: this process may be taken for dead by then, and so it starts no step.',
      { tookMs, goodForMs: this.#goodForMs },
    )
  }

  /** What the store must name as held, unless it is parked or ends meanwhile. */
  #leases(): ReadonlyMap<Execution, number> {
    return new Map(this.#engine.liveRuns.filter(({ created }) => created).map((run) => [run, run.epoch]))
  }

  /** Compares what the store believes with what is known here. */
  async #reconcile({ held }: BeatReceipt): Promise<void> {
    const strays = new Set<string>()
    for (const { runId, epoch, signalled } of held) {
      const run = this.#engine.find(runId)?.run
      // Parked under an earlier epoch: it was claimed, and the answer was lost.
      if (run && run.state !== 'over' && (run.state !== 'parked' || run.epoch >= epoch)) {
        if (signalled && run.epoch === epoch) run.waits.scan()
        continue
      }
      if (this.#claims.isClaiming(runId)) continue
      const stray = `${runId} ${epoch}`
      // Seen twice: it is not just on its way from a claim into memory.
      if (this.#strays.has(stray)) await this.#release(runId, epoch)
      else strays.add(stray)
    }
    this.#strays = strays
  }

  /** A run that this process holds and does not know (an answer was lost, a failing store): somebody else may go on. */
  async #release(runId: string, epoch: number): Promise<void> {
    const note = 'The process that held this run gave it up.'
    await this.#session.commit([giveBack({ runId, epoch, seq: RELEASE_SEQ }, STRAY_DELAY_MS, { note })])
    this.#claims.onGivenBack(STRAY_DELAY_MS)
  }
}

/** Executions that go on here although the run is not held any more: it was cancelled or taken over elsewhere. */
function dropLost(leases: ReadonlyMap<Execution, number>, { held }: BeatReceipt, now: number): void {
  const epochs = new Map(held.map(({ runId, epoch }) => [runId, epoch]))
  for (const [run, epoch] of leases) {
    // Another epoch: it was given back and claimed again while the beat was under way.
    if (run.state !== 'live' || run.epoch !== epoch) continue
    if (epochs.get(run.runId) === epoch) run.leaseSeenAt = now
    else run.abandon({ kind: 'lost' })
  }
}
