import type { PoolConfig } from 'pg'
import { checkAll, isFunction } from '../../core/checks.ts'
import type { Checks } from '../../core/checks.ts'
import { count, show } from '../../core/refusals.ts'
import type { ConnectOptions, Store, StoreSession } from '../store.ts'
import { createStoreWarn } from '../warning.ts'
import { type Destination, destinationOf, singleDestination } from './hosts.ts'
import { probe } from './probe.ts'
import { keyOf } from './presence.ts'
import { openSession } from './session.ts'

export interface PostgresStoreOptions {
  /**
   * `postgres://user:password@host:5432/database`, or use `pool`. With several hosts, `…@a:5432,b:5432/database`, each
   * new connection goes to the one that takes writes: a primary and its standbys.
   */
  readonly connectionString?: string
  /**
   * A `pg.Pool` whose options are taken over. The store makes connections of its own with them: resolvers that hold
   * every pooled connection while they await a step would otherwise wait for a commit that has none left.
   */
  readonly pool?: { readonly options: object }
  /** The schema that holds the store's tables; created where it is not there. Default 'durable'. */
  readonly schema?: string
  /**
   * Connections for reading and for events. Three more are for batches, claims and liveness. Each process (each
   * `createDurable`) has its own. Default 2.
   */
  readonly connections?: number
  /**
   * Told once of what may cost data or speed (fsync, synchronous_commit, a pooler in between), and of an event that
   * cannot be dispatched. Default: a process warning.
   */
  readonly onWarning?: (message: string) => void
  /**
   * For tests: called synchronously right before a statement or transaction that writes is sent, and right after its
   * answer came, with the name of the transition. What it throws rejects as a transient `StoreError`. Default: none.
   */
  readonly onCommit?: (phase: 'before' | 'after', what: string) => void
}

export interface PostgresStore extends Store {
  connect(options: ConnectOptions): Promise<PostgresSession>
}

export interface PostgresSession extends StoreSession {
  /**
   * For tests: what SIGKILL is to a process. Its connections are cut, nothing is released, nothing more is written,
   * and no call settles any more.
   */
  crash(): void
}

const SCHEMA = 'durable'
const CONNECTIONS = 2
/** The server cuts longer names, and two schemas could become one. */
const MAX_SCHEMA_BYTES = 63

const OPTIONS: Checks<PostgresStoreOptions> = {
  connectionString: assertConnectionString,
  pool: assertPool,
  schema: assertSchema,
  connections: (value, name) => void count(value, name, 1),
  onWarning: isFunction,
  onCommit: isFunction,
}

/** The store for many processes on many hosts: PostgreSQL 14 or later, through `pg`. */
export function postgresStore(options: PostgresStoreOptions): PostgresStore {
  assertOptions(options)
  const { schema = SCHEMA, connections = CONNECTIONS, onCommit } = options
  const warn = createStoreWarn(options.onWarning)
  const destination = toDestination(options)
  const warned = new Set<string>()

  function warnOnce(message: string): void {
    if (warned.has(message)) return
    warned.add(message)
    warn(message)
  }

  return {
    name: 'postgres',
    async connect(connectOptions) {
      const { ownsConnections, warnings } = await probe(
        destination,
        `durable_probe_${keyOf(connectOptions.processId).replace('-', 'n')}`,
      )
      for (const warning of warnings) warnOnce(warning)
      return openSession({
        ...connectOptions,
        destination,
        schema,
        connections,
        ownsConnections,
        warn,
        onCommit,
      })
    },
  }
}

/** @throws TypeError. Not everything is shown: a connection string has a password. */
function assertOptions(options: unknown): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    const got = typeof options === 'string' ? 'a text' : show(options)
    throw new TypeError(`postgresStore expected an object, such as { connectionString }, but got ${got}.`)
  }
  checkAll(options, OPTIONS, 'the options of postgresStore', (key) => `${key} of postgresStore`)
}

/** The driver would look elsewhere instead: for a host of that name, or on this machine. */
function assertConnectionString(text: unknown): void {
  if (typeof text === 'string' && /[?&]host=[^&]*(?:,|%2C)/i.test(text)) {
    throw new TypeError(
      'postgresStore expected several hosts as in postgres://user@a:5432,b:5432/database, but got them as ?host=a,b.',
    )
  }
  if (typeof text === 'string' && /^(?:postgres(?:ql)?:\/\/|socket:|\/)/.test(text)) return
  const got = typeof text === 'string' ? (text === '' ? 'an empty text' : 'another text') : typeof text
  throw new TypeError(`postgresStore expected a connectionString that begins with postgres://, but got ${got}.`)
}

function toDestination({ connectionString, pool }: PostgresStoreOptions): Destination {
  if (connectionString !== undefined && pool !== undefined) {
    throw new TypeError('postgresStore expected either a connectionString or a pool, but got both.')
  }
  if (connectionString !== undefined) return destinationOf({ connectionString })
  if (pool === undefined) {
    throw new TypeError(
      'postgresStore expected a connectionString or a pool, but got neither. Is the environment variable set?',
    )
  }
  // The pool keeps its password where copying does not find it.
  const { password, connectionString: given, stream } = pool.options as PoolConfig
  const config = { ...pool.options, ...(password !== undefined && { password }) }
  return given === undefined || stream ? singleDestination(config) : destinationOf(config)
}

function assertPool(pool: unknown): void {
  const options: unknown = typeof pool === 'object' && pool !== null ? Reflect.get(pool, 'options') : undefined
  if (typeof options === 'object' && options !== null) return
  throw new TypeError('postgresStore expected pool to be a pg.Pool, but got something without its options.')
}

function assertSchema(schema: unknown): void {
  const isText = typeof schema === 'string' && schema !== '' && !schema.includes('\u0000') && schema.isWellFormed()
  const isPostgres = isText && schema.startsWith('pg_') // PostgreSQL's own
  if (isText && !isPostgres && Buffer.byteLength(schema) <= MAX_SCHEMA_BYTES) return
  throw new TypeError(
    `postgresStore expected a schema's name of 1 to ${MAX_SCHEMA_BYTES} bytes that does not begin with pg_, but got ${show(schema)}.`,
  )
}
