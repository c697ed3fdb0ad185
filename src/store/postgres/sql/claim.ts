import { journalPart, type OutcomeTuple, RUN_COLUMNS, type RunRow, WAITS, type WaitTuple } from './rows.ts'
import { NOW, statement } from './statement.ts'

/** One row for each claimed run; where none is, one row whose `id` is null. */
export type ClaimRow = ClaimedRow | (NextDue & { readonly id: null })
type ClaimedRow = RunRow & NextDue

export interface NextDue {
  readonly at: number
  readonly nextDueAt: number | null
  /** Of a claimed run: since when it had been due. */
  readonly wasDueAt: number | null
}

function sinceOf(backMs: string): string {
  return `coalesce(${NOW} - ${backMs}::bigint, 0)`
}

/** $6: the names of servers, or null for any. */
const IS_SERVED = (run: string, servers: string): string =>
  `(${servers}::text[] is null or ${run}.server = any(${servers}::text[]))`

/** Kept in memory by nobody else, or due for so long that it is anybody's all the same. */
const IS_FREE = (run: string): string =>
  `(${run}.kept_by is null or ${run}.kept_by = $1 or ${run}.due_at <= ${NOW} - $7::bigint)`

/** $8: how many suspects may be taken, $9: with how many takeovers a run is one. */
const MAY_STILL_BE_TAKEN = (run: string): string =>
  `(${run}.takeovers < $9::integer or (select count(*) from chosen s where s.takeovers >= $9::integer) < $8::integer)`

/** The rest of both claims: takes what `chosen` names, and looks for what is due next. */
const TAKE = `
  claimed as (
    update durable.runs r set
      status = 'running', holder = $1, kept_by = null, epoch = r.epoch + 1, due_at = null, signalled = false,
      on_probation = r.takeovers >= $9::integer, updated_at = ${NOW}
    from chosen c
    where r.id = c.id
    returning r.*, c.due_at as was_due_at
  ),
  registered as (
    insert into durable.processes (id, lease_ms, beat_at, lock_key, locked_in)
    select $1, $2, ${NOW}, $3::bigint, $4::bigint
    where exists (select from chosen)
    on conflict (id) do nothing
  )
  select ${NOW} as at,
    least(
      (select d.due_at from durable.runs d
        where d.due_at > ${sinceOf('$5')} and ${IS_SERVED('d', '$6')} and d.id not in (select c.id from chosen c)
          and (${IS_FREE('d')} or d.due_at > ${NOW}) and ${MAY_STILL_BE_TAKEN('d')}
        order by d.due_at limit 1),
      (select d.due_at + $7::bigint from durable.runs d
        where d.due_at > ${NOW} - $7::bigint and d.due_at <= ${NOW} and ${IS_SERVED('d', '$6')}
          and d.id not in (select c.id from chosen c) and not ${IS_FREE('d')} and ${MAY_STILL_BE_TAKEN('d')}
        order by d.due_at limit 1)
    ) as "nextDueAt",
    r.was_due_at as "wasDueAt",
    ${RUN_COLUMNS}
  from (values (1)) as once left join claimed r on true
  order by r.was_due_at`

type Claimer = [
  processId: string,
  leaseMs: number,
  lockKey: string,
  lockedIn: number | null,
  /** How far back to look for due times (see claim-window.ts). */
  backMs: number | null,
  servers: readonly string[] | null,
  preferMs: number,
  suspects: number,
  suspectFrom: number,
]

/**
 * Runs that others are just claiming are skipped, and so nobody waits. Limited and locked in a CTE of its own: the
 * planner may otherwise run the limit more than once. Beyond a number of bytes the rest is left for another claim.
 */
export const CLAIM_DUE = statement<[...Claimer, limit: number, maxBytes: number], ClaimRow>(
  'claim_due',
  `
  with due as materialized (
    select r.id, r.due_at, r.bytes, r.takeovers from durable.runs r
    where r.due_at <= ${NOW} and r.due_at > ${sinceOf('$5')} and ${IS_SERVED('r', '$6')} and ${IS_FREE('r')}
      and (r.takeovers < $9::integer or $8::integer > 0)
    order by r.due_at
    limit $10
    for no key update skip locked
  ),
  chosen as materialized (
    select id, due_at, takeovers
    from (
      select d.*, sum(d.bytes) over earlier - d.bytes as bytes_before,
        count(*) filter (where d.takeovers >= $9::integer) over earlier as suspects
      from due d window earlier as (order by d.due_at, d.id)
    ) as counted
    where bytes_before < $11 and (takeovers < $9::integer or suspects <= $8::integer)
  ),
  ${TAKE}`,
)

/**
 * Waits for whoever has the row locked: an event that is being sent to a run must not make it look as if somebody
 * else had it.
 */
export const CLAIM_RUN = statement<[...Claimer, id: string, evenIfNotDue: boolean], ClaimRow>(
  'claim_run',
  `
  with chosen as materialized (
    select r.id, r.due_at, r.takeovers from durable.runs r
    where r.id = $10 and ${IS_SERVED('r', '$6')} and r.holder is null and r.ended_at is null
      and ($11 or (r.due_at <= ${NOW} and ${IS_FREE('r')} and (r.takeovers < $9::integer or $8::integer > 0)))
    for no key update
  ),
  ${TAKE}`,
)

export const NEXT_DUE = statement<[servers: readonly string[] | null], Pick<NextDue, 'at' | 'nextDueAt'>>(
  'next_due',
  `select ${NOW} as at,
    (select r.due_at from durable.runs r where r.due_at is not null and ${IS_SERVED('r', '$1')} order by r.due_at limit 1) as "nextDueAt"`,
)

/**
 * Of runs that this process has claimed, in a statement of its own: the one that claims would read the newest row of
 * a run, and its outcomes as of the statement's beginning, when their last ones may not have been committed yet.
 */
export const LOAD = statement<
  [ids: readonly string[], maxOutcomes: number],
  {
    readonly id: string
    readonly input: string
    readonly journal: readonly OutcomeTuple[]
    readonly waits: readonly WaitTuple[]
  }
>(
  'load',
  `
  select r.id, (select i.body from durable.inputs i where i.run = r.n) as input, ${journalPart('0', '$2::integer')} as journal, ${WAITS} as waits
  from durable.runs r
  where r.id = any($1::text[])`,
)
