import type { Timer } from '../core/clock.ts'
import { parseKey } from '../core/keys.ts'
import type { EventQuery, EventRecord, NewWait, WaitKind, WaitRecord } from '../store/store.ts'
import type { WaitSnapshot } from '../types.ts'
import type { Execution } from './execution.ts'
import type { Scope } from './scope.ts'

export interface WaitSpec {
  readonly key: string
  readonly kind: WaitKind
  readonly scope: Scope
  readonly event: string | null
  readonly match: string | null
  /** From now; null: no end. */
  readonly forMs: number | null
  readonly attempts: number
  /** The wait is over. `event`: what came, or null on its end. Called once, with the wait removed. */
  readonly onOver: (event: EventRecord | null) => void
}

interface Wait {
  readonly spec: WaitSpec
  readonly seq: number
  /** On the store's clock; null: no end, or not known before it is committed. */
  until: number | null
  since: number
  /** In the store. A wait that the request sits out is not. */
  registered: boolean
  /** It is on its way to the store, or there already. */
  registering: boolean
  expired: boolean
  timer: Timer | null
}

/** No Date is later; a day is left for clocks that differ. */
const MAX_INSTANT = 8.64e15 - 86_400_000

/**
 * The waits of one execution that are open.
 *
 * A wait that the request may sit out needs no commit, except for events: those must find it. Any other is committed
 * when it is called, with a fixed end, so that a crash an hour later does not start it anew. An end is met by timers
 * here while the run is held, and by the run's due time once it is parked.
 */
export class Waits {
  readonly #execution: Execution
  readonly #open = new Map<string, Wait>()
  /** Waits in the store that the code has not called yet in this life. */
  readonly #stored: Map<string, WaitRecord>
  #seq: number
  #afterScan: (() => void)[] = []
  #scanning = false
  #rescan = false

  constructor(execution: Execution, stored: readonly WaitRecord[]) {
    this.#execution = execution
    this.#stored = new Map(stored.map((wait) => [wait.key, wait]))
    this.#seq = stored.reduce((highest, wait) => Math.max(highest, wait.seq), 0)
  }

  get size(): number {
    return this.#open.size
  }

  /** Whether the tool that was called under this key waits. */
  has(key: string): boolean {
    return this.#open.has(key)
  }

  get allRegistered(): boolean {
    for (const wait of this.#open.values()) if (!wait.registered) return false
    return true
  }

  /** The earliest end, on the store's clock. */
  get nextAt(): number | null {
    let next: number | null = null
    for (const { until } of this.#open.values()) if (until !== null && (next === null || until < next)) next = until
    return next
  }

  /** What a wait under this key that an earlier life left in the store has come to. */
  storedAttempts(key: string): { readonly attempts: number; readonly until: number | null } | null {
    const stored = this.#stored.get(key)
    return stored?.kind === 'RETRY' ? stored : null
  }

  add(spec: WaitSpec): void {
    const stored = this.#stored.get(spec.key)
    if (stored?.kind === spec.kind) return this.#takeUp(spec, stored)
    const now = this.#execution.engine.storeNow()
    const forMs = spec.forMs === null ? null : Math.min(spec.forMs, MAX_INSTANT - now)
    const held = this.#execution.owner.mayHold(forMs, spec.scope)
    const registering = !held || spec.event !== null
    const wait: Wait = {
      spec,
      seq: ++this.#seq,
      since: now,
      until: forMs === null ? null : now + forMs,
      registered: false,
      registering,
      expired: false,
      timer: null,
    }
    this.#open.set(spec.key, wait)
    if (!registering) return this.#arm(wait)
    this.#execution.openWait(toNewWait(wait, forMs))
  }

  /** The lease is given back only with every wait in the store. */
  registerAll(): void {
    for (const wait of this.#open.values()) {
      if (wait.registering) continue
      wait.registering = true
      const forMs = wait.until === null ? null : Math.max(0, wait.until - this.#execution.engine.storeNow())
      this.#execution.openWait(toNewWait(wait, forMs))
    }
  }

  onRegistered({ key, forMs }: NewWait, at: number): void {
    const wait = this.#open.get(key)
    if (!wait) return
    wait.registered = true
    wait.since = at
    wait.until = forMs === null ? null : at + forMs
    this.#arm(wait)
    const { scope, event } = wait.spec
    const defer = (): void => {
      if (!this.#open.has(key)) return
      const endsInMs = wait.until === null ? null : wait.until - this.#execution.engine.storeNow()
      if (!this.#execution.owner.mayHold(endsInMs, scope)) this.#execution.owner.defer(scope)
    }
    // An event that is there already is no reason to defer.
    if (event === null) defer()
    else this.scan(defer)
  }

  /** The code abandoned it (its `signal` aborted). False where it is over already. */
  close(key: string): boolean {
    const wait = this.#open.get(key)
    if (!wait) return false
    this.#remove(wait)
    return true
  }

  forget(key: string): void {
    this.#stored.delete(key)
  }

  /** Looks for events that open waits are waiting for. */
  scan(then?: () => void): void {
    if (then) this.#afterScan.push(then)
    this.#rescan = true
    if (!this.#scanning) void this.#scan()
  }

  scanIfWaiting(): void {
    for (const wait of this.#open.values()) if (wait.spec.event !== null) return this.scan()
  }

  /** The run was claimed again: timers run again, and what came meanwhile is looked for. */
  resume(): void {
    for (const wait of this.#open.values()) this.#arm(wait)
    this.scan()
  }

  pause(): void {
    for (const wait of this.#open.values()) {
      wait.timer?.cancel()
      wait.timer = null
    }
  }

  stop(): void {
    this.pause()
    this.#open.clear()
    this.#stored.clear()
  }

  snapshots(): WaitSnapshot[] {
    const committed = [...this.#open.values()].filter((wait) => wait.registered)
    return committed.map(({ spec, since, until }) => ({
      ...parseKey(spec.key),
      kind: spec.kind,
      event: spec.event,
      since: new Date(since),
      until: until === null ? null : new Date(until),
    }))
  }

  #takeUp(spec: WaitSpec, stored: WaitRecord): void {
    this.#stored.delete(spec.key)
    const wait: Wait = {
      spec,
      seq: stored.seq,
      since: stored.since,
      until: stored.until,
      registered: true,
      registering: true,
      expired: false,
      timer: null,
    }
    this.#open.set(spec.key, wait)
    this.#arm(wait)
    if (spec.event !== null) this.scan()
  }

  #arm(wait: Wait): void {
    if (wait.timer || wait.until === null || this.#execution.state !== 'live') return
    const inMs = Math.max(0, wait.until - this.#execution.engine.storeNow())
    wait.timer = this.#execution.clock.setTimeout(() => {
      wait.timer = null
      this.#onExpired(wait)
    }, inMs)
  }

  #onExpired(wait: Wait): void {
    if (!this.#open.has(wait.spec.key) || this.#execution.state !== 'live') return
    // Timers may be early, and clocks be set back: the end is on the store's clock.
    if (wait.until !== null && this.#execution.engine.storeNow() < wait.until) return this.#arm(wait)
    // An event accepted before the timeout beats it (I6): it is looked for once more.
    if (wait.spec.event !== null) {
      wait.expired = true
      return this.scan()
    }
    this.#remove(wait)
    wait.spec.onOver(null)
  }

  #remove(wait: Wait): void {
    wait.timer?.cancel()
    wait.timer = null
    this.#open.delete(wait.spec.key)
  }

  /** One look-up at a time, so that one event cannot settle two waits. */
  async #scan(): Promise<void> {
    this.#scanning = true
    const release = this.#execution.holdLease()
    try {
      while (this.#rescan) {
        this.#rescan = false
        const then = this.#afterScan.splice(0)
        const isComplete = await this.#scanOnce()
        if (isComplete) for (const next of then) next()
        else {
          this.#rescan = true
          this.#afterScan.unshift(...then)
        }
      }
    } catch (cause) {
      this.#execution.engine.onLookUpFailed(this.#execution, cause)
    } finally {
      this.#scanning = false
      release()
    }
  }

  /** False where it has to be done again: an event was found for a wait that has been closed meanwhile. */
  async #scanOnce(): Promise<boolean> {
    const { consumed, engine, beganAt } = this.#execution
    const waits = [...this.#open.values()]
      .filter((wait) => wait.spec.event !== null && wait.registered)
      .toSorted((a, b) => a.seq - b.seq)
    if (waits.length === 0 || this.#execution.state !== 'live') return true
    const queries = waits.map(({ spec, until }): EventQuery => {
      return { name: spec.event ?? '', match: spec.match, since: beganAt, until, exclude: consumed }
    })
    // Those whose end comes while they are looked for are looked for once more (I6).
    const expired = new Set(waits.filter((wait) => wait.expired))
    const found = await engine.store.call((session) => session.findEvents(queries))
    if (this.#execution.state !== 'live') return true
    for (const [index, wait] of waits.entries()) {
      const event = found[index] ?? null
      if (!this.#open.has(wait.spec.key)) {
        if (event) return false // it is for one of those that follow
        continue
      }
      if (event) {
        consumed.add(event.id)
        this.#remove(wait)
        wait.spec.onOver(event)
      } else if (expired.has(wait)) {
        this.#remove(wait)
        wait.spec.onOver(null)
      }
    }
    return true
  }
}

function toNewWait(wait: Wait, forMs: number | null): NewWait {
  const { key, kind, event, match, attempts } = wait.spec
  return { key, kind, seq: wait.seq, event, match, forMs, attempts }
}
