import type { Clock, Timer } from '../core/clock.ts'
import type { OutcomeRecord } from '../store/store.ts'
import { CallHistory, inOrderOfRelease, orderingOf } from './release-order.ts'
import { onceDrained } from './scheduler.ts'
import type { Turns } from './turns.ts'

/** A tool call that waits for its outcome. */
export interface PumpRequest {
  /** How many tool calls its scope has made. */
  readonly scope: { readonly calls: number }
  settle(outcome: OutcomeRecord): void
}

export interface PumpHost {
  readonly clock: Clock
  readonly turns: Turns
  /** Nothing more is released before something comes: an outcome, or a call. */
  onQuiet(): void
  /** The pump released what it could; nothing that the code asked for is left in it. */
  onDrained(): void
  /** The replay does not get on. The host commits a `PASS` of what has to be passed over, and pushes it. */
  onStalled(stall: Stall): void
  /** What had been passed over was asked for after all. */
  onAskedAfterAll(key: string): void
}

export interface Stall {
  /** What the code did not ask for. Empty: it made fewer calls than it had made when `released` came. */
  readonly passed: readonly string[]
  /** What it did ask for, and is released thereby. */
  readonly released: string
  /** The code waits for something that is new: it may ask for what is passed over when it has got that. */
  readonly awaitsNew: boolean
}

/** How long a replay waits for the code to ask for the journal's next outcome before it passes it over. */
const STALL_MS = 10_000
/** The same, once something has been passed over: the code has changed, and the run need not pay for it again. */
const NEXT_STALL_MS = 100

/**
 * Ordered release (I5): outcomes enter in journal order, and leave in that order, in live execution and in a replay
 * alike, each only once the code has asked for it and has made as many calls as it had made when the outcome was
 * enqueued. So whatever races and combines tools comes out as it did the first time.
 *
 * One outcome is released at a time: `queueMicrotask(() => process.nextTick(release))` fires when the microtasks have
 * drained, which is when the user's code has reacted to the last one, and costs no turn of the event loop. When the
 * process has done enough in this one (turns.ts), the next release comes in a later one; the order stays as it is.
 *
 * Where the code has changed, the order is the journal's still, but for two things that the journal itself has, so that
 * they come out the same in the next replay:
 *
 * - What is new goes before a head that the code does not ask for, and behind what was enqueued after its call, in
 *   whatever life that was: so it goes before nothing that may have been decided upon without it.
 * - A head that is not asked for while something that is asked for waits behind it, and for long, is passed over: it
 *   leaves the order, and is released if the code should ask for it after all.
 *
 * The stretch between a release and the moment the microtasks have drained is a *turn*. Calls made in a turn come in
 * an order that a replay repeats; calls made after an await of something else do not, and start a turn of their own.
 */
export class Pump {
  readonly #host: PumpHost
  readonly #queue: (OutcomeRecord | null)[] = []
  readonly #requests = new Map<string, PumpRequest>()
  /** Keys of outcomes that have not been released. */
  readonly #queued = new Set<string>()
  readonly #history: CallHistory
  /** Positions below come from the journal as it was loaded. */
  readonly #recorded: number
  /** So many of those are in the queue. */
  #recordedLeft = 0
  /** What was passed over, by key. */
  readonly #passed = new Map<string, OutcomeRecord>()
  /** Below this position numbers of calls mean nothing any more. */
  #countedFrom = 0
  /** Outcomes of this life that come while recorded ones are left: they get their place when nothing moves. */
  #held: { readonly key: string; readonly enqueue: (before?: number) => void }[] = []
  /** Outcomes on their way into the journal, by the position that they go before. */
  readonly #reserved = new Map<number, number>()
  /** Recorded outcomes that new ones have gone before. */
  readonly #overtaken = new Map<string, OutcomeRecord>()
  /** The scopes of calls that were made while recorded outcomes were left. */
  readonly #scopes = new Map<string, PumpRequest['scope']>()
  #head = 0
  /** Requests whose outcome is here. */
  #blocked = 0
  #scheduled = false
  /** The next release comes in a later turn of the event loop. */
  #resting = false
  #stopped = false
  #stall: Timer | null = null
  #isPassing = false
  #turn = 0
  #turnOpen = false

  constructor(host: PumpHost, journal: readonly OutcomeRecord[] = []) {
    this.#host = host
    this.#history = new CallHistory(journal)
    this.#recorded = journal.length
    for (const outcome of inOrderOfRelease(journal)) {
      if (outcome.kind === 'PASS' || !isAskedFor(outcome)) continue
      this.#queue.push(outcome)
      this.#queued.add(outcome.key)
      this.#recordedLeft++
    }
    for (const outcome of journal) if (outcome.kind === 'PASS') this.#passOver(outcome)
  }

  /** Nothing that the code asked for is waiting to be released. */
  get idle(): boolean {
    return this.#blocked === 0 && !this.#scheduled && this.#held.length === 0
  }

  /** Everything has been released that could be, and the code has reacted to it. */
  get isQuiet(): boolean {
    return !this.#scheduled && !this.#resting
  }

  /** The code has asked for it, and has not got it. */
  isAwaited(key: string): boolean {
    return this.#requests.has(key)
  }

  /** Recorded outcomes that the code has not asked for, although it went on without them. */
  get unasked(): string[] {
    // Its field has made as many calls as when it came, and this one is not among them: so the code has changed.
    const overtaken = [...this.#overtaken.values()].filter(
      ({ key, calls }) => (this.#scopes.get(scopeOf(key))?.calls ?? 0) >= calls,
    )
    return [...overtaken.map(({ key }) => key), ...this.#passed.keys()].filter((key) => !this.#requests.has(key))
  }

  /** Calls that have been made since the last outcome was enqueued, for the outcome of `key` to tell of. */
  takeCalls(key: string): string[] {
    return this.#history.take(key)
  }

  /** The number of the current turn; opens one if none is open. `loose`: it was opened by this call. */
  turn(): { readonly number: number; readonly loose: boolean } {
    const loose = !this.#turnOpen
    if (loose) this.openTurn()
    return { number: this.#turn, loose }
  }

  /** Starts a turn that lasts until the microtasks have drained: a resolver has been called, or an outcome released. */
  openTurn(): void {
    this.#turn++
    this.#turnOpen = true
    this.#schedule()
  }

  /**
   * Enqueues an outcome of this life once its place is known: at once, or in a replay when nothing moves. `before` is
   * the position of what it goes before; undefined: it goes to the end.
   */
  place(key: string, enqueue: (before?: number) => void): void {
    if (this.#recordedLeft === 0) return enqueue()
    this.#held.push({ key, enqueue })
    this.#schedule()
  }

  push(outcome: OutcomeRecord): void {
    if (outcome.kind === 'PASS') this.#passOver(outcome)
    else if (isAskedFor(outcome)) this.#enter(outcome)
    this.#schedule()
  }

  #enter(outcome: OutcomeRecord): void {
    const { before } = orderingOf(outcome)
    if (before === undefined) this.#queue.push(outcome)
    else {
      const left = (this.#reserved.get(before) ?? 1) - 1
      if (left > 0) this.#reserved.set(before, left)
      else this.#reserved.delete(before)
      const at = this.#queue.findIndex((other, index) => index >= this.#head && other?.pos === before)
      this.#queue.splice(at < 0 ? this.#head : at, 0, outcome)
    }
    this.#queued.add(outcome.key)
    if (this.#requests.has(outcome.key)) this.#blocked++
  }

  request(key: string, request: PumpRequest): void {
    this.#requests.set(key, request)
    if (this.#recordedLeft > 0) this.#scopes.set(scopeOf(key), request.scope)
    if (this.#queued.has(key)) this.#blocked++
    else if (!this.#history.wasCalledBy(key, Infinity)) this.#history.note(key)
    this.#schedule()
  }

  /** Drops what will never be asked for: the outcomes below a root field whose response is in the journal. */
  skip(belongs: (key: string) => boolean): void {
    const drop = ({ key }: OutcomeRecord): void => {
      this.#queued.delete(key)
      if (this.#requests.has(key)) this.#blocked--
    }
    for (let at = this.#head; at < this.#queue.length; at++) {
      const outcome = this.#queue[at]
      if (!outcome || !belongs(outcome.key)) continue
      this.#queue[at] = null
      if (this.#isRecorded(outcome)) this.#recordedLeft--
      drop(outcome)
    }
    for (const [key, outcome] of this.#passed) {
      if (!belongs(key)) continue
      this.#passed.delete(key)
      drop(outcome)
    }
    this.#schedule()
  }

  /** Nothing is released any more. */
  stop(): void {
    this.#stopped = true
    this.#stall?.cancel()
    this.#stall = null
    this.#requests.clear()
    this.#held = []
  }

  #schedule(): void {
    if (this.#scheduled || this.#stopped) return
    this.#scheduled = true
    onceDrained(this.#tick)
  }

  readonly #tick = (): void => {
    this.#scheduled = false
    if (this.#stopped) return
    this.#turnOpen = false
    if (this.#resting || this.#releaseNext()) return
    this.#placeHeld()
    if (this.#blocked > 0) this.#armStall()
    this.#host.onQuiet()
    if (this.#blocked === 0) this.#host.onDrained()
  }

  #releaseNext(): boolean {
    for (const [key, outcome] of this.#passed) {
      const request = this.#requests.get(key)
      if (!request) continue
      if (this.#host.turns.isOver) return this.#rest()
      this.#passed.delete(key)
      this.#host.onAskedAfterAll(key)
      this.#release(outcome, request)
      return true
    }
    const head = this.#peek()
    const request = head && this.#requests.get(head.key)
    if (!request || !this.#isReady(head, request)) return false
    if (this.#host.turns.isOver) return this.#rest()
    this.#queue[this.#head++] = null // it must not be kept for as long as the run
    if (this.#isRecorded(head)) this.#recordedLeft--
    this.#release(head, request)
    return true
  }

  /** The next release comes in a later turn of the event loop. */
  #rest(): true {
    this.#resting = true
    this.#host.turns.take(() => {
      this.#resting = false
      this.#schedule()
    })
    return true
  }

  #isReady(outcome: OutcomeRecord, { scope }: PumpRequest): boolean {
    if (this.#reserved.has(outcome.pos)) return false
    return scope.calls >= outcome.calls || outcome.pos < this.#countedFrom
  }

  #isRecorded({ pos }: OutcomeRecord): boolean {
    return pos < this.#recorded
  }

  #peek(): OutcomeRecord | null {
    while (this.#head < this.#queue.length) {
      const head = this.#queue[this.#head]
      if (head) return head
      this.#head++
    }
    return null
  }

  #release(outcome: OutcomeRecord, request: PumpRequest): void {
    this.#stall?.cancel()
    this.#stall = null
    this.#requests.delete(outcome.key)
    this.#queued.delete(outcome.key)
    this.#overtaken.delete(outcome.key)
    this.#blocked--
    this.openTurn()
    this.#host.turns.spend(outcome.body.length)
    request.settle(outcome)
  }

  /** Nothing can be released: what is new goes before what the code has not asked for, all else to the end. */
  #placeHeld(): void {
    if (this.#held.length === 0) return
    const recorded = this.#waiting().filter((outcome) => this.#isRecorded(outcome))
    for (const { key, enqueue } of this.#held.splice(0)) {
      // Behind whatever was enqueued when it had been called: that has been decided upon without it.
      const at = recorded.findLastIndex(({ pos }) => this.#history.wasCalledBy(key, pos)) + 1
      const next = recorded[at]
      if (next) this.#reserved.set(next.pos, (this.#reserved.get(next.pos) ?? 0) + 1)
      if (next && at === 0) this.#overtaken.set(next.key, next)
      enqueue(next?.pos)
    }
  }

  #waiting(): OutcomeRecord[] {
    return this.#queue.slice(this.#head).filter((outcome) => outcome !== null)
  }

  #armStall(): void {
    if (this.#isPassing || this.#stall) return
    this.#stall = this.#host.clock.setTimeout(() => {
      this.#stall = null
      this.#onStalled()
    }, this.#patienceMs())
  }

  #patienceMs(): number {
    if (this.#countedFrom === 0) return STALL_MS
    const head = this.#peek()
    const asked = this.#waiting().find(({ key }) => this.#requests.has(key))
    // It had not been called when the head came: had the code not changed, the head would have been asked for.
    return head && asked && !this.#history.wasCalledBy(asked.key, head.pos) ? 0 : NEXT_STALL_MS
  }

  #onStalled(): void {
    const waiting = this.#waiting()
    const [head] = waiting
    const asked = waiting.findIndex(({ key }) => this.#requests.has(key))
    const released = waiting[asked]
    if (!head || !released || this.#reserved.size > 0) return
    this.#isPassing = true
    this.#host.onStalled({
      passed: waiting.slice(0, asked).map(({ key }) => key),
      released: released.key,
      awaitsNew: [...this.#requests.keys()].some(
        (key) => !this.#queued.has(key) && !this.#history.wasCalledBy(key, head.pos),
      ),
    })
  }

  /** It is in the journal that the code does not ask for them any more. */
  #passOver(pass: OutcomeRecord): void {
    const keys = new Set(orderingOf(pass).passed)
    for (let at = this.#head; at < this.#queue.length; at++) {
      const outcome = this.#queue[at]
      if (!outcome || !keys.has(outcome.key)) continue
      this.#queue[at] = null
      if (this.#isRecorded(outcome)) this.#recordedLeft--
      this.#passed.set(outcome.key, outcome)
    }
    this.#countedFrom = pass.pos
    this.#isPassing = false
  }
}

/** Responses of root fields and what a pass has answered are nobody's who calls a tool. */
function isAskedFor({ kind }: OutcomeRecord): boolean {
  return kind !== 'FIELD' && kind !== 'ANSWER'
}

/** Of a key: the field that it belongs to. */
function scopeOf(key: string): string {
  return key.slice(0, key.indexOf('>'))
}
