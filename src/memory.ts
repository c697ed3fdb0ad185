export { memoryStore } from './store/memory/store.ts'
export type { MemorySession, MemoryStore, MemoryStoreOptions } from './store/memory/store.ts'
