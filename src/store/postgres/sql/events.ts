import { EVENT_COLUMNS, type EventRow } from './rows.ts'
import { NOW, statement } from './statement.ts'

/**
 * Gives a row for each event whose id was not seen before under its name. What is accepted is not dispatched yet. Leaves
 * are those by which events are found, each with its event's place in the call.
 */
export const INSERT_EVENTS = statement<
  [
    ids: readonly string[],
    names: readonly string[],
    data: readonly string[],
    indexed: readonly boolean[],
    leafPlaces: readonly number[],
    leaves: readonly string[],
  ],
  { readonly n: number; readonly id: string; readonly name: string; readonly at: number }
>(
  'insert_events',
  `
  with sent as materialized (
    select e.* from unnest($1::text[], $2::text[], $3::text[], $4::boolean[]) with ordinality
      as e (id, name, data, indexed, place)
  ),
  accepted as (
    insert into durable.events (id, name, data, accepted_at, indexed)
    select s.id, s.name, s.data, ${NOW}, s.indexed from sent s order by s.place
    on conflict (name, id) do nothing
    returning n, id, name, accepted_at
  ),
  undispatched as (insert into durable.undispatched (event, since) select n, accepted_at from accepted),
  leaves as (
    insert into durable.event_leaves (leaf, accepted_at, event)
    select l.leaf, a.accepted_at, a.n
    from unnest($5::bigint[], $6::bigint[]) as l (place, leaf)
    join sent s on s.place = l.place
    join accepted a on a.name = s.name and a.id = s.id
  )
  select n, id, name, accepted_at as at from accepted`,
)

type UndispatchedRow = Omit<EventRow, 'acceptedAt'>

/** Events of these ids that were accepted earlier, and never dispatched: the process died, or an answer was lost. */
export const FIND_UNDISPATCHED = statement<[names: readonly string[], ids: readonly string[]], UndispatchedRow>(
  'find_undispatched',
  `
  select e.n, e.id, e.name, e.data
  from unnest($1::text[], $2::text[]) as k (name, id)
  join durable.events e on e.name = k.name and e.id = k.id
  join durable.undispatched u on u.event = e.n`,
)

/** Those that have been waiting for so long that nobody is at it any more. */
export const FIND_OVERDUE = statement<[afterMs: number, limit: number], UndispatchedRow>(
  'find_overdue',
  `
  select e.n, e.id, e.name, e.data
  from durable.undispatched u join durable.events e on e.n = u.event
  where u.since < ${NOW} - $1::bigint and not u.set_aside
  order by u.event
  limit $2`,
)

export const SET_ASIDE = statement<[event: number]>(
  'set_aside',
  'update durable.undispatched set set_aside = true where event = $1',
)

export interface WaitRow {
  readonly runId: string
  readonly key: string
  readonly event: string
  readonly match: string | null
}

/**
 * A page of the open waits that these events may concern, by run and key: those whose leaf is among the events' own,
 * and those that have none. A null among an event's leaves stands for all. Where no wait is found the events are
 * dispatched already.
 */
export const FIND_WAITS = statement<
  [
    events: readonly number[],
    names: readonly string[],
    leafNames: readonly string[],
    leaves: readonly (string | null)[],
    afterRun: string,
    afterKey: string,
    limit: number,
  ],
  WaitRow
>(
  'find_waits',
  `
  with concerned as materialized (
    select distinct c.name, c.leaf from unnest($3::text[], $4::bigint[]) as c (name, leaf)
  ),
  found as materialized (
    select f.run_id, f.key, f.event, f.match
    from (
      select w.* from unnest($2::text[]) as c (name) cross join lateral (
        select w.run_id, w.key, w.event, w.match from durable.waits w
        where w.event = c.name and w.leaf is null and (w.run_id, w.key) > ($5, $6)
        order by w.run_id, w.key limit $7
      ) as w
      union all
      select w.* from concerned c cross join lateral (
        select w.run_id, w.key, w.event, w.match from durable.waits w
        where w.event = c.name and w.leaf = c.leaf and (w.run_id, w.key) > ($5, $6)
        order by w.run_id, w.key limit $7
      ) as w
      union all
      select w.* from concerned c cross join lateral (
        select w.run_id, w.key, w.event, w.match from durable.waits w
        where w.event = c.name and c.leaf is null and w.leaf is not null and (w.run_id, w.key) > ($5, $6)
        order by w.run_id, w.key limit $7
      ) as w
    ) as f
    order by f.run_id, f.key
    limit $7
  ),
  dispatched as (
    delete from durable.undispatched u where u.event = any($1::bigint[]) and not exists (select from found)
  )
  select run_id as "runId", key, event, match from found order by run_id, key`,
)

/**
 * The flag survives a park that is on its way; the due time is for one that has already happened (I6). Ordered by id,
 * as in the batch statement. With the last of the runs the events are dispatched.
 */
export const SIGNAL = statement<[runIds: readonly string[], events: readonly number[]], { readonly id: string }>(
  'signal',
  `
  with locked as materialized (
    select r.id from durable.runs r where r.id = any($1::text[]) order by r.id for no key update
  ),
  dispatched as (delete from durable.undispatched u where u.event = any($2::bigint[]))
  update durable.runs r set
    signalled = true,
    due_at = case when r.holder is null then least(r.due_at, ${NOW}) else r.due_at end,
    updated_at = ${NOW}
  from locked l
  where r.id = l.id and r.id = any($1::text[]) and r.ended_at is null
  returning r.id`,
)

/**
 * A page of the events of one name, in the order of their acceptance: those that one of the index keys may find, or
 * all (null). Events may be large, and so a page is one of bytes, too; it has one event at least.
 */
export const FIND_EVENTS = statement<
  [name: string, until: number | null, afterAt: number, afterN: number, limit: number, keys: readonly string[] | null],
  EventRow & { readonly isLast: boolean }
>(
  'find_events',
  `
  with places as materialized (
    select distinct p.accepted_at, p.n
    from (
      select p.* from unnest($6::bigint[]) as k (leaf) cross join lateral (
        select l.accepted_at, l.event as n from durable.event_leaves l
        where l.leaf = k.leaf and l.accepted_at <= coalesce($2::bigint, 9223372036854775807)
          and (l.accepted_at, l.event) > ($3::bigint, $4::bigint)
        order by l.accepted_at, l.event limit $5
      ) as p
      union all
      (select e.accepted_at, e.n from durable.events e
        where $6::bigint[] is not null and not e.indexed
          and e.name = $1 and e.accepted_at <= coalesce($2::bigint, 9223372036854775807)
          and (e.accepted_at, e.n) > ($3::bigint, $4::bigint)
        order by e.accepted_at, e.n limit $5)
      union all
      (select e.accepted_at, e.n from durable.events e
        where $6::bigint[] is null
          and e.name = $1 and e.accepted_at <= coalesce($2::bigint, 9223372036854775807)
          and (e.accepted_at, e.n) > ($3::bigint, $4::bigint)
        order by e.accepted_at, e.n limit $5)
    ) as p
    order by p.accepted_at, p.n
    limit $5
  ),
  sized as (
    select e.*,
      count(*) over () < $5 and row_number() over (order by e.accepted_at, e.n) = count(*) over () as is_last,
      sum(pg_column_size(e.data)) over (order by e.accepted_at, e.n) - pg_column_size(e.data) as bytes_before
    from places p join durable.events e on e.n = p.n
  )
  select e.n, ${EVENT_COLUMNS}, e.is_last as "isLast"
  from sized e
  where e.bytes_before < 4000000
  order by e.accepted_at, e.n`,
)

/** How many events each index key may find; it is not counted further than to a number. */
export const COUNT_KEYS = statement<
  [keys: readonly string[], since: number, limit: number],
  { readonly key: string; readonly count: number }
>(
  'count_keys',
  `
  select k.leaf::text as key, c.count
  from unnest($1::bigint[]) as k (leaf) cross join lateral (
    select count(*)::integer as count from (
      select from durable.event_leaves l where l.leaf = k.leaf and l.accepted_at >= $2::bigint limit $3
    ) as counted
  ) as c`,
)
