import type { Client, PoolConfig } from 'pg'
import { StoreError } from '../store.ts'
import { makeClient, quit } from './driver.ts'
import { toStoreError } from './errors.ts'
import type { Destination } from './hosts.ts'
import { READ_SETTINGS, type Settings } from './sql/schema.ts'

const OLDEST_SERVER = 140_000
/** On a server, a notification takes a millisecond. */
const PATIENCE_MS = 1_000
const CONNECT_TIMEOUT_MS = 5_000
/** SQL_ASCII keeps bytes as they come. */
const TAKES_ANY_TEXT = new Set(['UTF8', 'SQL_ASCII'])

export interface Probe {
  /**
   * A connection stays ours between two statements. A pooler in transaction mode swallows LISTEN, and drops a session's
   * locks and settings on whoever comes next.
   */
  readonly ownsConnections: boolean
  readonly warnings: readonly string[]
}

/** Finds out what stands between this process and the server, and whether what is acknowledged is kept (I1). */
export async function probe({ config, timelines }: Destination, channel: string): Promise<Probe> {
  const clients = [0, 1].map(() => clientFor(config))
  const [listener, sender] = clients
  try {
    await Promise.all(clients.map((client) => client.connect()))
    if (!listener || !sender) throw new RangeError('There are two clients.')
    const { rows } = await sender.query<Settings>(READ_SETTINGS)
    const settings = rows[0]
    if (settings) assertFit(settings)
    await timelines.read(sender)
    const ownsConnections = await hears(listener, sender, channel)
    const warnings = settings ? warningsOf(settings) : []
    if (!timelines.isReadable) {
      warnings.push(
        'The server does not say which timeline it is on (pg_control_system, pg_current_wal_lsn and pg_walfile_name). After ' +
          'a failover an old primary that is not shut down is not recognised: runs that were acknowledged may seem to be ' +
          'absent there. Grant EXECUTE on these functions to the role, if the server has them.',
      )
    }
    if (!ownsConnections) {
      warnings.push(
        'Notifications do not arrive: a pooler in transaction mode is in between. Runs are found by polling, and dead ' +
          'processes by their leases only. Connect to the server itself, or through a session pool.',
      )
    }
    return { ownsConnections, warnings }
  } catch (error) {
    throw toStoreError(error)
  } finally {
    await Promise.all(clients.map(quit))
  }
}

function clientFor(config: PoolConfig): Client {
  const client = makeClient({
    ...config,
    application_name: 'graphql-durable probe',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: CONNECT_TIMEOUT_MS,
  })
  client.on('error', () => {}) // whatever is under way rejects as well
  return client
}

async function hears(listener: Client, sender: Client, channel: string): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const heard = new Promise<boolean>((resolve) => {
    listener.on('notification', (notification) => {
      if (notification.channel === channel) resolve(true)
    })
    timer = setTimeout(() => resolve(false), PATIENCE_MS)
  })
  try {
    await listener.query(`listen ${channel}`)
    await sender.query('select pg_notify($1, $2)', [channel, 'test'])
    return await heard
  } finally {
    clearTimeout(timer)
    await listener.query(`unlisten ${channel}`).catch(() => {}) // the caller is told by the error itself
  }
}

function assertFit({ version, encoding }: Settings): void {
  if (version < OLDEST_SERVER) {
    throw new StoreError(
      'broken',
      `postgresStore expected PostgreSQL 14 or later, but the server is version ${version / 10_000}. Upgrade it.`,
    )
  }
  // A text that it has no characters for would be refused after the step that returned it.
  if (!TAKES_ANY_TEXT.has(encoding)) {
    throw new StoreError(
      'broken',
      `postgresStore expected a database that is encoded as UTF8, but this one is as ${encoding}. Give it one of its own: ` +
        "create database … encoding 'UTF8' template template0.",
    )
  }
}

function warningsOf({ fsync, synchronousCommit }: Settings): string[] {
  const warnings: string[] = []
  if (fsync === 'off') {
    warnings.push('The server runs with fsync = off: a crash of its host may lose outcomes that were acknowledged.')
  }
  if (synchronousCommit === 'off' || synchronousCommit === 'local') {
    warnings.push(
      `The store's connections have synchronous_commit = ${synchronousCommit}: a crash of the server, or a failover, ` +
        'may lose outcomes that were acknowledged. Set it to on for this role.',
    )
  }
  return warnings
}
