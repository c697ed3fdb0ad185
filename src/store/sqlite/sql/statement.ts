import type { SQLInputValue } from 'node:sqlite'
import { toText } from '../../text.ts'

export type Params = readonly SQLInputValue[]

/** One statement of SQL with the types of its parameters, in their order, and of the rows that it gives. */
export interface Statement<P extends Params, Row = never> {
  readonly sql: string
  /** For each place in `sql`, which of the parameters belongs there; null: one after the other. */
  readonly places: readonly number[] | null
  /** Never there: it carries the types. */
  readonly types?: { readonly params: P; readonly row: Row }
}

/**
 * In `sql` parameters are `?`, or `?1`, `?2` where some are used more than once. Not every version of `node:sqlite`
 * takes the same one twice, and so each gets a place of its own wherever it is used.
 */
export function statement<P extends Params = [], Row = never>(sql: string): Statement<P, Row> {
  const places = [...sql.matchAll(/\?(\d+)/g)].map(([, number]) => Number(number) - 1)
  return places.length === 0 ? { sql, places: null } : { sql: sql.replaceAll(/\?\d+/g, '?'), places }
}

/** For `json_each`, which unpacks it within SQLite: its texts are written as those in the columns are. */
export function jsonList(texts: readonly string[]): string {
  return JSON.stringify(texts.map(toText))
}
