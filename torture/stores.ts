import type { Store } from '../src/store/store.ts'

/** What a campaign can be on: a cluster is a PostgreSQL to those who use it. */
export type StoreName = StoreAddress['name'] | 'patroni'

/** Where the runs are kept, in a form that can be handed to a process. */
export type StoreAddress =
  { readonly name: 'sqlite'; readonly path: string } | { readonly name: 'postgres'; readonly connectionString: string }

export async function openStore(address: StoreAddress): Promise<Store> {
  if (address.name === 'sqlite') {
    const { sqliteStore } = await import('../src/sqlite.ts')
    return sqliteStore(address.path)
  }
  const { postgresStore } = await import('../src/postgres.ts')
  return postgresStore({ connectionString: address.connectionString })
}
