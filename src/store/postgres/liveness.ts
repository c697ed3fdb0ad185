import type { BeatReceipt } from '../store.ts'
import { StoreError } from '../store.ts'
import { judgeDeath, withoutVerdict } from '../suspicion.ts'
import { fromText } from '../text.ts'
import { sweep } from './events.ts'
import type { Connection } from './lane.ts'
import type { Caller } from './session.ts'
import * as sql from './sql/liveness.ts'

/*
 * A process is registered from `connect` to `close`. It is dead when its lease has run out, or sooner: when its lock is
 * gone (see presence.ts) and it has not beaten for LOCK_GRACE_MS, in which one that only lost its connection comes back.
 *
 * All locks are gone after a restart of the server too. So each process notes in which life of the server it took its
 * lock (`lives`, a table that is emptied by a crash of the server, and whose row names the server's start), and is not
 * judged by a lock of an earlier life. Leases as well count from the beginning of the present life, and from when the
 * observer came back after it had lost contact itself.
 *
 * Who is dead is found by `reap`, which gives its runs back and strikes it off. One that was struck off and lives after
 * all comes back with its next beat, claim or new run; what it held is not its any more (I3).
 */

const LOCK_GRACE_MS = 1_500
/** An observer that heard nothing for so long knows nothing about the beats of others. */
const CONTACT_GAP_MS = 3_000

/** What an observer knows of its own contact with the server. */
export class Contact {
  #lastAt: number | null = null
  #since: number | null = null
  #lost = false

  /** On the server's clock; null: never lost. */
  get since(): number | null {
    return this.#since
  }

  /** Nobody can say what the server, or another in its place, has done meanwhile. */
  get isLost(): boolean {
    return this.#lost || (this.#lastAt !== null && performance.now() - this.#lastAt > CONTACT_GAP_MS)
  }

  lose(): void {
    this.#lost = true
  }

  /** The server answered, and this was its time. True where contact had been lost. */
  confirm(at: number): boolean {
    const isNew = this.isLost
    if (isNew) this.#since = at
    this.#lost = false
    this.#lastAt = performance.now()
    return isNew
  }
}

export async function register(caller: Caller): Promise<void> {
  const { presence, processId } = caller
  await presence.readLife()
  const isLocked = await presence.lock()
  const [standing] = await presence.lane.query(sql.READ_PROCESS, processId)
  const isAlive = caller.ownsConnections ? !isLocked : standing && standing.beatAgoMs <= standing.leaseMs
  if (isAlive) {
    throw new StoreError(
      'broken',
      `Expected a processId of its own for each life of a process, but "${processId}" is connected already.`,
    )
  }
  await caller.send('connect', () =>
    caller.clock.timed(() =>
      caller.general.transaction(async (connection) => {
        // An earlier life under the same id: what it held must not pass for this one's.
        await release(caller, connection, processId, 1)
        return putProcess(caller, connection)
      }),
    ),
  )
}

export async function unregister(caller: Caller): Promise<void> {
  await caller.send('close', () =>
    caller.general.transaction(async (connection) => {
      await release(caller, connection, caller.processId, 0)
      await connection.query(sql.DELETE_PROCESS, caller.processId)
    }),
  )
}

/** What a process with a lock may rely on after a beat: its lock may be gone in the next moment, and it would not know. */
export function goodForMs(leaseMs: number): number {
  return Math.min(leaseMs, LOCK_GRACE_MS)
}

export async function beat(caller: Caller): Promise<BeatReceipt> {
  const { silence, contact, destination } = caller
  // Whoever was away itself, a frozen process say, has to look for itself whether the server is still the one.
  if (contact.isLost) await destination.look().catch(() => {}) // the beat will say it
  return silence.broken(() => beatNow(caller))
}

async function beatNow(caller: Caller): Promise<BeatReceipt> {
  const { presence, processId, leaseMs, contact, clock } = caller
  try {
    await presence.lock()
    const { lockedIn } = presence
    const [row] = await caller.send('beat', () => clock.timed(() => presence.lane.query(sql.BEAT, processId, lockedIn)))
    const { at, registered, held } = row as sql.BeatRow // it has no `from` clause
    if (!registered) await putProcess(caller, presence.lane)
    contact.confirm(at)
    return {
      at,
      goodForMs: lockedIn === null ? leaseMs : goodForMs(leaseMs),
      held: held.map(([runId, epoch, signalled]) => ({ runId: fromText(runId), epoch, signalled })),
    }
  } catch (error) {
    contact.lose()
    throw error
  }
}

export async function reap(caller: Caller): Promise<number> {
  const { presence, processId, contact, general } = caller
  let released = 0
  try {
    const rows = await general.query(sql.FIND_SUSPECTS, processId, contact.since, LOCK_GRACE_MS)
    const isNewToContact = contact.confirm(rows[0]?.at ?? 0)
    if (rows[0]?.since === null) await presence.readLife()
    // Found by what was believed of the contact before: looked for again the next time.
    const suspects = isNewToContact ? [] : rows.filter(isSuspect)
    for (const { id, beatAt } of await findDead(caller, suspects)) released += await strikeOff(caller, id, beatAt)
  } catch (error) {
    contact.lose()
    throw error
  }
  released += await releaseOrphans(caller)
  await sweep(caller)
  return released
}

function isSuspect(row: sql.SuspectRow): row is sql.Suspect {
  return row.id !== null
}

async function findDead({ general }: Caller, suspects: readonly sql.Suspect[]): Promise<readonly sql.Suspect[]> {
  const unsure = suspects.filter(({ leaseIsOver }) => !leaseIsOver)
  if (unsure.length === 0) return suspects
  const free = await general.query(
    sql.FIND_FREE_LOCKS,
    unsure.map(({ lockKey }) => lockKey),
  )
  const freeKeys = new Set(free.map(({ key }) => key))
  return suspects.filter(({ leaseIsOver, lockKey }) => leaseIsOver || freeKeys.has(lockKey))
}

async function strikeOff(caller: Caller, processId: string, beatAt: number): Promise<number> {
  return caller.send('reap', () =>
    caller.general.transaction(async (connection) => {
      const struck = await connection.query(sql.STRIKE_OFF, processId, beatAt)
      return struck.length === 0 ? 0 : release(caller, connection, processId, 1)
    }),
  )
}

/** Now and then: it takes a look at every run that is held. */
async function releaseOrphans(caller: Caller): Promise<number> {
  if (!caller.isTimeForOrphans()) return 0
  let released = 0
  for (const { holder } of await caller.general.query(sql.FIND_ORPHANING)) {
    released += await caller.send('reap', () =>
      caller.general.transaction((connection) => release(caller, connection, holder, 1)),
    )
  }
  return released
}

/** In a transaction. */
async function release(caller: Caller, connection: Connection, holder: string, takeovers: 0 | 1): Promise<number> {
  const held = await connection.query(sql.LOCK_HELD, holder)
  if (held.length === 0) return 0
  const judged =
    takeovers === 1 ? judgeDeath(held, caller.suspects) : held.map((run) => ({ run, verdict: withoutVerdict(run) }))
  await connection.query(
    sql.RELEASE_HELD,
    judged.map(({ run }) => run.id),
    judged.map(({ verdict }) => verdict.takeovers),
    judged.map(({ verdict }) => verdict.blamed),
    judged.map(({ verdict }) => verdict.waitsMs),
  )
  caller.hints.emit({ kind: 'due' })
  return held.length
}

function putProcess({ processId, leaseMs, presence }: Caller, connection: Connection): Promise<{ at: number }[]> {
  return connection.query(sql.PUT_PROCESS, processId, leaseMs, presence.lockKey, presence.lockedIn)
}
