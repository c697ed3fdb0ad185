import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Store } from '../../src/index.ts'
import { memoryStore } from '../../src/memory.ts'
import { sqliteStore } from '../../src/sqlite.ts'
import { createTestClock } from '../../src/testing.ts'
import type { TestClock, TestClockOptions } from '../../src/testing.ts'
import { openStandingPostgres } from './standing-postgres.ts'

/** The stores that a test of something else can stand on, each of them driven by the test's clock. */
export const STORES = ['memory', 'SQLite', 'PostgreSQL'] as const
export type StoreName = (typeof STORES)[number] | 'SQLite in memory'

export interface TestStoreOptions {
  readonly onCommit?: (phase: 'before' | 'after', what: string) => void
}

export interface TestStore {
  readonly store: Store
  /** A clock for a process on this store. The store's own time is that of the clock that is furthest. */
  createClock(options?: TestClockOptions): TestClock
  /** Once every session is closed. */
  dispose(): Promise<void>
}

/** For PostgreSQL, the test's file has to say `usePostgres()`. */
export async function openStore(name: StoreName, options: TestStoreOptions = {}): Promise<TestStore> {
  switch (name) {
    case 'memory':
      return embedded(memoryStore(options))
    case 'SQLite in memory':
      return embedded(sqliteStore({ path: ':memory:', ...options }))
    case 'SQLite': {
      const directory = mkdtempSync(join(tmpdir(), 'graphql-durable-'))
      const store = sqliteStore({ path: join(directory, 'runs.db'), ...options })
      return embedded(store, () => rmSync(directory, { recursive: true }))
    }
    case 'PostgreSQL':
      return openStandingPostgres(options)
  }
}

/** A store in this process takes its time from the clock that it is connected with. */
function embedded(store: Store, dispose: () => void = () => {}): TestStore {
  return { store, createClock: createTestClock, dispose: async () => dispose() }
}

/** What played a process dies: nothing more of it is written, and no call of it settles. */
export function crashSession(session: object): void {
  ;(session as { crash(): void }).crash() // each of these stores' sessions can
}
