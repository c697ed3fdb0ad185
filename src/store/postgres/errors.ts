import { StoreError } from '../store.ts'

type Kind = StoreError['kind']
type Meaning = readonly [kind: Kind, expected: string, remedy: string]

const LOST: Meaning = ['transient', 'a connection to the server', 'Check that it is up and can be reached.']
const CONTENDED: Meaning = ['transient', 'no conflict with another transaction', 'It is tried again.']
const LET_IN: Meaning = ['broken', 'to be let in', 'Check the user, the password, sslmode and pg_hba.conf.']
const REFUSED_VALUE: Meaning = [
  'rejected',
  'values that can be stored',
  'Keep less in a step, and keep ids, keys and event names below 2,600 bytes.',
]

/**
 * What each SQLSTATE means for the caller, and what a reader of the log should do. Of a code, the longest prefix that
 * is listed here counts. https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
const MEANINGS: Readonly<Record<string, Meaning>> = {
  '08': LOST,
  '57': LOST, // shutting down, starting up, cancelled by an administrator
  '58': ['transient', 'the server to reach its disk', "Look at the server's log."],
  '40': CONTENDED,
  '55': CONTENDED,
  '53': ['transient', "enough of the server's resources", 'Look for a full disk, or raise max_connections.'],
  '25006': ['transient', 'a server that takes writes, but this one is read-only', 'Connect to the primary.'],
  '25': CONTENDED,
  '26000': ['transient', 'its prepared statements', 'A pooler has changed the connection; it is tried again.'],
  '42P05': ['transient', 'its prepared statements', 'A pooler has changed the connection; it is tried again.'],
  '0A000': ['transient', 'tables as they were', 'A migration has changed them; it is tried again.'],
  '22': REFUSED_VALUE,
  '23': ['rejected', 'rows that keep the constraints', 'The journal already has an entry at this position or key.'],
  '54': REFUSED_VALUE,
  '28': LET_IN,
  '3D': ['broken', 'the database to exist', 'Create it, or give another connectionString.'],
  '42501': [
    'broken',
    'the privileges that it needs',
    'Grant them, or let the schema be made by its owner first (docs/postgres-production.md).',
  ],
  '42P01': ['broken', 'its tables', 'Somebody has dropped them; let postgresStore have a schema of its own.'],
}

/** What the driver itself says, before the server is asked: about how it was configured. */
const MISCONFIGURED = /^SASL|client password must be|does not support SSL/

const UNKNOWN: Meaning = [
  'broken',
  'PostgreSQL to carry out the statement',
  'Check that nothing else changes its schema.',
]

/** The one place where the driver's errors become the contract's. The original, with its `code`, is the cause. */
export function toStoreError(error: unknown): StoreError {
  if (error instanceof StoreError) return error
  const code = sqlState(error)
  const [kind, expected, remedy] = code === null ? meaningWithoutCode(error) : meaningOf(code)
  const said = error instanceof Error ? error.message || error.name : String(error)
  const answer = code === null ? `but the driver says "${said}"` : `but PostgreSQL answered "${said}" (${code})`
  return new StoreError(kind, `postgresStore expected ${expected}, ${answer}. ${remedy}`, { cause: error })
}

/** It never reached the server, or its answer never came back. */
function meaningWithoutCode(error: unknown): Meaning {
  if (error instanceof RangeError || error instanceof TypeError) return REFUSED_VALUE // too long to send
  return error instanceof Error && MISCONFIGURED.test(error.message) ? LET_IN : LOST
}

function meaningOf(code: string): Meaning {
  return MEANINGS[code] ?? MEANINGS[code.slice(0, 2)] ?? UNKNOWN
}

/** Codes of Node's own, ECONNREFUSED for instance, are no SQLSTATEs. */
function sqlState(error: unknown): string | null {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return null
  return /^[0-9A-Z]{5}$/.test(error.code) && error.code !== 'EPIPE' ? error.code : null
}
