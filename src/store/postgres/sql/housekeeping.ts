import { NOW, statement } from './statement.ts'

/** Nobody writes a run that has ended, and so one statement sees all that belongs to it. */
const REMOVE = `
  outcomes as (delete from durable.outcomes o using doomed d where o.run = d.n),
  inputs as (delete from durable.inputs i using doomed d where i.run = d.n),
  results as (delete from durable.results x using doomed d where x.run = d.n),
  waits as (delete from durable.waits w using doomed d where w.run_id = d.id),
  keys as (delete from durable.idempotency k using doomed d where k.run_id = d.id),
  runs as (delete from durable.runs r using doomed d where r.id = d.id)`

export const DELETE_RUN = statement<[id: string], { readonly id: string }>(
  'delete_run',
  `
  with doomed as materialized (
    select r.id, r.n from durable.runs r where r.id = $1 and r.ended_at is not null for update
  ),
  ${REMOVE}
  select id from doomed`,
)

/** At least one; then as many as stay within the bounds. Other processes may be at the same. */
export const PRUNE_RUNS = statement<
  [olderThanMs: number, maxRuns: number, maxOutcomes: number],
  { readonly runs: number; readonly more: boolean }
>(
  'prune_runs',
  `
  with old as materialized (
    select r.id, r.n, r.len, r.ended_at from durable.runs r
    where r.ended_at < ${NOW} - $1::bigint
    order by r.ended_at
    limit $2
    for update skip locked
  ),
  doomed as materialized (
    select id, n
    from (select o.*, sum(o.len) over (order by o.ended_at, o.id) as total, row_number() over (order by o.ended_at, o.id) as place
      from old o) as counted
    where place = 1 or total <= $3
  ),
  ${REMOVE}
  select count(*)::integer as runs,
    exists (
      select from durable.runs r
      where r.ended_at < ${NOW} - $1::bigint and r.id not in (select d.id from doomed d)
    ) as more
  from doomed`,
)

export const PRUNE_EVENTS = statement<
  [olderThanMs: number, maxEvents: number],
  { readonly events: number; readonly more: boolean }
>(
  'prune_events',
  `
  with doomed as materialized (
    select e.n from durable.events e
    where e.accepted_at < ${NOW} - $1::bigint
    order by e.accepted_at
    limit $2
    for update skip locked
  ),
  undispatched as (delete from durable.undispatched u using doomed d where u.event = d.n),
  leaves as (delete from durable.event_leaves l using doomed d where l.event = d.n),
  events as (delete from durable.events e using doomed d where e.n = d.n)
  select count(*)::integer as events,
    exists (
      select from durable.events e
      where e.accepted_at < ${NOW} - $1::bigint and e.n not in (select d.n from doomed d)
    ) as more
  from doomed`,
)

/** Whoever comes second gets the first one's. */
export const SECRET = statement<[name: string, value: string], { readonly value: string }>(
  'secret',
  `insert into durable.secrets as s (name, value) values ($1, $2)
  on conflict (name) do update set value = s.value
  returning s.value`,
)
