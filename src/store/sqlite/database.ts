import type { DatabaseSync, SQLInputValue, SQLOutputValue, StatementSync } from 'node:sqlite'
import { callHook } from '../commit-hook.ts'
import type { StoreHint } from '../store.ts'
import { fromText, toText } from '../text.ts'
import { toStoreError } from './errors.ts'
import { Files } from './files.ts'
import { retryWhileBusy } from './retry.ts'
import * as schema from './sql/schema.ts'
import type { Params, Statement } from './sql/statement.ts'

export interface DatabaseOptions {
  readonly path: string
  readonly busyTimeoutMs: number
  readonly onCommit: ((phase: 'before' | 'after', what: string) => void) | undefined
}

/** Tells whoever watches, once the transaction is committed. */
export type Hint = (hint: StoreHint) => void

/**
 * One connection: its statements, prepared once each, and its transactions. Everything between BEGIN and COMMIT is
 * synchronous, so that sessions of one process never meet in the middle of a transaction.
 */
export class Database {
  readonly path: string
  readonly #connection: DatabaseSync
  readonly #options: DatabaseOptions
  readonly #statements = new Map<string, StatementSync>()
  #files: Files | null = null

  constructor(connection: DatabaseSync, options: DatabaseOptions) {
    this.path = options.path
    this.#connection = connection
    this.#options = options
  }

  run<P extends Params>(statement: Statement<P, unknown>, ...params: P): number {
    return Number(this.#prepare(statement.sql).run(...bound(statement, params)).changes)
  }

  /** The number of the row that it inserts; cheaper than to have it returned. */
  insert<P extends Params>(statement: Statement<P>, ...params: P): number {
    return Number(this.#prepare(statement.sql).run(...bound(statement, params)).lastInsertRowid)
  }

  get<P extends Params, Row>(statement: Statement<P, Row>, ...params: P): Row | undefined {
    const row = this.#prepare(statement.sql).get(...bound(statement, params))
    return asRow<Row | undefined>(row && decodeTexts(row))
  }

  all<P extends Params, Row>(statement: Statement<P, Row>, ...params: P): Row[] {
    return asRow<Row[]>(
      this.#prepare(statement.sql)
        .all(...bound(statement, params))
        .map(decodeTexts),
    )
  }

  /** Row by row, for results that are rarely read to their end. */
  *iterate<P extends Params, Row>(statement: Statement<P, Row>, ...params: P): Iterable<Row> {
    for (const row of this.#prepare(statement.sql).iterate(...bound(statement, params)))
      yield asRow<Row>(decodeTexts(row))
  }

  /** What `body` reads is of one moment. */
  read<T>(body: () => T): Promise<T> {
    return this.#transact(schema.BEGIN_READ, body, () => {})
  }

  /** One transaction. `what` names it to the commit hook; `publish` gets its hints once it is committed. */
  write<T>(what: string, publish: (hints: readonly StoreHint[]) => void, body: (hint: Hint) => T): Promise<T> {
    let hints: StoreHint[] = []
    return this.#transact(
      schema.BEGIN_WRITE,
      () => {
        hints = []
        const value = body((hint) => hints.push(hint))
        this.#callHook('before', what)
        return value
      },
      () => {
        publish(hints)
        this.#callHook('after', what)
      },
    )
  }

  /** From now on, every call makes sure that the files are still those that this connection has opened. */
  watchFiles(): void {
    this.#files = new Files(this.path)
  }

  close(): void {
    this.#statements.clear()
    if (this.#connection.isOpen) this.#connection.close()
  }

  async #transact<T>(begin: Statement<[]>, body: () => T, committed: () => void): Promise<T> {
    try {
      return await retryWhileBusy(() => {
        this.run(begin)
        try {
          const value = body()
          this.run(schema.COMMIT)
          this.#files?.assertSame() // or what was committed is nowhere
          committed()
          return value
        } finally {
          // Some errors, a full disk among them, have rolled it back already.
          if (this.#connection.isOpen && this.#connection.isTransaction) this.run(schema.ROLLBACK)
        }
      }, this.#options.busyTimeoutMs)
    } catch (error) {
      throw toStoreError(error, this.path)
    }
  }

  #prepare(sql: string): StatementSync {
    let prepared = this.#statements.get(sql)
    if (!prepared) {
      prepared = this.#connection.prepare(sql)
      this.#statements.set(sql, prepared)
    }
    return prepared
  }

  #callHook(phase: 'before' | 'after', what: string): void {
    callHook(this.#options.onCommit, phase, what)
  }
}

function bound({ places }: Statement<Params, unknown>, params: Params): SQLInputValue[] {
  const written = params.map((value) => (typeof value === 'string' ? toText(value) : value))
  return places === null ? written : places.map((place) => written[place] ?? null)
}

/** In place. */
function decodeTexts(row: Record<string, SQLOutputValue>): Record<string, SQLOutputValue> {
  for (const column in row) {
    const value = row[column]
    if (typeof value === 'string') row[column] = fromText(value)
  }
  return row
}

/** The driver knows no row types: a statement's constant says what its SQL selects, and the store suite checks it. */
function asRow<T>(rows: Record<string, SQLOutputValue> | readonly unknown[] | undefined): T {
  return rows as T
}
