import { setUpkeep, UPKEEP } from '../core/clock.ts'
import type { Timer } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import type { Claimed, ClaimRequest, RunRecord, StoreSession } from '../store/store.ts'
import type { Engine } from './engine.ts'
import type { Execution } from './execution.ts'
import { HangingWatch } from './hanging.ts'
import { Places } from './places.ts'
import { Pulse } from './pulse.ts'
import { outsideOfRequests } from './scheduler.ts'
import { MAX_ON_PROBATION, probationMs } from './takeovers.ts'

/** How often a process says that it is alive; a lease covers many beats. */
const MAX_BEAT_MS = 500
const BEATS_PER_LEASE = 5
/** How often ended runs and old events are pruned. */
const PRUNE_MS = 10 * 60_000
/** How long others leave a run that is due to the process that has it in memory: going on there costs no replay. */
const PREFER_MS = 200
/** The first pause after a look that could not take what is due; it doubles. */
const FRUITLESS_MS = 50

/**
 * Claims runs that are due and hands them to the engine, and frees the runs of processes that are dead. With
 * `worker: false` it only beats, and claims what it is asked for.
 */
export class Worker {
  readonly #engine: Engine
  readonly #session: StoreSession
  readonly #pulse: Pulse
  readonly #timers = new Set<Timer>()
  readonly #claiming = new Set<string>()
  /** Of the runs that this worker carries on. */
  readonly #places: Places
  readonly #hanging = new HangingWatch()
  /** Runs on probation here, and what ends it. */
  readonly #onProbation = new Map<string, Timer>()
  /** Places for suspects that claims under way may take up. */
  #reserved = 0
  /** Claimed, and on their way into memory. */
  readonly #arriving = new Set<string>()
  /** Since when the store has not answered; null: it does. */
  #silentSince: number | null = null
  /** Looks in a row that found something due and could not take it. */
  #fruitless = 0
  /** As many runs are carried on as may be. */
  #full = false
  #polling = false
  #again = false
  #stopped = false
  #next: { timer: Timer; at: number } | null = null
  /** The next look for what nobody has told of. */
  #nextPoll: Timer | null = null

  constructor(engine: Engine, session: StoreSession) {
    this.#engine = engine
    this.#session = session
    this.#places = new Places(engine.options.worker?.concurrency ?? 0)
    this.#pulse = new Pulse(engine, session, {
      isClaiming: (runId) => this.#claiming.has(runId) || this.#arriving.has(runId),
      onGivenBack: (dueInMs) => this.wakeIn(dueInMs),
    })
  }

  /** Whether a run may start a step. */
  mayStart(run: Execution): boolean {
    return this.#pulse.mayStart(run)
  }

  start(): void {
    outsideOfRequests(() => {
      const beatMs = Math.min(MAX_BEAT_MS, this.#engine.options.leaseMs / BEATS_PER_LEASE)
      this.#every(beatMs, UPKEEP.beat, () => {
        this.#lookAtQuiet()
        return this.#pulse.beat()
      })
      this.#every(PRUNE_MS, UPKEEP.prune, () => this.#prune())
      if (!this.#engine.options.worker) return
      this.#every(this.#engine.options.pollMs, UPKEEP.reap, () => this.#reap())
      void this.#reap()
        .catch((error: unknown) => this.#onSilence(error))
        .finally(() => this.wake())
    })
  }

  stop(): void {
    this.#stopped = true
    this.#next?.timer.cancel()
    this.#nextPoll?.cancel()
    for (const timer of [...this.#timers, ...this.#onProbation.values()]) timer.cancel()
    this.#timers.clear()
  }

  /** Something may be due. */
  wake(): void {
    if (this.#stopped || !this.#engine.options.worker) return
    this.#again = true
    if (!this.#polling) outsideOfRequests(() => void this.#poll())
  }

  /** Something will be due then. */
  wakeIn(inMs: number): void {
    const at = this.#engine.clock.now() + inMs
    if (this.#stopped || (this.#next && this.#next.at <= at)) return
    this.#next?.timer.cancel()
    const timer = outsideOfRequests(() =>
      this.#engine.clock.setTimeout(() => {
        this.#next = null
        this.wake()
      }, inMs),
    )
    this.#next = { timer, at }
  }

  /** An execution was parked or is over: there may be room for another. */
  onReleased(): void {
    const onProbation = this.#onProbation.size
    this.#dropReleased()
    if (!this.#full && this.#onProbation.size === onProbation) return
    this.#full = false
    this.wake()
  }

  /** A run has committed an outcome: it is nothing that kills at once. */
  onGotOn(runId: string): void {
    if (!this.#onProbation.has(runId)) return
    this.#endProbation(runId)
    this.wake()
  }

  #dropReleased(): void {
    for (const runId of [...this.#places.taken, ...this.#onProbation.keys()]) {
      if (this.#arriving.has(runId)) continue
      const state = this.#engine.find(runId)?.run?.state
      if (state !== undefined && state !== 'over' && state !== 'parked') continue
      this.#places.giveUp(runId)
      this.#endProbation(runId)
    }
  }

  /** What has hung for a while makes room, and is told of after a longer one. */
  #lookAtQuiet(): void {
    this.#hanging.look(this.#engine.liveRuns, this.#engine.clock.now(), this.#engine.options.warn)
    this.#places.look((runId) => this.#quietMs(runId))
    if (!this.#full || this.#places.free <= 0) return
    this.#full = false
    this.wake()
  }

  #quietMs(runId: string): number | null {
    if (this.#arriving.has(runId)) return 0
    const run = this.#engine.find(runId)?.run
    if (!run || run.state === 'over' || run.state === 'parked') return null
    return this.#engine.clock.now() - run.movedAt
  }

  #beginProbation({ id, takeovers }: RunRecord): void {
    const timer = this.#engine.clock.setTimeout(() => {
      this.#endProbation(id)
      this.#engine.find(id)?.run?.onAcquitted()
      this.wake()
    }, probationMs(takeovers))
    this.#onProbation.set(id, timer)
  }

  #endProbation(runId: string): void {
    this.#onProbation.get(runId)?.cancel()
    this.#onProbation.delete(runId)
  }

  /** 'none': there was nothing to claim. 'failed': it is not known, try again. */
  async claimOne(runId: string, evenIfNotDue: boolean): Promise<'claimed' | 'none' | 'failed'> {
    const { worker } = this.#engine.options
    if (this.#claiming.has(runId) || this.#stopped || !this.#pulse.confirmed) return 'failed'
    // Somebody asks for it, that is all: it waits for a place as others do.
    if (worker && !evenIfNotDue && this.#places.free <= this.#claiming.size) return 'none'
    this.#claiming.add(runId)
    try {
      if (!worker) await this.#session.reap()
      const { claimed, sentAt } = await this.#claim({ limit: 1, runId, evenIfNotDue })
      for (const each of claimed) {
        if (worker && !evenIfNotDue) this.#places.take(each.run.id)
        await this.#carryOn(each, sentAt)
      }
      return claimed.length > 0 ? 'claimed' : 'none'
    } catch (error) {
      this.#warn('A run could not be claimed.', error)
      return 'failed'
    } finally {
      this.#claiming.delete(runId)
    }
  }

  async #poll(): Promise<void> {
    this.#polling = true
    try {
      while (this.#again && !this.#stopped) {
        this.#again = false
        await this.#claimDue()
      }
    } catch (error) {
      this.#onSilence(error)
      this.#pollLater()
    } finally {
      this.#polling = false
    }
  }

  async #claimDue(): Promise<void> {
    const { worker } = this.#engine.options
    if (!worker || !this.#engine.canClaim) return
    this.#pollLater()
    // What it cannot keep alive it must not take: others would have to take it over again and again.
    if (!this.#pulse.confirmed) return
    this.#dropReleased()
    const limit = this.#places.free
    this.#full = limit <= 0
    if (this.#full) return
    const { claimed, sentAt, nextInMs } = await this.#claim({ limit })
    for (const each of claimed) {
      this.#places.take(each.run.id)
      try {
        await this.#carryOn(each, sentAt)
      } catch (error) {
        this.#warn('A run could not be carried on.', error) // it is a stray now, and given back by a beat
      }
    }
    if (claimed.length === limit) this.#again = true
    // What is due and was not taken is locked by somebody: looking all the time would not hurry them.
    this.#fruitless = claimed.length === 0 && nextInMs === 0 ? this.#fruitless + 1 : 0
    const pauseMs = this.#fruitless === 0 ? 0 : FRUITLESS_MS * 2 ** Math.min(10, this.#fruitless - 1)
    if (nextInMs !== null) this.wakeIn(Math.max(nextInMs, pauseMs))
  }

  async #claim(
    request: ClaimRequest,
  ): Promise<{ readonly claimed: readonly Claimed[]; readonly sentAt: number; readonly nextInMs: number | null }> {
    const { hotEpochs: hot, hosts, clock } = this.#engine
    const suspects = Math.max(0, MAX_ON_PROBATION - this.#onProbation.size - this.#reserved)
    const sentAt = clock.now()
    this.#reserved += suspects
    try {
      const claimer = { hot, servers: [...hosts.ready], preferMs: PREFER_MS, suspects }
      const { at, claimed, nextDueAt } = await this.#session.claim({ ...claimer, ...request })
      this.#engine.onStoreTime(at)
      if (this.#stopped) return { claimed: [], sentAt, nextInMs: null } // they are given back with the session
      for (const { run } of claimed) {
        this.#arriving.add(run.id)
        if (run.onProbation) this.#beginProbation(run)
      }
      return { claimed, sentAt, nextInMs: nextDueAt === null ? null : Math.max(0, nextDueAt - at) }
    } finally {
      this.#reserved -= suspects
    }
  }

  async #carryOn(claimed: Claimed, sentAt: number): Promise<void> {
    try {
      await this.#engine.carryOn(claimed, sentAt)
    } finally {
      this.#arriving.delete(claimed.run.id)
    }
  }

  async #reap(): Promise<void> {
    if ((await this.#session.reap()) > 0) this.wake()
  }

  async #prune(): Promise<void> {
    for (let more = true; more && !this.#stopped;) {
      more = (await this.#session.prune(this.#engine.options.retentionMs)).more
    }
  }

  /** Whatever was not told of what is due: another process may have committed it. */
  #pollLater(): void {
    if (this.#stopped || this.#nextPoll) return
    const { clock, options } = this.#engine
    const poll = (): void => {
      this.#nextPoll = null
      this.wake()
    }
    this.#nextPoll = outsideOfRequests(() => setUpkeep(clock, poll, options.pollMs, UPKEEP.poll))
  }

  #every(ms: number, rank: number, work: () => Promise<void>): void {
    const callback = (): void => {
      this.#timers.delete(timer)
      if (this.#stopped) return
      work()
        .then(
          () => this.#onAnswer(),
          (error: unknown) => this.#onSilence(error),
        )
        .finally(() => {
          if (!this.#stopped) this.#every(ms, rank, work)
        })
    }
    const timer = setUpkeep(this.#engine.clock, callback, ms, rank)
    this.#timers.add(timer)
  }

  /** Said once, whatever asks meanwhile. */
  #onSilence(error: unknown): void {
    if (this.#silentSince === null) this.#warn('The store did not answer; it is asked until it does.', error)
    this.#silentSince ??= this.#engine.clock.now()
  }

  #onAnswer(): void {
    if (this.#silentSince === null) return
    const seconds = Math.round((this.#engine.clock.now() - this.#silentSince) / 1000)
    this.#silentSince = null
    this.#warn('The store answers again.', `It did not for about ${seconds} s.`)
  }

  #warn(message: string, error: unknown): void {
    if (this.#stopped) return
    this.#engine.options.warn(message, { reason: messageOf(error) })
  }
}
