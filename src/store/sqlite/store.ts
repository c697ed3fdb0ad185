import { resolve } from 'node:path'
import { checkAll, isFunction } from '../../core/checks.ts'
import type { Checks } from '../../core/checks.ts'
import { count, Refusal, show } from '../../core/refusals.ts'
import type { ConnectOptions, Store, StoreSession } from '../store.ts'
import { createHints } from '../hints.ts'
import { createStoreWarn } from '../warning.ts'
import { IN_MEMORY, openDatabase } from './open.ts'
import type { Database } from './database.ts'
import { openSession } from './session.ts'

export interface SqliteStoreOptions {
  /**
   * The database's file. Its directory must exist, on a local disk; beside it SQLite keeps `-wal` and `-shm` files,
   * and each process a small `-process-…` file while it lives. `':memory:'` keeps everything in this process.
   */
  readonly path: string
  /**
   * How long a call waits for another process's transaction before it rejects as transient, in real milliseconds.
   * The event loop is not blocked meanwhile. Default 5000.
   */
  readonly busyTimeoutMs?: number
  /** Told of an event in the file that cannot be dispatched. Default: a process warning. */
  readonly onWarning?: (message: string) => void
  /**
   * For tests: called synchronously right before and right after each COMMIT, with the name of the transition. What
   * it throws before a commit rolls it back; what it throws after one only loses the answer. Both reject as a
   * transient `StoreError`. Default: none.
   */
  readonly onCommit?: (phase: 'before' | 'after', what: string) => void
}

export interface SqliteStore extends Store {
  connect(options: ConnectOptions): Promise<SqliteSession>
}

export interface SqliteSession extends StoreSession {
  /**
   * For tests: what SIGKILL is to a process. Nothing is released, nothing more is written, and no call settles any
   * more. Others see at once that it is dead (with `':memory:'`, when its lease has run out).
   */
  crash(): void
}

const BUSY_TIMEOUT_MS = 5_000

const OPTIONS: Checks<SqliteStoreOptions> = {
  path: assertPath,
  busyTimeoutMs: (value, name) => void count(value, name),
  onWarning: isFunction,
  onCommit: isFunction,
}

/** The embedded store: one file, for the processes of one host. */
export function sqliteStore(pathOrOptions: string | SqliteStoreOptions): SqliteStore {
  const options = readOptions(pathOrOptions)
  const { busyTimeoutMs = BUSY_TIMEOUT_MS, onCommit } = options
  // Whole, so that it stays the same file if the process changes its directory, and SQLite takes none for a URL.
  const path = options.path === IN_MEMORY ? IN_MEMORY : resolve(options.path)
  const warn = createStoreWarn(options.onWarning)
  const hints = createHints()
  const open = (): Promise<Database> => openDatabase({ path, busyTimeoutMs, onCommit })
  let shared: Promise<Database> | undefined

  return {
    name: 'sqlite',
    async connect(connectOptions) {
      if (path !== IN_MEMORY) return openSession({ database: await open(), hints, warn, ...connectOptions })
      // A second connection would be a second, empty database.
      return openSession({ database: await (shared ??= open()), hints, warn, ...connectOptions })
    },
  }
}

function readOptions(given: string | SqliteStoreOptions): SqliteStoreOptions {
  const options = typeof given === 'string' ? { path: given } : given
  if (typeof options !== 'object' || options === null) assertPath(options)
  checkAll(options, OPTIONS, 'the options of sqliteStore', (key) => `${key} of sqliteStore`)
  assertPath(options.path)
  return options
}

function assertPath(path: unknown): void {
  if (typeof path === 'string' && path !== '' && !path.includes('\0')) return
  throw new Refusal(
    `sqliteStore expected a path, such as 'runs.db', but got ${show(path)}. Is the environment variable set?`,
  )
}
