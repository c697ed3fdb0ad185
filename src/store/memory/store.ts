import { checkAll, isFunction } from '../../core/checks.ts'
import type { ConnectOptions, Store, StoreSession } from '../store.ts'
import type { Database } from './database.ts'
import { createHints } from '../hints.ts'
import { newSecret } from '../secret.ts'
import { EventLog } from './event-log.ts'
import { openSession } from './session.ts'

export interface MemoryStoreOptions {
  /**
   * For tests: called synchronously right before and right after each commit, with the name of the transition. What
   * it throws before a commit undoes it; what it throws after one only loses the answer. Both reject as a transient
   * `StoreError`. Default: none.
   */
  readonly onCommit?: (phase: 'before' | 'after', what: string) => void
}

export interface MemoryStore extends Store {
  connect(options: ConnectOptions): Promise<MemorySession>
}

export interface MemorySession extends StoreSession {
  /**
   * For tests: what SIGKILL is to a process. Nothing is released, nothing more is written, and no call settles any
   * more. Others see that it is dead when its lease has run out.
   */
  crash(): void
}

/** A store in this process's memory, for tests. Each `connect` plays a process; all of it goes with the store object. */
export function memoryStore(options: MemoryStoreOptions = {}): MemoryStore {
  checkAll<MemoryStoreOptions>(options, { onCommit: isFunction }, 'the options of memoryStore')
  const database: Database = {
    runs: new Map(),
    events: new EventLog(),
    processes: new Map(),
    idempotency: new Map(),
    secret: newSecret(),
    hints: createHints(),
    onCommit: options.onCommit,
  }
  return {
    name: 'memory',
    connect: async (connectOptions) => openSession(database, connectOptions),
  }
}
