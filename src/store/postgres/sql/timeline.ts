/** Which cluster it is, and how often a standby of it has been promoted. Of a server that takes writes. */
export interface Place {
  /** The same for a primary and all of its standbys; another for one that was made anew. */
  readonly cluster: string
  /** Raised by each promotion, and written ahead of everything that the promoted server does. */
  readonly timeline: number
}

/** Null while the server is in recovery. Any role may ask, unless somebody has revoked that from PUBLIC. */
export const READ_PLACE = `
  select case when pg_is_in_recovery() then null else json_build_object(
    'cluster', (pg_control_system()).system_identifier::text,
    'timeline', ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::integer
  ) end as place`
