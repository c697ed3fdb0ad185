import { NOW, statement } from './statement.ts'

/**
 * The schema's history: entry n takes a database from version n to n + 1. Published entries are never changed.
 *
 * - Instants are milliseconds on the server's clock.
 * - `runs` is narrow: what is large stands in `inputs`, `outcomes` and `results`, which refer to a run by its number.
 *   Nothing that a step's commit changes is indexed, so that those updates are HOT, and the fill factor leaves them
 *   room on the page. `due_at` is set for parked runs only, hence the partial index is all that a claim looks at.
 * - `waits` has one row per wait that is open. `leaf` narrows down which of them an event may concern, `event_leaves`
 *   which events a wait may (see leaf.ts); an event that is not `indexed` is looked at by every look-up of its name.
 * - `undispatched` names events that waits have not been looked for yet: a crash in between must not lose them (I6).
 *   One that cannot be dispatched is set aside.
 * - Events are unique within their name. A process of an earlier version beside a newer one does not know that: what
 *   it sends is refused, and not lost unseen.
 * - `lives` is not logged: its one row says since when the server has been up, and is gone after a crash of the server
 *   as advisory locks are (see liveness.ts).
 * - Vacuum runs early: claims walk over what it has not removed yet.
 */
export const MIGRATIONS: readonly string[] = [
  `
  create table durable.runs (
    n bigint generated always as identity,
    id text collate "C" primary key,
    status text not null,
    epoch integer not null,
    holder text collate "C",
    len integer not null,
    bytes bigint not null,
    due_at bigint,
    signalled boolean not null,
    server text not null,
    operation_name text,
    owner text collate "C",
    version text,
    began_at bigint not null,
    created_at bigint not null,
    updated_at bigint not null,
    ended_at bigint,
    timeout_at bigint,
    takeovers integer not null,
    resume_failures integer not null,
    note text,
    commit_by text collate "C" not null,
    commit_epoch integer not null,
    commit_seq integer not null
  ) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.05);
  create index runs_due on durable.runs (due_at) where due_at is not null;
  create index runs_held on durable.runs (holder) where holder is not null;
  create index runs_ended on durable.runs (ended_at) where ended_at is not null;
  create index runs_newest on durable.runs (created_at, id);
  create index runs_newest_of_owner on durable.runs (owner, created_at, id) where owner is not null;

  create table durable.idempotency (
    key text collate "C" primary key,
    run_id text collate "C" not null,
    fingerprint text not null
  );
  create index idempotency_run on durable.idempotency (run_id);

  create table durable.inputs (run bigint primary key, body text not null);
  create table durable.results (run bigint primary key, body text not null);

  create table durable.outcomes (
    run bigint not null,
    pos integer not null,
    key text collate "C" not null,
    kind text not null,
    ok boolean not null,
    body text not null,
    calls integer not null,
    attempts integer not null,
    event_id text,
    took_ms bigint not null,
    committed_at bigint not null,
    primary key (run, pos),
    unique (run, key)
  );

  create table durable.waits (
    run_id text collate "C" not null,
    key text collate "C" not null,
    kind text not null,
    seq integer not null,
    event text collate "C",
    match text,
    leaf bigint,
    attempts integer not null,
    since bigint not null,
    until bigint,
    primary key (run_id, key)
  ) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
  create index waits_event on durable.waits (event, leaf) where event is not null;

  create table durable.events (
    n bigint generated always as identity primary key,
    id text collate "C" not null unique,
    name text collate "C" not null,
    data text not null,
    accepted_at bigint not null
  );
  create index events_name on durable.events (name, accepted_at, n);
  create index events_accepted on durable.events (accepted_at);

  create table durable.undispatched (event bigint primary key, since bigint not null)
    with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);

  create table durable.processes (
    id text collate "C" primary key,
    lease_ms bigint not null,
    beat_at bigint not null,
    lock_key bigint not null,
    locked_in bigint
  ) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100,
    autovacuum_vacuum_cost_delay = 0);

  create unlogged table durable.lives (
    only_one boolean primary key check (only_one),
    started bigint not null,
    since bigint not null
  );
  `,
  `
  alter table durable.runs
    add column kept_by text collate "C",
    add column blamed integer not null default 0,
    add column on_probation boolean not null default false;
  `,
  `
  create table durable.secrets (name text collate "C" primary key, value text not null);
  alter table durable.outcomes add column ordering text;
  alter table durable.outcomes add column event_name text collate "C";

  create index waits_look on durable.waits (event, leaf, run_id, key) where event is not null;
  drop index durable.waits_event;

  alter table durable.events add column indexed boolean not null default false;
  alter table durable.events drop constraint events_id_key;
  create unique index events_name_id on durable.events (name, id);
  create index events_unindexed on durable.events (name, accepted_at, n) where not indexed;
  create table durable.event_leaves (
    leaf bigint not null,
    accepted_at bigint not null,
    event bigint not null,
    primary key (leaf, accepted_at, event)
  );
  create index event_leaves_event on durable.event_leaves (event);

  alter table durable.undispatched add column set_aside boolean not null default false;
  `,
]

export const CREATE_SCHEMA = 'create schema durable_schema'

/**
 * These read the catalogue's tables: `to_regclass` would answer from a cache that does not know yet what another
 * process has created while this one waited for the lock. Whoever may not create schemas may be given one.
 */
export const HAS_SCHEMA = statement<[name: string], { readonly there: boolean }>(
  'has_schema',
  'select exists (select from pg_namespace where nspname = $1) as there',
)

export const HAS_MIGRATIONS = statement<[schema: string], { readonly there: boolean }>(
  'has_migrations',
  `select exists (
    select from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = $1 and c.relname = 'migrations'
  ) as there`,
)

export const CREATE_MIGRATIONS =
  'create table if not exists durable.migrations (version integer primary key, applied_at timestamptz not null default now())'

export const READ_VERSION = statement<[], { readonly version: number }>(
  'read_version',
  'select coalesce(max(version), 0) as version from durable.migrations',
)

export const RECORD_VERSION = statement<[version: number]>(
  'record_version',
  'insert into durable.migrations (version) values ($1)',
)

/**
 * A migration that waits for a table has everybody else wait behind it, and somebody may be reading it for hours (a
 * dump). So it gives up soon, and the process tries again later.
 */
export const LIMIT_LOCK_WAITS = `set local lock_timeout = '1s'`

export const LOCK_MIGRATIONS = statement<[key: string]>('lock_migrations', 'select pg_advisory_xact_lock($1::bigint)')

/**
 * For each connection. A statement is planned once, for any parameters: planning the batch statement takes as long as
 * running it. Such a plan must not depend on how full the tables were when it was made, and so it goes by indexes.
 */
export const CONFIGURE =
  'set enable_seqscan = off; set enable_bitmapscan = off; set enable_mergejoin = off; set jit = off; ' +
  'set array_nulls = on; ' + // parameters are arrays with nulls in them
  "set plan_cache_mode = force_generic_plan; set default_transaction_isolation = 'read committed'"

/** So that the server, too, notices when the host of a process is gone. */
export const CONFIGURE_LIVENESS =
  'set synchronous_commit = off; set tcp_keepalives_idle = 5; set tcp_keepalives_interval = 2; ' +
  'set tcp_keepalives_count = 3'

export interface Settings {
  readonly version: number
  readonly fsync: string
  readonly synchronousCommit: string
  readonly encoding: string
}

export const READ_SETTINGS = `
  select current_setting('server_version_num')::integer as version, current_setting('fsync') as fsync,
    current_setting('synchronous_commit') as "synchronousCommit", current_setting('server_encoding') as encoding`

export interface Role {
  readonly readOnly: boolean
}

/** Whether the server takes no writes: a standby, or one that was told so. */
export const READ_ROLE = `
  select pg_is_in_recovery() or current_setting('default_transaction_read_only')::boolean as "readOnly"`

export const THE_TIME = statement<[], { readonly at: number }>('the_time', `select ${NOW} as at`)
