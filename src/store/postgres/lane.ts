import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { Pool, type PoolClient, type PoolConfig, type QueryResultRow } from 'pg'
import { fromText, toText } from '../text.ts'
import { driverConfig, GOODBYE_MS, streamOf } from './driver.ts'
import { toStoreError } from './errors.ts'
import type { Destination } from './hosts.ts'
import { inSchema, type Statement } from './sql/statement.ts'
import type { Place } from './sql/timeline.ts'

export interface LaneOptions {
  /** For the server's list of connections, and for its log. */
  readonly name: string
  readonly destination: Destination
  readonly schema: string
  readonly size: number
  /** An answer that takes longer is not waited for: the connection is given up. */
  readonly timeoutMs: number
  /** Sent to every new connection; null: nothing. */
  readonly configure: string | null
  /** A pooler may hand each statement to another connection, which does not know what was prepared on this one. */
  readonly prepares: boolean
  /** Called with every new connection, before it is used. What it throws counts as a failure to connect. */
  readonly onConnect?: (client: PoolClient) => Promise<void>
  /** An idle connection was lost. */
  readonly onLost?: () => void
}

/** Sends statements one after the other over one connection. */
export interface Connection {
  query<P extends readonly unknown[], Row>(statement: Statement<P, Row>, ...params: P): Promise<Row[]>
  /** For what is no prepared statement: migrations. */
  execute(sql: string): Promise<void>
}

/** Also for whoever waits until a connection of a busy lane is free. */
const CONNECT_TIMEOUT_MS = 10_000
const KEEP_ALIVE_AFTER_MS = 5_000

/**
 * Connections for one purpose. What has a lane of its own never waits for what has not: with one pool for all, resolvers
 * that hold every connection while they await a commit would wait for ever.
 *
 * A lane connects when it is used, and again after its connection was lost; whoever waited gets a transient error.
 */
export class Lane implements Connection {
  readonly #options: LaneOptions
  readonly #pool: Pool
  /** Those that are being made as well: they may lead nowhere. */
  readonly #sockets = new Set<Duplex>()
  readonly #places = new Map<PoolClient, Place | null>()
  readonly #unlisten: () => void
  #ended: Promise<void> | null = null

  constructor(options: LaneOptions) {
    this.#options = options
    const { name, size, timeoutMs } = options
    const { config, timelines } = options.destination
    this.#pool = new Pool({
      ...driverConfig(config),
      application_name: `graphql-durable ${name}`,
      max: size,
      min: 0,
      idleTimeoutMillis: 0,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      query_timeout: timeoutMs,
      keepAlive: true,
      keepAliveInitialDelayMillis: KEEP_ALIVE_AFTER_MS,
      // A connection that is closed for its age takes the process's lock with it.
      maxUses: Number.POSITIVE_INFINITY,
      maxLifetimeSeconds: 0,
      allowExitOnIdle: false,
      stream: (...given: unknown[]) => this.#track(makeStream(config, given)),
      // oxlint-disable-next-line promise/no-callback-in-promise -- the driver's hook knows no promises
      verify: (client, done) => void this.#prepare(client).then(() => done(), done),
    })
    this.#pool.on('error', () => options.onLost?.())
    this.#pool.on('remove', (client) => this.#places.delete(client))
    this.#unlisten = timelines.onRaised(() => this.#cutStale())
  }

  async query<P extends readonly unknown[], Row>(statement: Statement<P, Row>, ...params: P): Promise<Row[]> {
    return this.#use((client) => this.#send(client, statement, params))
  }

  async execute(sql: string): Promise<void> {
    await this.#use((client) => client.query(inSchema(sql, this.#options.schema)))
  }

  /** One transaction. Rolled back if `body` throws. */
  async transaction<T>(body: (connection: Connection) => Promise<T>): Promise<T> {
    return this.#use(async (client) => {
      const connection: Connection = {
        query: (statement, ...params) => this.#send(client, statement, params),
        execute: async (sql) => void (await client.query(inSchema(sql, this.#options.schema))),
      }
      await client.query('begin isolation level read committed')
      const value = await body(connection)
      await client.query('commit')
      return value
    })
  }

  /** Lets what is under way come to its end, for a moment, and closes the connections. */
  end(): Promise<void> {
    this.#ended ??= this.#end()
    return this.#ended
  }

  async #end(): Promise<void> {
    this.#unlisten()
    // The driver takes a connection for closed when it has said so; its socket waits for the server to say it, too.
    setTimeout(() => this.cut(), GOODBYE_MS).unref()
    await this.#pool.end()
  }

  /** Cuts every connection: whoever waits for an answer gets a transient error, and the next call connects anew. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  /** What a kill does. */
  destroy(): void {
    this.cut()
    void this.end().catch(() => {}) // there is nothing left that could fail
  }

  /** Connections into the past: to a server whose standby has been promoted since. */
  #cutStale(): void {
    const { timelines } = this.#options.destination
    for (const [client, place] of this.#places) {
      if (timelines.isStale(place)) streamOf(client).destroy()
    }
  }

  #track(socket: Duplex): Duplex {
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    return socket
  }

  async #prepare(client: PoolClient): Promise<void> {
    // Between checking a connection out and in, the pool does not listen, and an error nobody listens to ends the process.
    client.on('error', () => {})
    const { configure, prepares, destination } = this.#options
    const { timelines } = destination
    // Behind a pooler the next statement may be answered by another server.
    const place = prepares ? await timelines.read(client) : null
    this.#places.set(client, place)
    timelines.admit(place)
    if (configure !== null) await client.query(configure)
    await this.#options.onConnect?.(client)
  }

  async #use<T>(body: (client: PoolClient) => Promise<T>): Promise<T> {
    try {
      const client = await this.#pool.connect()
      let failure: Error | undefined
      try {
        return await body(client)
      } catch (error) {
        failure = error instanceof Error ? error : new Error(String(error))
        throw error
      } finally {
        // After an error it is not known what the connection is in the middle of: a new one costs a few milliseconds.
        client.release(failure)
      }
    } catch (error) {
      throw toStoreError(error)
    }
  }

  async #send<P extends readonly unknown[], Row>(
    client: PoolClient,
    { name, sql }: Statement<P, Row>,
    params: P,
  ): Promise<Row[]> {
    const text = inSchema(sql, this.#options.schema)
    const values = params.map(toParam)
    const result = await client.query<QueryResultRow>(
      this.#options.prepares ? { name, text, values } : { text, values },
    )
    for (const row of result.rows) decodeTexts(row)
    // The driver knows no row types: a statement's constant says what its SQL selects, and the store suite checks it.
    return result.rows as Row[]
  }
}

/** The driver hands its options to whoever makes its streams, which its types do not say. A socket is its own default. */
function makeStream({ stream }: PoolConfig, given: readonly unknown[]): Duplex {
  const make = stream as ((...given: readonly unknown[]) => Duplex) | undefined
  return make?.(...given) ?? new Socket()
}

function toParam(value: unknown): unknown {
  if (typeof value === 'string') return toText(value)
  return Array.isArray(value) ? value.map(toParam) : value
}

function decodeTexts(row: QueryResultRow): void {
  for (const column in row) {
    const value: unknown = row[column]
    if (typeof value === 'string') row[column] = fromText(value)
  }
}
