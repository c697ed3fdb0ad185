import { afterAll, afterEach, beforeAll, beforeEach, describe, it, vi } from 'vitest'
import { postgresStore, type PostgresSession } from '../../../src/postgres.ts'
import { storeSuite } from '../../../src/testing.ts'
import { dropSchema, nextSchema, sleep, startDatabase } from '../../support/postgres.ts'

// The server has a clock of its own, and so time passes for real.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

describe('postgresStore', () => {
  let database: Awaited<ReturnType<typeof startDatabase>>

  beforeAll(async () => {
    database = await startDatabase()
  })
  afterAll(() => database.dispose())

  storeSuite({
    test: { describe, it, beforeEach, afterEach },
    leaseMs: 2_000,
    create: async () => {
      const schema = nextSchema()
      return {
        store: postgresStore({ connectionString: database.url, schema }),
        crash: (session) => (session as PostgresSession).crash(),
        dispose: () => dropSchema(database.url, schema),
        pass: (ms) => sleep(ms + 1),
      }
    },
  })
})
