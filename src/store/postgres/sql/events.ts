import { EVENT_COLUMNS, type EventRow } from './rows.ts'
import { NOW, statement } from './statement.ts'

/** Gives a row for each event whose id was not seen before. What is accepted is not dispatched yet. */
export const INSERT_EVENTS = statement<
  [ids: readonly string[], names: readonly string[], data: readonly string[]],
  { readonly n: number; readonly id: string; readonly at: number }
>(
  'insert_events',
  `
  with accepted as (
    insert into durable.events (id, name, data, accepted_at)
    select e.id, e.name, e.data, ${NOW}
    from unnest($1::text[], $2::text[], $3::text[]) with ordinality as e (id, name, data, ordinal)
    order by e.ordinal
    on conflict (id) do nothing
    returning n, id, accepted_at
  ),
  undispatched as (insert into durable.undispatched (event, since) select n, accepted_at from accepted)
  select n, id, accepted_at as at from accepted`,
)

/** Events of these ids that were accepted earlier, and never dispatched: the process died, or an answer was lost. */
export const FIND_UNDISPATCHED = statement<[ids: readonly string[]], EventRow>(
  'find_undispatched',
  `
  select e.n, ${EVENT_COLUMNS}
  from durable.events e join durable.undispatched u on u.event = e.n
  where e.id = any($1::text[])`,
)

/** Those that have been waiting for so long that nobody is at it any more. */
export const FIND_OVERDUE = statement<[afterMs: number, limit: number], EventRow>(
  'find_overdue',
  `
  select e.n, ${EVENT_COLUMNS}
  from durable.undispatched u join durable.events e on e.n = u.event
  where u.since < ${NOW} - $1::bigint
  order by u.event
  limit $2`,
)

/**
 * Open waits that these events may concern: those whose leaf is among the events' own, and those that have none. A
 * null among an event's leaves stands for all. Where no wait is found the events are dispatched already.
 */
export const FIND_WAITS = statement<
  [
    events: readonly number[],
    names: readonly string[],
    leafNames: readonly string[],
    leaves: readonly (string | null)[],
  ],
  { readonly runId: string; readonly event: string; readonly match: string | null }
>(
  'find_waits',
  `
  with found as materialized (
    select w.run_id, w.event, w.match
    from unnest($2::text[]) as c (name) join durable.waits w on w.event = c.name and w.leaf is null
    union
    select w.run_id, w.event, w.match
    from unnest($3::text[], $4::bigint[]) as c (name, leaf)
    join durable.waits w on w.event = c.name and w.leaf = c.leaf
    union
    select w.run_id, w.event, w.match
    from unnest($3::text[], $4::bigint[]) as c (name, leaf)
    join durable.waits w on w.event = c.name and c.leaf is null
  ),
  dispatched as (
    delete from durable.undispatched u where u.event = any($1::bigint[]) and not exists (select from found)
  )
  select run_id as "runId", event, match from found`,
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

/** A page of the events of one name, in the order of their acceptance. */
export const FIND_EVENTS = statement<
  [name: string, until: number | null, afterAt: number, afterN: number, limit: number],
  EventRow
>(
  'find_events',
  `
  select e.n, ${EVENT_COLUMNS}
  from durable.events e
  where e.name = $1 and e.accepted_at <= coalesce($2::bigint, 9223372036854775807)
    and (e.accepted_at, e.n) > ($3::bigint, $4::bigint)
  order by e.accepted_at, e.n
  limit $5`,
)
