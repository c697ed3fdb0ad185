import { afterEach, beforeEach, describe, it } from 'vitest'
import { memoryStore, type MemorySession } from '../../src/memory.ts'
import { storeSuite } from '../../src/testing.ts'

describe('memoryStore', () => {
  storeSuite({
    test: { describe, it, beforeEach, afterEach },
    create: async () => ({
      store: memoryStore(),
      crash: (session) => (session as MemorySession).crash(),
      dispose: async () => {},
    }),
  })
})
