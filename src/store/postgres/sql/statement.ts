/** One statement of SQL with the types of its parameters, in their order, and of the rows that it gives. */
export interface Statement<P extends readonly unknown[], Row = never> {
  /** What the server knows the prepared statement by. */
  readonly name: string
  /** Says `durable.` where the schema's name belongs (by itself: `durable_schema`). */
  readonly sql: string
  /** Never there: it carries the types. */
  readonly types?: { readonly params: P; readonly row: Row }
}

export function statement<P extends readonly unknown[] = [], Row = never>(
  name: string,
  sql: string,
): Statement<P, Row> {
  return { name: `durable_${name}`, sql }
}

/** The schema as an identifier: quoted, whatever its name has in it. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

/** The statement's text for a schema of that name. */
export function inSchema(sql: string, schema: string): string {
  const name = quoteIdentifier(schema)
  // A function, because `$` has a meaning in a replacement string.
  return sql.replaceAll(/\bdurable(?:\.|_schema\b)/g, (found) => (found.endsWith('.') ? `${name}.` : name))
}

/** The server's time, in whole milliseconds; the same throughout a statement. */
export const NOW = 'floor(extract(epoch from statement_timestamp()) * 1000)::bigint'
