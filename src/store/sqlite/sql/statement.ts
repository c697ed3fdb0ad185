import type { SQLInputValue } from 'node:sqlite'

export type Params = readonly SQLInputValue[]

/** One statement of SQL with the types of its parameters, in their order, and of the rows that it gives. */
export interface Statement<P extends Params, Row = never> {
  readonly sql: string
  /** Never there: it carries the types. */
  readonly types?: { readonly params: P; readonly row: Row }
}

export function statement<P extends Params = [], Row = never>(sql: string): Statement<P, Row> {
  return { sql }
}
