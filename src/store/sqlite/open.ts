import { statSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { StoreError } from '../store.ts'
import { Database, type DatabaseOptions } from './database.ts'
import { toStoreError } from './errors.ts'
import { retryWhileBusy } from './retry.ts'
import * as schema from './sql/schema.ts'

export const IN_MEMORY = ':memory:'

/** Opens the file, creates it where there is none, and brings it to the current version. */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const { path, busyTimeoutMs } = options
  try {
    if (path !== IN_MEMORY) assertDirectory(path)
    const connection = new DatabaseSync(path, { timeout: 0 })
    try {
      const database = new Database(connection, options)
      // Several processes may be at this at once: switching to the log, and migrating, are for one at a time.
      await retryWhileBusy(() => {
        configure(database)
        migrate(connection, database)
      }, busyTimeoutMs)
      if (path !== IN_MEMORY) database.watchFiles()
      return database
    } catch (error) {
      connection.close()
      throw error
    }
  } catch (error) {
    throw toStoreError(error, path)
  }
}

function assertDirectory(path: string): void {
  const directory = dirname(path)
  if (statSync(directory, { throwIfNoEntry: false })?.isDirectory()) return
  throw new StoreError(
    'broken',
    `sqliteStore expected a directory for ${path}, but there is none at ${directory}. Create it, or give another path.`,
  )
}

function configure(database: Database): void {
  const mode = database.get(schema.WRITE_AHEAD_LOG)?.journal_mode
  const expected = database.path === IN_MEMORY ? 'memory' : 'wal'
  if (mode !== expected) {
    throw new StoreError(
      'broken',
      `sqliteStore expected a write-ahead log for ${database.path}, but SQLite offers "${String(mode)}". ` +
        'Put the file on a local disk: network file systems have no shared memory.',
    )
  }
  database.run(schema.SYNCHRONOUS_FULL)
}

function migrate(connection: DatabaseSync, database: Database): void {
  if (readVersion(database) === schema.MIGRATIONS.length) return
  database.run(schema.BEGIN_WRITE)
  try {
    // Read again: while this process waited for the lock, another may have done it.
    const version = readVersion(database)
    for (const migration of schema.MIGRATIONS.slice(version)) connection.exec(migration)
    connection.exec(`pragma application_id = ${schema.APPLICATION_ID}`)
    connection.exec(`pragma user_version = ${schema.MIGRATIONS.length}`)
    database.run(schema.COMMIT)
  } finally {
    if (connection.isTransaction) database.run(schema.ROLLBACK)
  }
}

function readVersion(database: Database): number {
  const version = database.get(schema.USER_VERSION)?.user_version ?? 0
  const applicationId = database.get(schema.THE_APPLICATION_ID)?.application_id ?? 0
  const isEmpty = version === 0 && applicationId === 0 && database.get(schema.COUNT_TABLES)?.count === 0
  if (!isEmpty && applicationId !== schema.APPLICATION_ID) {
    throw new StoreError(
      'broken',
      `sqliteStore expected a database of its own at ${database.path}, but this one belongs to another application. ` +
        'Give another path.',
    )
  }
  if (version > schema.MIGRATIONS.length) {
    throw new StoreError(
      'broken',
      `sqliteStore expected ${database.path} at schema version ${schema.MIGRATIONS.length} or older, but it is at ` +
        `${version}: a newer graphql-durable has written it. Upgrade this process, or give another path.`,
    )
  }
  return version
}
