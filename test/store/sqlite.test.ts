import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'vitest'
import { sqliteStore, type SqliteSession } from '../../src/sqlite.ts'
import { storeSuite } from '../../src/testing.ts'

describe('sqliteStore', () => {
  storeSuite({
    test: { describe, it, beforeEach, afterEach },
    create: async () => {
      const directory = mkdtempSync(join(tmpdir(), 'durable-sqlite-'))
      return {
        store: sqliteStore(join(directory, 'runs.db')),
        crash: (session) => (session as SqliteSession).crash(),
        dispose: async () => rmSync(directory, { recursive: true }),
      }
    },
  })
})

describe("sqliteStore(':memory:')", () => {
  storeSuite({
    test: { describe, it, beforeEach, afterEach },
    create: async () => ({
      store: sqliteStore(':memory:'),
      crash: (session) => (session as SqliteSession).crash(),
      dispose: async () => {},
    }),
  })
})
