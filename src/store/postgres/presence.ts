import { createHash } from 'node:crypto'
import type { PoolClient } from 'pg'
import type { Destination } from './hosts.ts'
import { Lane } from './lane.ts'
import { CONFIGURE_LIVENESS } from './sql/schema.ts'
import * as sql from './sql/liveness.ts'
import { quoteIdentifier } from './sql/statement.ts'

export interface PresenceOptions {
  readonly destination: Destination
  readonly schema: string
  readonly processId: string
  readonly timeoutMs: number
  /** False where a pooler gives each statement another connection: then neither locks nor LISTEN mean anything. */
  readonly ownsConnections: boolean
  readonly onNotification: (payload: string) => void
  /** There is a connection again after one was lost: what was said meanwhile was not heard. */
  readonly onReconnected: () => void
}

/** Twice as long each time: beats come as often as that anyway. */
const FIRST_RECONNECT_MS = 100
const MAX_RECONNECT_MS = 1_000

/**
 * How a process shows that it lives: a session's advisory lock on a connection of its own, which the server drops 4 ms
 * after the process was killed. The same connection carries the beats, and listens for what others notify.
 */
export class Presence {
  readonly lane: Lane
  readonly lockKey: string
  readonly channel: string
  readonly #options: PresenceOptions
  #lockedIn: number | null = null
  #connections = 0
  #reconnecting: ReturnType<typeof setTimeout> | null = null
  #reconnectMs = FIRST_RECONNECT_MS
  #closed = false

  constructor(options: PresenceOptions) {
    const { destination, schema, processId, timeoutMs, ownsConnections } = options
    this.#options = options
    this.lockKey = keyOf(`process ${schema} ${processId}`)
    this.channel = `durable_${createHash('sha256').update(schema).digest('hex').slice(0, 16)}`
    this.lane = new Lane({
      name: 'liveness',
      destination,
      schema,
      size: 1,
      timeoutMs,
      configure: ownsConnections ? CONFIGURE_LIVENESS : null,
      prepares: ownsConnections,
      onConnect: (client) => this.#onConnect(client),
      onLost: () => this.#reconnectSoon(),
    })
  }

  /** The life of the server in which this process took its lock; null while it has none. */
  get lockedIn(): number | null {
    return this.#lockedIn
  }

  /** Tried again with each beat: after a connection was lost, the server may take a while to notice. */
  async lock(): Promise<boolean> {
    if (this.#lockedIn !== null) return true
    if (!this.#options.ownsConnections) return false
    const life = await this.readLife()
    const connections = this.#connections
    const [lock] = await this.lane.query(sql.TAKE_LOCK, this.lockKey)
    // Taken on a connection that is lost again already, it says nothing.
    if (lock?.taken && connections === this.#connections) this.#lockedIn = life
    return lock?.taken ?? false
  }

  /** Since when the server has been up; whoever notices first writes it down. */
  async readLife(): Promise<number> {
    for (;;) {
      const [life] = await this.lane.query(sql.READ_LIFE)
      if (life) return life.since
      await this.lane.query(sql.NOTICE_LIFE)
    }
  }

  close(): Promise<void> {
    this.#stop()
    return this.lane.end()
  }

  abandon(): void {
    this.#stop()
    this.lane.destroy()
  }

  #stop(): void {
    this.#closed = true
    this.#lockedIn = null
    if (this.#reconnecting) clearTimeout(this.#reconnecting)
  }

  async #onConnect(client: PoolClient): Promise<void> {
    this.#connections++
    this.#reconnectMs = FIRST_RECONNECT_MS
    this.#lockedIn = null
    client.on('notification', ({ payload }) => this.#options.onNotification(payload ?? ''))
    client.on('end', () => (this.#lockedIn = null))
    if (!this.#options.ownsConnections) return
    await client.query(`listen ${quoteIdentifier(this.channel)}`)
    if (this.#connections > 1) this.#options.onReconnected()
  }

  /** Not with the next beat only: meanwhile the lock is gone, and nothing is heard. */
  #reconnectSoon(): void {
    this.#lockedIn = null
    if (this.#closed || this.#reconnecting) return
    this.#reconnecting = setTimeout(() => {
      this.#reconnecting = null
      if (!this.#closed) void this.lock().catch(() => this.#reconnectSoon())
    }, this.#reconnectMs)
    this.#reconnectMs = Math.min(MAX_RECONNECT_MS, this.#reconnectMs * 2)
  }
}

/** 64 bits, as PostgreSQL writes a bigint. */
export function keyOf(text: string): string {
  return createHash('sha256').update(`graphql-durable ${text}`).digest().readBigInt64BE().toString()
}
