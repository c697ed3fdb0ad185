import { StoreError } from '../store.ts'
import type { Connection, Lane } from './lane.ts'
import { keyOf } from './presence.ts'
import * as sql from './sql/schema.ts'

/**
 * Brings the schema to the current version. Where it is, nothing is locked, and no privilege is needed beyond reading:
 * a role that owns the schema may migrate, and one that only uses it may run.
 */
export async function migrate(lane: Lane, schema: string): Promise<void> {
  if ((await readVersion(lane, schema)) === sql.MIGRATIONS.length) return
  await lane.transaction(async (connection) => {
    // Of a transaction, so that it is held where a pooler changes connections, and let go whatever happens.
    await connection.query(sql.LOCK_MIGRATIONS, keyOf(`migrations ${schema}`))
    // Read again: while this process waited for the lock, another may have done it.
    const version = await readVersion(connection, schema)
    if (version === null) {
      const [namespace] = await connection.query(sql.HAS_SCHEMA, schema)
      if (!namespace?.there) await connection.execute(sql.CREATE_SCHEMA)
      await connection.execute(sql.CREATE_MIGRATIONS)
    }
    await connection.execute(sql.LIMIT_LOCK_WAITS)
    for (const [index, migration] of sql.MIGRATIONS.entries()) {
      if (index < (version ?? 0)) continue
      await connection.execute(migration)
      await connection.query(sql.RECORD_VERSION, index + 1)
    }
  })
}

/** Null where there is nothing yet. */
async function readVersion(connection: Connection, schema: string): Promise<number | null> {
  const [migrations] = await connection.query(sql.HAS_MIGRATIONS, schema)
  if (!migrations?.there) return null
  const version = (await connection.query(sql.READ_VERSION))[0]?.version ?? 0
  if (version > sql.MIGRATIONS.length) {
    throw new StoreError(
      'broken',
      `postgresStore expected the schema "${schema}" at version ${sql.MIGRATIONS.length} or older, but it is at ` +
        `${version}: a newer graphql-durable has written it. Upgrade this process, or give another schema.`,
    )
  }
  return version
}
