import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { lockFilePresence } from '../../src/store/sqlite/presence.ts'
import type { Presence } from '../../src/store/sqlite/presence.ts'
import type { ProcessRow } from '../../src/store/sqlite/sql/liveness.ts'

const PROCESS: ProcessRow = { id: 'process', leaseMs: 1_000, beatAt: 0, touches: 1 }

describe('a process on SQLite that holds its lock', () => {
  let directory: string
  let process: Presence
  let observer: Presence
  let now: number

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['Date'], now: 1_767_225_600_000 })
    directory = mkdtempSync(join(tmpdir(), 'durable-presence-'))
    const path = join(directory, 'runs.db')
    writeFileSync(path, '')
    now = 0
    process = lockFilePresence(path, PROCESS.id)
    observer = lockFilePresence(path, 'observer', () => now)
    process.show()
    observer.show()
  })

  afterEach(() => {
    process.hide()
    observer.hide()
    rmSync(directory, { recursive: true })
    vi.useRealTimers()
  })

  /** Time passes for everybody, but only what beats shows it. */
  function pass(ms: number, { beats = false } = {}): void {
    now += ms
    vi.setSystemTime(Date.now() + ms)
    if (beats) process.beat()
  }

  /** What the observer finds, looking every so often. */
  function looks(times: number, everyMs: number, options?: { beats: boolean }, row = PROCESS): boolean[] {
    return Array.from({ length: times }, () => {
      pass(everyMs, options)
      return observer.isDead(row, now)
    })
  }

  it('is alive for as long as it beats', () => {
    expect(looks(30, 400, { beats: true })).not.toContain(true)
  })

  it('is dead once it has not beaten for a lease, and alive again when it beats', () => {
    expect(looks(3, 400)).toEqual([false, false, false])
    expect(looks(1, 400)).toEqual([true])
    expect(looks(1, 400, { beats: true })).toEqual([false])
  })

  it('is dead at once when its lock is gone', () => {
    expect(looks(1, 10)).toEqual([false])
    process.abandon()
    expect(looks(1, 10)).toEqual([true])
  })

  it('is given a lease by an observer that was stopped itself', () => {
    expect(looks(2, 400)).toEqual([false, false])
    pass(60_000)
    expect(looks(3, 400)).toEqual([false, false, false])
    expect(looks(1, 400)).toEqual([true])
  })

  it('is found to be stuck also by an observer that looks less often than once a lease', () => {
    expect(looks(5, 1_500)).toContain(true)
  })

  it('and is of an earlier version, which did not touch its file, is never taken for stuck', () => {
    expect(looks(10, 400, undefined, { ...PROCESS, touches: 0 })).not.toContain(true)
  })
})
