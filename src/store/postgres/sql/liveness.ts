import { NOW, statement } from './statement.ts'

/** Since when the server has been up, as far as anybody has noticed. No row: nobody has yet. */
export const READ_LIFE = statement<[], { readonly since: number }>(
  'read_life',
  `select l.since from durable.lives l
  where l.started = floor(extract(epoch from pg_postmaster_start_time()) * 1000)::bigint`,
)

/** Writes it down, unless somebody else has just done so. */
export const NOTICE_LIFE = statement(
  'notice_life',
  `
  insert into durable.lives as l (only_one, started, since)
  values (true, floor(extract(epoch from pg_postmaster_start_time()) * 1000)::bigint, ${NOW})
  on conflict (only_one) do update set started = excluded.started, since = excluded.since
    where l.started <> excluded.started`,
)

export const TAKE_LOCK = statement<[key: string], { readonly taken: boolean }>(
  'take_lock',
  'select pg_try_advisory_lock($1::bigint) as taken',
)

/** Which of these locks nobody holds. */
export const FIND_FREE_LOCKS = statement<[keys: readonly string[]], { readonly key: string }>(
  'find_free_locks',
  `
  select k.key::text as key from unnest($1::bigint[]) as k (key)
  where not exists (
    select from pg_locks l
    where l.locktype = 'advisory' and l.granted and l.objsubid = 1
      and l.database = (select d.oid from pg_database d where d.datname = current_database())
      and ((l.classid::bigint << 32) | l.objid::bigint) = k.key
  )`,
)

export const READ_PROCESS = statement<
  [id: string],
  { readonly beatAgoMs: number; readonly leaseMs: number; readonly hasLock: boolean }
>(
  'read_process',
  `select ${NOW} - beat_at as "beatAgoMs", lease_ms as "leaseMs", locked_in is not null as "hasLock"
  from durable.processes where id = $1`,
)

export const PUT_PROCESS = statement<
  [id: string, leaseMs: number, lockKey: string, lockedIn: number | null],
  { readonly at: number }
>(
  'put_process',
  `
  insert into durable.processes (id, lease_ms, beat_at, lock_key, locked_in)
  values ($1, $2, ${NOW}, $3::bigint, $4::bigint)
  on conflict (id) do update set
    lease_ms = excluded.lease_ms, beat_at = excluded.beat_at, lock_key = excluded.lock_key,
    locked_in = excluded.locked_in
  returning beat_at as at`,
)

export const DELETE_PROCESS = statement<[id: string]>('delete_process', 'delete from durable.processes where id = $1')

export interface BeatRow {
  readonly at: number
  readonly registered: boolean
  readonly held: readonly (readonly [runId: string, epoch: number, signalled: boolean])[]
}

/** One narrow, HOT update, and what the process holds. */
export const BEAT = statement<[id: string, lockedIn: number | null], BeatRow>(
  'beat',
  `
  with beaten as (
    update durable.processes set beat_at = ${NOW}, locked_in = $2::bigint where id = $1 returning id
  )
  select ${NOW} as at, exists (select from beaten) as registered,
    (select coalesce(json_agg(json_build_array(r.id, r.epoch, r.signalled)), '[]')
      from durable.runs r where r.holder = $1) as held`,
)

/** One row for each suspect; where there is none, one row whose `id` is null. */
export type SuspectRow = Suspect | (Moment & { readonly id: null })

interface Moment {
  readonly at: number
  /** Null where nobody has noticed this life of the server yet. */
  readonly since: number | null
}

export interface Suspect extends Moment {
  readonly id: string
  readonly beatAt: number
  readonly lockKey: string
  /** Otherwise it is dead if its lock is free. */
  readonly leaseIsOver: boolean
}

/**
 * Processes that may be dead. Ages count from the beat, from when the server came up, or from when this process had
 * contact with it again, whichever is latest: what kept everybody from beating makes nobody dead.
 */
export const FIND_SUSPECTS = statement<[self: string, contactSince: number | null, lockGraceMs: number], SuspectRow>(
  'find_suspects',
  `
  select ${NOW} as at, l.since, p.id, p.beat_at as "beatAt", p.lock_key::text as "lockKey",
    p.age > p.lease_ms as "leaseIsOver"
  from (values (1)) as once
  left join durable.lives l on l.started = floor(extract(epoch from pg_postmaster_start_time()) * 1000)::bigint
  left join lateral (
    select o.*, ${NOW} - greatest(o.beat_at, l.since, $2::bigint) as age from durable.processes o
    where o.id <> $1 and l.since is not null
  ) as p on p.age > p.lease_ms or (p.age > $3::bigint and p.locked_in = l.since)`,
)

/** Unless it has beaten since it was found to be dead. */
export const STRIKE_OFF = statement<[id: string, beatAt: number], { readonly id: string }>(
  'strike_off',
  'delete from durable.processes where id = $1 and beat_at = $2::bigint returning id',
)

/** Ordered by id, as in the batch statement. */
export const LOCK_HELD = statement<
  [holder: string],
  { readonly id: string; readonly takeovers: number; readonly blamed: number; readonly onProbation: boolean }
>(
  'lock_held',
  `
  select r.id, r.takeovers, r.blamed, r.on_probation as "onProbation"
  from durable.runs r where r.holder = $1
  order by r.id
  for no key update`,
)

/** Of runs that are locked. */
export const RELEASE_HELD = statement<
  [ids: readonly string[], takeovers: readonly number[], blamed: readonly number[], waitsMs: readonly number[]]
>(
  'release_held',
  `
  update durable.runs r set
    status = 'suspended', holder = null, due_at = ${NOW} + v.waits_ms, takeovers = v.takeovers, blamed = v.blamed,
    on_probation = false, updated_at = ${NOW}
  from unnest($1::text[], $2::integer[], $3::integer[], $4::bigint[]) as v (id, takeovers, blamed, waits_ms)
  where r.id = v.id`,
)

/** Holders that are registered no more: they claimed in the moment in which they were struck off. */
export const FIND_ORPHANING = statement<[], { readonly holder: string }>(
  'find_orphaning',
  `
  select distinct r.holder from durable.runs r
  where r.holder is not null and not exists (select from durable.processes p where p.id = r.holder)`,
)

export const NOTIFY = statement<[channel: string, payloads: readonly string[]]>(
  'notify',
  'select pg_notify($1, p.payload) from unnest($2::text[]) as p (payload)',
)
