import { statement } from './statement.ts'

/** Marks the file as ours: "gqld". */
export const APPLICATION_ID = 0x67716c64

/**
 * The schema's history: entry n takes a file from version n to n + 1. Published entries are never changed.
 *
 * Rows refer to a run by its number: it is smaller than an id, and numbers rise, so that the indexes grow at one end.
 * `due_at` is set for parked runs only, hence the partial index is all that a claim looks at.
 *
 * - `waits.leaf` narrows down which of them an event may concern, and `event_leaves` which events a wait may (leaf.ts).
 *   A wait without a leaf, and an event that is not `indexed`, is looked at whatever it is about.
 * - `undispatched` names events that concern more waits than one transaction should signal, until all of them are.
 * - `doomed` runs are deleted already, and some of what belongs to them is left: it was too much for one transaction.
 *
 * A process of an earlier version that goes on beside a newer one does not know that events are of their names: what it
 * sends is refused, and not lost unseen.
 */
export const MIGRATIONS: readonly string[] = [
  `
  create table runs (
    n integer primary key,
    id text not null unique,
    status text not null,
    epoch integer not null,
    holder text,
    len integer not null,
    due_at integer,
    signalled integer not null,
    server text not null,
    operation_name text,
    owner text,
    version text,
    began_at integer not null,
    created_at integer not null,
    updated_at integer not null,
    ended_at integer,
    timeout_at integer,
    takeovers integer not null,
    resume_failures integer not null,
    note text,
    commit_by text,
    commit_epoch integer,
    commit_seq integer
  );
  create index runs_due on runs (due_at) where due_at is not null;
  create index runs_held on runs (holder) where holder is not null;
  create index runs_ended on runs (ended_at) where ended_at is not null;
  create index runs_newest on runs (created_at, id);
  create index runs_newest_of_owner on runs (owner, created_at, id) where owner is not null;

  create table idempotency (key text primary key, run integer not null, fingerprint text not null) without rowid;
  create index idempotency_run on idempotency (run);

  create table inputs (run integer primary key, body text not null);
  create table results (run integer primary key, body text not null);

  create table outcomes (
    run integer not null,
    pos integer not null,
    key text not null,
    kind text not null,
    ok integer not null,
    body text not null,
    calls integer not null,
    attempts integer not null,
    event_id text,
    took_ms integer not null,
    committed_at integer not null,
    primary key (run, pos),
    unique (run, key)
  ) without rowid;

  create table waits (
    run integer not null,
    key text not null,
    kind text not null,
    seq integer not null,
    event text,
    match text,
    attempts integer not null,
    since integer not null,
    until integer,
    primary key (run, key)
  ) without rowid;
  create index waits_event on waits (event) where event is not null;

  create table events (
    n integer primary key,
    id text not null unique,
    name text not null,
    data text not null,
    accepted_at integer not null
  );
  create index events_name on events (name, accepted_at);
  create index events_accepted on events (accepted_at);

  create table processes (
    id text primary key,
    lease_ms integer not null,
    beat_at integer not null
  ) without rowid;
  `,
  `
  alter table runs add column kept_by text;
  alter table runs add column blamed integer not null default 0;
  alter table runs add column on_probation integer not null default 0;
  alter table processes add column touches integer not null default 0;
  `,
  `
  create table secrets (name text primary key, value text not null) without rowid;
  alter table outcomes add column ordering text;
  alter table outcomes add column event_name text;
  alter table runs add column doomed integer not null default 0;
  create index runs_doomed on runs (n) where doomed = 1;

  alter table waits add column leaf integer;
  drop index waits_event;
  create index waits_event on waits (event, leaf) where event is not null;

  create table events_of_names (
    n integer primary key,
    id text not null,
    name text not null,
    data text not null,
    accepted_at integer not null,
    indexed integer not null,
    unique (name, id)
  );
  insert into events_of_names (n, id, name, data, accepted_at, indexed)
    select n, id, name, data, accepted_at, 0 from events;
  drop table events;
  alter table events_of_names rename to events;
  create index events_name on events (name, accepted_at);
  create index events_accepted on events (accepted_at);
  create index events_unindexed on events (name, accepted_at) where indexed = 0;
  create table event_leaves (
    event integer not null,
    leaf integer not null,
    accepted_at integer not null,
    primary key (leaf, accepted_at, event)
  ) without rowid;
  create index event_leaves_event on event_leaves (event);

  create table undispatched (event integer primary key, since integer not null, set_aside integer not null default 0);
  `,
]

export const WRITE_AHEAD_LOG = statement<[], { journal_mode: string }>('pragma journal_mode = wal')
/** Every commit is on the disk before it is answered (I1). */
export const SYNCHRONOUS_FULL = statement('pragma synchronous = full')
export const USER_VERSION = statement<[], { user_version: number }>('pragma user_version')
export const THE_APPLICATION_ID = statement<[], { application_id: number }>('pragma application_id')
export const COUNT_TABLES = statement<[], { count: number }>('select count(*) as count from sqlite_master')
export const DATA_VERSION = statement<[], { data_version: number }>('pragma data_version')

export const BEGIN_READ = statement('begin')
export const BEGIN_WRITE = statement('begin immediate')
export const COMMIT = statement('commit')
export const ROLLBACK = statement('rollback')
