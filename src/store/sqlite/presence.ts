import { createHash } from 'node:crypto'
import { readdirSync, realpathSync, rmSync, statSync, utimesSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { StoreError } from '../store.ts'
import { isBusy } from './errors.ts'
import type { ProcessRow } from './sql/liveness.ts'

/**
 * How a process shows that it lives. A file is created, and another's is removed, inside a write transaction of the
 * database only: a new file is never taken for one that was left behind.
 */
export interface Presence {
  /** Begins to show it; harmless where it does already. Throws where another one shows it under this id. */
  show(): void
  /** Shows that it is not merely there, but gets on: to be called well within each lease. */
  beat(): void
  isDead(process: ProcessRow, at: number): boolean
  /** Removes what a dead process left behind. */
  forget(processId: string): void
  /** Removes what processes left that died before they were registered, or after they were struck off. */
  forgetAllBut(processIds: ReadonlySet<string>): void
  /** Shows it no longer, and leaves nothing behind. */
  hide(): void
  /** Shows it no longer, and leaves what a killed process leaves. */
  abandon(): void
}

/**
 * Each process holds a lock on a file of its own, which the operating system takes away when the process dies, in
 * whatever way: that was seen 4 ms after SIGKILL. One that is stopped, or whose event loop is blocked, keeps its lock,
 * and so each beat touches the file: who leaves it as it is for a lease is dead as well. That is no write to the
 * database, and measured on the observer's own steady clock, whatever the others' clocks say.
 *
 * The files must never be opened by other means in a process that holds one: closing any descriptor of a file drops
 * all of the process's POSIX locks on it. SQLite itself takes care of that among its own connections.
 */
export function lockFilePresence(databasePath: string, processId: string, steadyNow = steadyClock): Presence {
  // The real path: processes that came by different links must look for each other in one place.
  const prefix = `${realpathSync(databasePath)}-process-`
  const own = fileOf(processId)
  const seen = new Map<string, Sighting>()
  let lock: DatabaseSync | null = null

  /** Nobody has seen it move for a lease, though somebody looked. */
  function isStuck({ id, leaseMs, touches }: ProcessRow): boolean {
    if (!touches) return false
    const now = steadyNow()
    const movedAt = statSync(fileOf(id), { throwIfNoEntry: false })?.mtimeMs
    const last = seen.get(id)
    const gapMs = last ? now - last.lookedAt : 0
    // An observer that was stopped itself knows nothing of the others' beats.
    const isNews = !last || last.movedAt !== movedAt || gapMs > 2 * Math.max(leaseMs, last.gapMs)
    const since = isNews ? now : last.since
    seen.set(id, { movedAt, since, lookedAt: now, gapMs })
    return now - since > leaseMs
  }

  function fileOf(id: string): string {
    // A digest, because an id may hold what a file name may not.
    return prefix + createHash('sha256').update(id).digest('hex').slice(0, 32)
  }

  function abandon(): void {
    lock?.close()
    lock = null
  }

  return {
    show() {
      // Somebody may have removed the file under us: then nobody can see this lock any more.
      if (lock && exists(own)) return
      abandon()
      lock = acquire(own, processId)
    },
    beat() {
      const now = new Date()
      if (exists(own)) utimesSync(own, now, now)
    },
    isDead: (process) => !isLocked(fileOf(process.id)) || isStuck(process),
    forget(id) {
      seen.delete(id)
      rmSync(fileOf(id), { force: true })
    },
    forgetAllBut(processIds) {
      const kept = new Set([...processIds].map(fileOf))
      for (const name of readdirSync(dirname(prefix))) {
        const file = join(dirname(prefix), name)
        if (name.startsWith(basename(prefix)) && !kept.has(file) && !isLocked(file)) rmSync(file, { force: true })
      }
    },
    hide() {
      if (lock) rmSync(own, { force: true })
      abandon()
    },
    abandon,
  }
}

/** When an observer last looked at a process, and since when it has found it unmoved, on its own steady clock. */
interface Sighting {
  readonly movedAt: number | undefined
  readonly since: number
  readonly lookedAt: number
  /** How long after the look before. */
  readonly gapMs: number
}

function steadyClock(): number {
  return performance.now()
}

function acquire(file: string, processId: string): DatabaseSync {
  const lock = new DatabaseSync(file, { timeout: 0 })
  try {
    lock.exec('pragma journal_mode = memory') // no journal file to clean up
    lock.exec('begin exclusive')
    return lock
  } catch (error) {
    lock.close()
    if (!isBusy(error)) throw error
    throw new StoreError(
      'broken',
      `Expected a processId of its own for each life of a process, but "${processId}" is connected already.`,
      { cause: error },
    )
  }
}

/** Reading takes a shared lock, which two that look at once do not refuse each other. */
function isLocked(file: string): boolean {
  let probe: DatabaseSync | undefined
  try {
    if (!exists(file)) return false
    probe = new DatabaseSync(file, { readOnly: true, timeout: 0 })
    probe.prepare('select 1 from sqlite_master').get()
    return false
  } catch (error) {
    if (isBusy(error)) return true
    if (!exists(file)) return false // removed since
    throw error
  } finally {
    probe?.close()
  }
}

function exists(file: string): boolean {
  return statSync(file, { throwIfNoEntry: false }) !== undefined
}

/** A database in memory has one process, whose sessions in tests tell each other apart by their beats. */
export function leasePresence(): Presence {
  return {
    show() {},
    beat() {},
    isDead: ({ beatAt, leaseMs }, at) => at - beatAt > leaseMs,
    forget() {},
    forgetAllBut() {},
    hide() {},
    abandon() {},
  }
}
