import type { OutcomeKind, RunStatus, WaitKind } from '../../store.ts'
import { RUN_COLUMNS, type RunRow } from './rows.ts'
import { NOW, statement } from './statement.ts'

export interface CommitRow {
  readonly id: string
  readonly at: number
  readonly accepted: boolean
  readonly signalled: boolean
  /** False where another transaction has just made the run or its key: a statement that begins now will see it. */
  readonly seen: boolean
  /** Whose the part's idempotency key is, if it is another run's. */
  readonly conflictId: string | null
  readonly fingerprint: string | null
}

/**
 * The batch statement: outcomes, waits, parks and ends of many runs in one round trip and one commit.
 *
 * 1. New runs are inserted, ordered by id, in the state that their part leads to; before them, their keys.
 * 2. The other runs are locked, ordered by id so that batches never wait for each other in a circle, and their rows
 *    read as of the lock: a plain select would read the epoch of its snapshot and accept stale writes (I3).
 * 3. Of those, the ones that this process holds under the part's epoch are written; a part that was accepted before
 *    (epoch and seq) counts as accepted and writes nothing.
 *
 * Tried by 4 processes with shuffled batches and takeovers at every moment: test/store/postgres/batch.test.ts.
 */
export const COMMIT = statement<
  [
    processId: string,
    leaseMs: number,
    lockKey: string,
    lockedIn: number | null,
    // Parts
    ids: readonly string[],
    epochs: readonly number[],
    seqs: readonly number[],
    nexts: readonly RunStatus[],
    wakeIns: readonly (number | null)[],
    results: readonly (string | null)[],
    outcomeCounts: readonly number[],
    bytes: readonly number[],
    resumeFailures: readonly (number | null)[],
    setsNotes: readonly boolean[],
    notes: readonly (string | null)[],
    // Their new runs
    creates: readonly boolean[],
    servers: readonly (string | null)[],
    operationNames: readonly (string | null)[],
    owners: readonly (string | null)[],
    versions: readonly (string | null)[],
    beganAgos: readonly (number | null)[],
    beganFloors: readonly (number | null)[],
    timeouts: readonly (number | null)[],
    inputs: readonly (string | null)[],
    // Outcomes
    outcomeRuns: readonly string[],
    positions: readonly number[],
    outcomeKeys: readonly string[],
    outcomeKinds: readonly OutcomeKind[],
    oks: readonly boolean[],
    bodies: readonly string[],
    calls: readonly number[],
    outcomeAttempts: readonly number[],
    eventIds: readonly (string | null)[],
    tooks: readonly number[],
    // Waits that are opened
    openRuns: readonly string[],
    openKeys: readonly string[],
    openKinds: readonly WaitKind[],
    openSeqs: readonly number[],
    events: readonly (string | null)[],
    matches: readonly (string | null)[],
    leaves: readonly (string | null)[],
    openAttempts: readonly number[],
    forMs: readonly (number | null)[],
    // Of each part again: idempotency keys of new runs; what a park and a note leave
    idempotencyKeys: readonly (string | null)[],
    fingerprints: readonly (string | null)[],
    keeps: readonly boolean[],
    suspicions: readonly ('cleared' | 'acquitted' | null)[],
    // Of each outcome, and of each wait that is opened, again
    orderings: readonly (string | null)[],
    openAgos: readonly number[],
    eventNames: readonly (string | null)[],
  ],
  CommitRow
>(
  'commit',
  `
  with part as materialized (
    select p.*, ${NOW} as at, least(${NOW} - p.began_ago, p.began_floor) as began_at,
      ${NOW} - p.began_ago + p.timeout_ms as timeout_at
    from unnest($5::text[], $6::integer[], $7::integer[], $8::text[], $9::bigint[], $10::text[], $11::integer[],
        $12::bigint[], $13::integer[], $14::boolean[], $15::text[], $16::boolean[], $17::text[], $18::text[],
        $19::text[], $20::text[], $21::bigint[], $22::bigint[], $23::bigint[], $24::text[], $44::text[], $45::text[],
        $46::boolean[], $47::text[])
      as p (id, epoch, seq, next, wake_in, result, outcomes, bytes, resume_failures, sets_note, note, creates, server,
        operation_name, owner, version, began_ago, began_floor, timeout_ms, input, idempotency_key, fingerprint, keeps,
        suspicion)
  ),
  registered as (
    insert into durable.processes (id, lease_ms, beat_at, lock_key, locked_in)
    select $1, $2, ${NOW}, $3::bigint, $4::bigint
    where exists (select from part where creates)
    on conflict (id) do nothing
    returning id
  ),
  keyed as (
    insert into durable.idempotency (key, run_id, fingerprint)
    select p.idempotency_key, p.id, p.fingerprint from part p
    where p.creates and p.idempotency_key is not null
    order by p.idempotency_key, p.id
    on conflict (key) do nothing
    returning run_id
  ),
  created as (
    insert into durable.runs (id, status, epoch, holder, kept_by, len, bytes, due_at, signalled, server, operation_name, owner,
      version, began_at, created_at, updated_at, ended_at, timeout_at, takeovers, resume_failures, note, commit_by,
      commit_epoch, commit_seq)
    select p.id, p.next, p.epoch, case p.next when 'running' then $1 end, case when p.keeps then $1 end, p.outcomes,
      p.bytes,
      case p.next when 'suspended' then least(p.at + p.wake_in, p.timeout_at) end,
      false, p.server, p.operation_name, p.owner, p.version, p.began_at, p.at, p.at,
      case when p.next in ('completed', 'failed', 'cancelled') then p.at end,
      p.timeout_at, 0, coalesce(p.resume_failures, 0), p.note, $1, p.epoch, p.seq
    from part p
    where p.creates and (select count(*) from registered) >= 0 -- which may wait for whoever strikes us off
      and (p.idempotency_key is null or p.id in (select k.run_id from keyed k))
    order by p.id
    on conflict (id) do nothing
    returning id, n
  ),
  existing as materialized (
    select r.id, r.n, r.epoch, r.holder, r.signalled,
      r.commit_by = $1 as by_us, r.commit_epoch, r.commit_seq
    from durable.runs r
    where r.id = any($5::text[])
      and (select count(*) from created) >= 0 -- inserts come first, in every batch
    order by r.id
    for no key update
  ),
  verdict as materialized (
    select p.*, coalesce(c.n, e.n) as n, c.id is not null as is_new, coalesce(e.signalled, false) as signalled,
      coalesce(c.id, e.id, i.run_id) is not null as seen,
      case when i.run_id <> p.id then i.run_id end as conflict_id, i.fingerprint as conflict_fingerprint,
      coalesce(e.by_us and e.commit_epoch = p.epoch and p.seq <= e.commit_seq, false) as is_repeated,
      c.id is not null or coalesce(not p.creates and e.holder = $1 and e.epoch = p.epoch, false) as is_ours
    from part p
    left join created c on c.id = p.id
    left join existing e on e.id = p.id
    left join durable.idempotency i on p.creates and i.key = p.idempotency_key
  ),
  target as materialized (
    select * from verdict where is_ours and not is_repeated
  ),
  inputs as (
    insert into durable.inputs (run, body) select t.n, t.input from target t where t.is_new
  ),
  results as (
    insert into durable.results (run, body) select t.n, t.result from target t where t.result is not null
  ),
  outcomes as (
    insert into durable.outcomes (run, pos, key, kind, ok, body, calls, attempts, event_id, event_name, took_ms, ordering,
      committed_at)
    select t.n, o.pos, o.key, o.kind, o.ok, o.body, o.calls, o.attempts, o.event_id, o.event_name, o.took_ms, o.ordering,
      t.at
    from unnest($25::text[], $26::integer[], $27::text[], $28::text[], $29::boolean[], $30::text[], $31::integer[],
        $32::integer[], $33::text[], $34::bigint[], $48::text[], $50::text[])
      as o (run_id, pos, key, kind, ok, body, calls, attempts, event_id, took_ms, ordering, event_name)
    join target t on t.id = o.run_id
  ),
  opened as (
    insert into durable.waits (run_id, key, kind, seq, event, match, leaf, attempts, since, until)
    select t.id as run_id, w.key, w.kind, w.seq, w.event, w.match, w.leaf, w.attempts, t.at - w.ago as since,
      t.at + w.for_ms as until
    from unnest($35::text[], $36::text[], $37::text[], $38::integer[], $39::text[], $40::text[], $41::bigint[],
        $42::integer[], $43::bigint[], $49::bigint[])
      as w (run_id, key, kind, seq, event, match, leaf, attempts, for_ms, ago)
    join target t on t.id = w.run_id
    on conflict (run_id, key) do update set
      kind = excluded.kind, seq = excluded.seq, event = excluded.event, match = excluded.match, leaf = excluded.leaf,
      attempts = excluded.attempts, since = excluded.since, until = excluded.until
  ),
  closed as (
    delete from durable.waits w
    using unnest($25::text[], $27::text[]) as o (run_id, key), target t
    where w.run_id = o.run_id and w.key = o.key and t.id = o.run_id and not t.is_new and t.result is null
  ),
  emptied as (
    delete from durable.waits w using target t where w.run_id = t.id and not t.is_new and t.result is not null
  ),
  updated as (
    update durable.runs r set
      len = r.len + t.outcomes,
      bytes = r.bytes + t.bytes,
      takeovers = case when t.outcomes > 0 or t.suspicion = 'cleared' then 0 else r.takeovers end,
      blamed = case when t.outcomes > 0 or t.suspicion = 'cleared' then 0 else r.blamed end,
      on_probation = r.on_probation and t.outcomes = 0 and t.suspicion is null and t.next = 'running',
      resume_failures = coalesce(t.resume_failures, r.resume_failures),
      note = case when t.sets_note then t.note else r.note end,
      updated_at = t.at,
      commit_by = $1,
      commit_epoch = t.epoch,
      commit_seq = t.seq,
      status = t.next,
      holder = case t.next when 'running' then r.holder end,
      kept_by = case when t.keeps then $1 end,
      due_at = case t.next
        when 'suspended' then case when r.signalled then t.at else least(t.at + t.wake_in, r.timeout_at) end
      end,
      signalled = r.signalled and t.result is null,
      ended_at = case when t.result is not null then t.at end
    from target t
    where r.id = t.id and r.id = any($5::text[]) and not t.is_new
  )
  select id, at, is_ours or is_repeated as accepted, signalled and (is_repeated or result is null) as signalled, seen,
    conflict_id as "conflictId", conflict_fingerprint as fingerprint
  from verdict`,
)

export const LOCK_RUN = statement<[id: string], { readonly ended: boolean }>(
  'lock_run',
  'select r.ended_at is not null as ended from durable.runs r where r.id = $1 for no key update',
)

export const READ_RUN = statement<[id: string], RunRow>(
  'read_run',
  `select ${RUN_COLUMNS} from durable.runs r where r.id = $1`,
)

/** Of a run that is locked, and has not ended. */
export const END = statement<[id: string, status: string, result: string], RunRow>(
  'end',
  `
  with closed as (delete from durable.waits where run_id = $1),
  ended as (
    update durable.runs r set
      status = $2, epoch = r.epoch + 1, holder = null, kept_by = null, due_at = null, signalled = false, ended_at = ${NOW},
      updated_at = ${NOW}
    where r.id = $1
    returning r.*
  ),
  result as (insert into durable.results (run, body) select n, $3 from ended)
  select ${RUN_COLUMNS} from ended r`,
)
