import { type BigIntStats, statSync } from 'node:fs'
import { StoreError } from '../store.ts'

/** The database, its log, and the index of the log that processes share. */
const PARTS = ['', '-wal', '-shm'] as const

/**
 * Whether the files are still those that the connection has open. One that was deleted, or replaced by a backup, is
 * written to all the same, and what is written is gone with the process: nobody else ever sees it (I1).
 */
export class Files {
  readonly #path: string
  readonly #seen = new Map<string, BigIntStats>()

  /** Of the connection that was opened just now. */
  constructor(path: string) {
    this.#path = path
    this.assertSame()
  }

  /** @throws StoreError */
  assertSame(): void {
    for (const part of PARTS) {
      const file = this.#path + part
      const now = statSync(file, { bigint: true, throwIfNoEntry: false })
      const before = this.#seen.get(part)
      if (before === undefined) {
        if (now) this.#seen.set(part, now) // the log is made with the first look at the database
      } else if (!now || now.ino !== before.ino || now.dev !== before.dev) throw this.#gone(file, now !== undefined)
    }
  }

  #gone(file: string, isReplaced: boolean): StoreError {
    return new StoreError(
      'broken',
      `The store at ${this.#path} expected ${file} to be the file that it has opened, but it was ` +
        `${isReplaced ? 'replaced' : 'deleted'} since. Nothing is acknowledged any more. Put the file back, or restart ` +
        'every process that uses it; stop them all before files are restored from a backup.',
    )
  }
}
