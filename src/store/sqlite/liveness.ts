import type { BeatReceipt } from '../store.ts'
import { StoreError } from '../store.ts'
import { judgeDeath, withoutVerdict } from '../suspicion.ts'
import type { Hint } from './database.ts'
import { sweep } from './events.ts'
import { IN_MEMORY } from './open.ts'
import type { Caller } from './session.ts'
import * as sql from './sql/liveness.ts'
import type { ProcessRow } from './sql/liveness.ts'

/*
 * A process is registered from `connect` to `close`, and shows all the while that it lives (see presence.ts). Who does
 * not is found by `reap`, which gives its runs back and strikes it off. One that was struck off and lives after all
 * comes back with its next beat, claim or new run; what it held is not its any more (I3).
 */

export function register(caller: Caller): Promise<void> {
  const { database, presence, processId } = caller
  return caller.write('connect', (hint) => {
    const standing = database.get(sql.READ_PROCESS, processId)
    presence.show()
    if (standing && database.path === IN_MEMORY && !presence.isDead(standing, caller.now())) {
      throw new StoreError(
        'broken',
        `Expected a processId of its own for each life of a process, but "${processId}" is connected already.`,
      )
    }
    // An earlier life under the same id: what it held must not pass for this one's.
    if (standing) release(caller, hint, processId, 1)
    putProcess(caller)
    presence.forgetAllBut(new Set(database.all(sql.READ_PROCESSES).map(({ id }) => id)))
  })
}

export function unregister(caller: Caller): Promise<void> {
  const { database, processId } = caller
  return caller.write('close', (hint) => {
    release(caller, hint, processId, 0)
    database.run(sql.DELETE_PROCESS, processId)
  })
}

/** In a write transaction. */
export function ensureRegistered(caller: Caller): void {
  if (caller.database.get(sql.READ_PROCESS, caller.processId)) return
  caller.presence.show()
  putProcess(caller)
}

export async function beat(caller: Caller): Promise<BeatReceipt> {
  const { database, presence, processId } = caller
  presence.beat()
  // Unless it was struck off, there is nothing to write.
  const registered = await database.read(() => database.get(sql.READ_PROCESS, processId))
  if (!registered || database.path === IN_MEMORY) {
    await caller.write('beat', () => {
      ensureRegistered(caller)
      putProcess(caller)
    })
  }
  return database.read(() => ({
    at: caller.now(),
    goodForMs: caller.leaseMs,
    held: database.all(sql.READ_HELD, processId).map((held) => ({ ...held, signalled: held.signalled === 1 })),
  }))
}

export async function reap(caller: Caller): Promise<number> {
  const { database, presence, processId } = caller
  await sweep(caller)
  const isDead = (process: ProcessRow): boolean => process.id !== processId && presence.isDead(process, caller.now())
  // Asked for all the time, and hardly ever with success: that must not cost anybody the write lock.
  if (!(await database.read(() => database.all(sql.READ_PROCESSES).some(isDead)))) return 0
  return caller.write('reap', (hint) => {
    let released = 0
    for (const { id } of database.all(sql.READ_PROCESSES).filter(isDead)) {
      released += release(caller, hint, id, 1)
      database.run(sql.DELETE_PROCESS, id)
      presence.forget(id)
    }
    return released
  })
}

function release(caller: Caller, hint: Hint, holder: string, counts: 0 | 1): number {
  const { database, suspects, now } = caller
  const at = now()
  const held = database.all(sql.FIND_HELD, holder).map((row) => ({ ...row, onProbation: row.onProbation === 1 }))
  const judged = counts ? judgeDeath(held, suspects) : held.map((run) => ({ run, verdict: withoutVerdict(run) }))
  for (const { run, verdict } of judged) {
    database.run(sql.RELEASE, at + verdict.waitsMs, verdict.takeovers, verdict.blamed, at, run.n)
  }
  if (held.length > 0) hint({ kind: 'due' })
  return held.length
}

function putProcess({ database, processId, leaseMs, now }: Caller): void {
  database.run(sql.PUT_PROCESS, processId, leaseMs, now())
}
