import { StoreError } from '../store.ts'

/** SQLite's primary result codes; the extended ones have them in their lowest byte. https://sqlite.org/rescode.html */
const SQLITE_BUSY = 5
const SQLITE_LOCKED = 6

type Kind = StoreError['kind']

/** What each result code means for the caller, and what a reader of the log should do. */
const MEANINGS: Readonly<Record<number, readonly [kind: Kind, expected: string, remedy: string]>> = {
  [SQLITE_BUSY]: [
    'transient',
    'the write lock to come free',
    'Look for another program that keeps a transaction on this file open.',
  ],
  [SQLITE_LOCKED]: ['transient', 'the write lock to come free', 'Look for a statement that was left open.'],
  7: ['transient', 'enough memory', 'Give the process more of it.'],
  8: ['broken', 'a file and a directory that this process may write to', 'Change their permissions, or the path.'],
  10: ['transient', 'the disk to read and write without errors', 'Check the disk and the file system.'],
  11: ['broken', 'an intact database', 'Restore it from a backup, or move it away to begin with an empty one.'],
  13: ['transient', 'space left on the disk', 'Free some, or shorten `retention`. Nothing was written.'],
  14: [
    'broken',
    'a file that can be opened',
    'Check that the path, its permissions and the limit of open files allow it.',
  ],
  18: ['rejected', 'values below the size limit of SQLite', 'Lower `limits.stepBytes`, or keep less in a step.'],
  19: ['rejected', 'rows that keep the constraints', 'The journal already has an entry at this position or key.'],
  26: ['broken', 'an SQLite database', 'Give another path, or move this file away.'],
}

interface SqliteError extends Error {
  readonly errcode: number
}

function isSqliteError(error: unknown): error is SqliteError {
  return error instanceof Error && 'errcode' in error && typeof error.errcode === 'number'
}

export function isBusy(error: unknown): boolean {
  if (!isSqliteError(error)) return false
  const code = primaryCode(error)
  return code === SQLITE_BUSY || code === SQLITE_LOCKED
}

function primaryCode(error: SqliteError): number {
  return error.errcode & 0xff
}

/** The one place where the driver's errors become the contract's. The original, with its `errcode`, is the cause. */
export function toStoreError(error: unknown, path: string): StoreError {
  if (error instanceof StoreError) return error
  if (!isSqliteError(error)) {
    // Values come from the caller: what the driver, JSON.parse or the string encoder can't take, no retry mends.
    return new StoreError('rejected', `The store at ${path} could not take a value: ${String(error)}`, { cause: error })
  }
  const [kind, expected, remedy] = MEANINGS[primaryCode(error)] ?? [
    'broken',
    'SQLite to carry out the statement',
    'Check that nothing else changes this file.',
  ]
  return new StoreError(
    kind,
    `The store at ${path} expected ${expected}, but SQLite answered "${error.message}" (code ${error.errcode}). ${remedy}`,
    { cause: error },
  )
}
