import { isNested } from '../core/keys.ts'
import type { EventQuery, EventRecord, NewWait, WaitKind, WaitRecord } from '../store/store.ts'
import type { WaitSnapshot } from '../types.ts'
import type { Execution } from './execution.ts'
import type { Scope } from './scope.ts'
import { countTogether, inOrderOfInstants } from './settling.ts'
import type { Over } from './settling.ts'
import { changeOf, toNewWait, toWaitSnapshot, withinDates } from './wait.ts'
import type { Wait, WaitSpec } from './wait.ts'

/**
 * The waits of one execution that are open.
 *
 * A wait that the request may sit out needs no commit, except for events, which must find it, and for retries, whose
 * attempts count. Any other is committed when it is called, with a fixed end, so that a crash an hour later does not start it anew. An end is met by timers
 * here while the run is held, and by the run's due time once it is parked.
 */
export class Waits {
  readonly #execution: Execution
  readonly #open = new Map<string, Wait>()
  /** Waits in the store that the code has not called yet in this life. */
  readonly #stored: Map<string, WaitRecord>
  #seq: number
  #afterScan: (() => void)[] = []
  readonly #toDefer = new Set<Scope>()
  /** Something may be over. */
  #isDue = false
  /** There may be an event that no look-up has seen. */
  #needsLookUp = false
  #isLookingUp = false
  /** Waits that were settled, and whose outcomes have not been released. */
  readonly #settled = new Set<string>()
  /** What is over and still to be settled, in order; as of a look at all of them. */
  #over: Over[] = []

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

  /** What an earlier life left in the store under this key, and the code has not asked for yet. */
  storedKind(key: string): WaitKind | null {
    return this.#stored.get(key)?.kind ?? null
  }

  /** When the tool of this key was first called, on this process's clock; null where no wait tells. */
  storedStart(key: string): number | null {
    const stored = this.#stored.get(key)
    if (!stored) return null
    return this.#execution.clock.now() - Math.max(0, this.#execution.engine.storeNow() - stored.since)
  }

  add(spec: WaitSpec): void {
    const stored = this.#stored.get(spec.key)
    if (stored?.kind === spec.kind) return this.#takeUp(spec, stored)
    const now = this.#execution.engine.storeNow()
    const forMs = withinDates(spec.forMs, now)
    const held = this.#execution.owner.mayHold(forMs, spec.scope)
    // Of a retry the store has to know how many attempts there were: whoever goes on with the run counts on from there.
    const registering = !held || spec.event !== null || spec.kind === 'RETRY'
    const wait: Wait = {
      spec,
      seq: ++this.#seq,
      since: now - Math.max(0, this.#execution.clock.now() - spec.startedAt),
      until: forMs === null ? null : now + forMs,
      registered: false,
      registering,
      keepsEnd: false,
      timer: null,
    }
    this.#open.set(spec.key, wait)
    this.#lookAgain()
    if (!registering) return this.#arm(wait)
    this.#execution.openWait(toNewWait(wait, now))
  }

  /** The lease is given back only with every wait in the store. */
  registerAll(): void {
    for (const wait of this.#open.values()) {
      if (wait.registering) continue
      wait.registering = true
      this.#execution.openWait(toNewWait(wait, this.#execution.engine.storeNow()))
    }
  }

  onRegistered({ key, forMs, agoMs = 0 }: NewWait, at: number): void {
    const wait = this.#open.get(key)
    if (!wait) return
    wait.registered = true
    wait.since = at - agoMs
    if (!wait.keepsEnd) wait.until = forMs === null ? null : at + forMs
    this.#arm(wait)
    const { scope, event } = wait.spec
    const defer = (): void => {
      if (!this.#open.has(key)) return
      const endsInMs = wait.until === null ? null : wait.until - this.#execution.engine.storeNow()
      if (!this.#execution.owner.mayHold(endsInMs, scope)) this.#toDefer.add(scope)
    }
    // An event that is there already is no reason to defer.
    if (event === null) defer()
    else this.#afterScan.push(defer)
  }

  /** Once for all waits that a commit has registered: events are looked for, and what must wait is deferred. */
  afterRegistered(): void {
    if (this.#afterScan.length > 0) this.scan()
    this.#deferFields()
  }

  /** The switch: once for each field, however many waits it has. */
  #deferFields(): void {
    const scopes = [...this.#toDefer]
    this.#toDefer.clear()
    for (const scope of scopes) this.#execution.owner.defer(scope)
  }

  /** The code abandoned it (its `signal` aborted). False where it is over already. */
  close(key: string): boolean {
    const wait = this.#open.get(key)
    if (!wait) return false
    this.#remove(wait)
    this.#lookAgain()
    return true
  }

  forget(key: string): void {
    this.#stored.delete(key)
  }

  /** Looks for events that open waits are waiting for. */
  scan(then?: () => void): void {
    if (then) this.#afterScan.push(then)
    this.#needsLookUp = true
    this.#check()
  }

  scanIfWaiting(): void {
    for (const wait of this.#open.values()) if (wait.spec.event !== null) return this.scan()
  }

  /** The run was claimed again: timers run again, and what came meanwhile is looked for. */
  resume(): void {
    for (const wait of this.#open.values()) this.#arm(wait)
    this.scan()
  }

  /** The code has reacted to what was released last. */
  onQuiet(): void {
    if (this.#isDue) this.#settle()
  }

  pause(): void {
    this.#over = []
    for (const wait of this.#open.values()) {
      wait.timer?.cancel()
      wait.timer = null
    }
  }

  stop(): void {
    this.pause()
    for (const { spec } of this.#open.values()) spec.onGone?.()
    this.#open.clear()
    this.#stored.clear()
    this.#afterScan = []
  }

  /** Where the field of a wait stands in the response; undefined where the code has not come to it in this life. */
  responsePathOf(key: string): readonly (string | number)[] | undefined {
    const scope = this.#open.get(key)?.spec.scope
    return scope && !isNested(scope.key) ? scope.path : undefined
  }

  snapshots(): WaitSnapshot[] {
    const committed = [...this.#open.values()].filter((wait) => wait.registered)
    return committed.map(({ spec: { key, kind, event, scope }, since, until }) =>
      toWaitSnapshot({ key, kind, event, since, until }, isNested(scope.key) ? null : scope.path),
    )
  }

  /**
   * A wait that an earlier life called. Its end stays, and so does a sleep whose duration has changed. An event wait
   * whose event, match or having a timeout has changed is replaced by what the code asks for now: an event that fits
   * the old one alone is none for it.
   */
  #takeUp(spec: WaitSpec, stored: WaitRecord): void {
    this.#stored.delete(spec.key)
    const now = this.#execution.engine.storeNow()
    const forMs = withinDates(spec.forMs, now)
    const change = changeOf(spec, stored)
    const keepsEnd = spec.kind !== 'EVENT' || (forMs === null) === (stored.until === null)
    const wait: Wait = {
      spec,
      seq: stored.seq,
      since: stored.since,
      until: keepsEnd ? stored.until : forMs === null ? null : now + forMs,
      registered: change === null,
      registering: true,
      keepsEnd,
      timer: null,
    }
    this.#open.set(spec.key, wait)
    this.#lookAgain()
    if (change !== null) {
      this.#execution.note.tell(`The wait "${spec.key}" was replaced, since the code asks for another now: ${change}.`)
      return this.#execution.openWait(toNewWait(wait, now))
    }
    this.#arm(wait)
    if (spec.event !== null) this.scan()
  }

  #arm(wait: Wait): void {
    if (wait.timer || wait.until === null || this.#execution.state !== 'live') return
    const inMs = Math.max(0, wait.until - this.#execution.engine.storeNow())
    wait.timer = this.#execution.clock.setTimeout(() => {
      wait.timer = null
      this.#onTimer(wait)
    }, inMs)
  }

  #onTimer(wait: Wait): void {
    if (this.#open.get(wait.spec.key) !== wait) return
    // Timers may be early, and clocks be set back: the end is on the store's clock.
    if (wait.until !== null && this.#execution.engine.storeNow() < wait.until) return this.#arm(wait)
    this.#check()
  }

  #remove(wait: Wait): void {
    wait.timer?.cancel()
    wait.timer = null
    this.#open.delete(wait.spec.key)
    wait.spec.onGone?.()
  }

  #check(): void {
    this.#isDue = true
    this.#settle()
  }

  /**
   * Whether what is over can be told. Not while the code is reacting to what was over before: it may open a wait that was
   * over earlier, or close one. Nor while an event wait is on its way to the store, which may be over by an event that
   * came before anything else.
   */
  #maySettle(): boolean {
    const { state, pump } = this.#execution
    if (state !== 'live' || !pump.isQuiet || this.#isLookingUp) return false
    for (const key of this.#settled) {
      if (pump.isAwaited(key)) return false
      this.#settled.delete(key)
    }
    for (const wait of this.#open.values()) if (wait.spec.event !== null && !wait.registered) return false
    return true
  }

  /** Settles what is over at this moment, whatever it was found by. */
  #settle(): void {
    if (!this.#maySettle()) return
    if (this.#over.length > 0 && !this.#needsLookUp) {
      this.#settleNext()
      if (this.#over.length > 0 || this.#settled.size > 0) return // and looks again after that
    }
    const now = this.#execution.engine.storeNow()
    const asked = this.#toLookUp(now)
    if (asked.length > 0) return void this.#lookUp(asked, now)
    this.#isDue = false
    this.#needsLookUp = false
    this.#settleOver(new Map(), now)
  }

  /** Event waits, oldest first: of one event the oldest gets it (I6). None where no look-up is needed. */
  #toLookUp(now: number): Wait[] {
    const open = [...this.#open.values()]
    const asked = open.filter(({ spec }) => spec.event !== null)
    const isNeeded =
      this.#needsLookUp || open.some(({ spec, until }) => spec.kind !== 'RETRY' && until !== null && until <= now)
    return isNeeded ? asked.toSorted((a, b) => a.seq - b.seq) : []
  }

  /** One look-up at a time, so that one event cannot settle two waits. */
  async #lookUp(asked: readonly Wait[], now: number): Promise<void> {
    const execution = this.#execution
    const { consumed, engine, beganAt } = execution
    const release = execution.holdLease()
    this.#isLookingUp = true
    this.#isDue = false
    this.#needsLookUp = false
    try {
      const queries = asked.map(({ spec, until }): EventQuery => {
        const name = spec.event ?? ''
        return { name, match: spec.match, since: beganAt, until, exclude: consumed.of(name) }
      })
      const events = await engine.store.call((session) => session.findEvents(queries))
      this.#isLookingUp = false
      if (execution.state !== 'live') return
      const found = new Map(asked.map((wait, index) => [wait, events[index] ?? null]))
      // What a wait would have got that was closed meanwhile is for one of those that follow.
      const isStale = asked.some((wait) => found.get(wait) && this.#open.get(wait.spec.key) !== wait)
      if (isStale) this.#needsLookUp = this.#isDue = true
      else this.#settleOver(found, now)
      if (this.#isDue) this.#settle()
    } catch (cause) {
      engine.onLookUpFailed(execution, cause)
    } finally {
      this.#isLookingUp = false
      release()
    }
  }

  #settleOver(found: ReadonlyMap<Wait, EventRecord | null>, now: number): void {
    this.#over = inOrderOfInstants(this.#open.values(), found, now)
    this.#settleNext()
    if (this.#isDue || this.#over.length > 0) return
    for (const then of this.#afterScan.splice(0)) then()
    this.#deferFields()
  }

  /** One instant at a time: what follows is settled when the code has reacted, unless it opens or closes a wait then. */
  #settleNext(): void {
    while (this.#over.length > 0) {
      for (const { wait, event } of this.#over.splice(0, countTogether(this.#over))) {
        if (event) this.#execution.consumed.add(event.name, event.id)
        this.#remove(wait)
        if (wait.spec.kind !== 'RETRY') this.#settled.add(wait.spec.key)
        wait.spec.onOver(event)
      }
      if (this.#settled.size === 0) continue // an attempt begins, which nobody waits for here
      if (this.#over.length > 0) this.#isDue = true
      return
    }
  }

  /** What is open has changed: what is over is found anew, and in what order. */
  #lookAgain(): void {
    if (this.#over.length === 0) return
    this.#over = []
    this.#isDue = this.#needsLookUp = true
  }
}
