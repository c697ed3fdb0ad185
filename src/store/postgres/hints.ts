import { randomBytes } from 'node:crypto'
import type { StoreHint } from '../store.ts'
import { fromText } from '../text.ts'

type Listener = (hint: StoreHint) => void

export interface HintsOptions {
  /** Carries payloads to the other sessions. It may fail. */
  readonly notify: (payloads: readonly string[]) => Promise<unknown>
}

/** NOTIFY takes a lock on the whole server when it commits: many hints go in one, and in no commit of a run's. */
const SOON_MS = 5
/** Somebody watches a run's progress; nothing waits for it. */
const LATER_MS = 200
const POLL_MS = 500
/** Beyond, "something has changed" is all that is said. */
const MAX_PAYLOADS = 100
/** The server takes 8,000 bytes. */
const MAX_PAYLOAD = 2_000

/**
 * Carries hints among sessions, of this process and of others: a hint, never a promise. What this session does is told
 * to its own watchers at once, and to the others by NOTIFY, a little later.
 */
export class Hints {
  readonly #options: HintsOptions
  readonly #sender = randomBytes(6).toString('hex')
  readonly #watchers = new Set<Listener>()
  #outgoing = new Map<string, StoreHint>()
  #timer: ReturnType<typeof setTimeout> | null = null
  #isSoon = false
  #polling: ReturnType<typeof setInterval> | null = null
  #closed = false

  constructor(options: HintsOptions) {
    this.#options = options
  }

  watch(listener: Listener): () => void {
    // An entry of its own, so that one listener may watch twice.
    const watcher: Listener = (hint) => listener(hint)
    this.#watchers.add(watcher)
    return () => void this.#watchers.delete(watcher)
  }

  emit(hint: StoreHint): void {
    if (this.#closed) return
    // "Another process wrote" is no news to the one that did.
    if (hint.kind !== 'changed') this.deliver(hint)
    this.#outgoing.set('runId' in hint ? hint.kind + hint.runId : hint.kind, hint)
    this.#schedule(hint.kind === 'changed' ? LATER_MS : SOON_MS, hint.kind !== 'changed')
  }

  /** Later, in a microtask: nobody is called back from inside a call. */
  deliver(hint: StoreHint): void {
    queueMicrotask(() => {
      for (const watcher of this.#watchers) watcher(hint)
    })
  }

  /** What another session said. */
  receive(payload: string): void {
    const [sender = '', kind, ...runId] = payload.split(' ')
    if (sender === this.#sender) return
    const hint = toHint(kind, fromText(runId.join(' ')))
    if (hint) this.deliver(hint)
  }

  /** A payload that every session hears and none understands. */
  testPayload(): string {
    return `${randomBytes(6).toString('hex')} test`
  }

  /** For connections that hear nothing: whoever watches is told now and then that something may have changed. */
  poll(): void {
    this.#polling ??= setInterval(() => this.deliver({ kind: 'changed' }), POLL_MS)
  }

  close(): void {
    this.#closed = true
    this.#watchers.clear()
    if (this.#timer) clearTimeout(this.#timer)
    if (this.#polling) clearInterval(this.#polling)
  }

  /** Before the connection is closed: what has not been said yet. */
  async flush(): Promise<void> {
    const hints = [...this.#outgoing.values()]
    this.#outgoing = new Map()
    if (hints.length === 0) return
    const payloads = hints.map((hint) => this.#toPayload(hint)).filter((payload) => payload.length <= MAX_PAYLOAD)
    const isTooMuch = payloads.length < hints.length || payloads.length > MAX_PAYLOADS
    const sent = isTooMuch ? ['due', 'changed'].map((kind) => `${this.#sender} ${kind}`) : payloads
    await this.#options.notify(sent).catch(() => {}) // whoever missed it polls
  }

  #toPayload(hint: StoreHint): string {
    return `${this.#sender} ${hint.kind}${'runId' in hint ? ` ${hint.runId}` : ''}`
  }

  #schedule(inMs: number, isSoon: boolean): void {
    if (this.#timer && (this.#isSoon || !isSoon)) return
    if (this.#timer) clearTimeout(this.#timer)
    this.#isSoon = isSoon
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.#isSoon = false
      void this.flush()
    }, inMs)
  }
}

function toHint(kind: string | undefined, runId: string): StoreHint | null {
  switch (kind) {
    case 'due':
    case 'changed':
      return { kind }
    case 'signalled':
    case 'ended':
      return { kind, runId }
    default:
      return null
  }
}
