import { Pool, type PoolClient, type PoolConfig, type QueryResultRow, types } from 'pg'
import { toStoreError } from './errors.ts'
import { inSchema, type Statement } from './sql/statement.ts'
import { fromText, toText } from './text.ts'

export interface LaneOptions {
  /** For the server's list of connections, and for its log. */
  readonly name: string
  readonly config: PoolConfig
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
  readonly #clients = new Set<PoolClient>()
  #ended: Promise<void> | null = null

  constructor(options: LaneOptions) {
    this.#options = options
    const { config, name, size, timeoutMs } = options
    this.#pool = new Pool({
      ...config,
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
      types: { getTypeParser },
      // oxlint-disable-next-line promise/no-callback-in-promise -- the driver's hook knows no promises
      verify: (client, done) => void this.#prepare(client).then(() => done(), done),
    })
    this.#pool.on('error', () => options.onLost?.())
    this.#pool.on('remove', (client) => this.#clients.delete(client))
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

  /** Lets what is under way come to its end, and closes the connections. */
  end(): Promise<void> {
    this.#ended ??= this.#pool.end()
    return this.#ended
  }

  /** What a kill does to the connections: they are cut. */
  destroy(): void {
    for (const client of this.#clients) streamOf(client).destroy()
    void this.end().catch(() => {}) // there is nothing left that could fail
  }

  async #prepare(client: PoolClient): Promise<void> {
    this.#clients.add(client)
    // Between checking a connection out and in, the pool does not listen, and an error nobody listens to ends the process.
    client.on('error', () => {})
    const { configure } = this.#options
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

const INT8 = 20

/** Instants and counts are far below 2^53. */
function getTypeParser(oid: number, format?: 'text' | 'binary'): unknown {
  return oid === INT8 ? Number : types.getTypeParser(oid, format)
}

function streamOf(client: PoolClient): { destroy(): void } {
  // Not in the driver's types; it is what the driver itself destroys when a connection times out.
  return (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream
}
