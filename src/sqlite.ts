export { sqliteStore } from './store/sqlite/store.ts'
export type { SqliteSession, SqliteStore, SqliteStoreOptions } from './store/sqlite/store.ts'
