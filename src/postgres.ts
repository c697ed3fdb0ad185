export { postgresStore } from './store/postgres/store.ts'
export type { PostgresSession, PostgresStore, PostgresStoreOptions } from './store/postgres/store.ts'
