import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { memoryStore, type MemorySession } from '../../src/memory.ts'
import type { RunCommit } from '../../src/store/store.ts'
import { createTestClock, storeSuite } from '../../src/testing.ts'

describe('memoryStore', () => {
  storeSuite({
    test: { describe, it, beforeEach, afterEach },
    create: async () => ({
      store: memoryStore(),
      crash: (session) => (session as MemorySession).crash(),
      dispose: async () => {},
    }),
  })

  it('takes a process for dead that lives but has not beaten within its lease, and fences it (I3)', async () => {
    const clock = createTestClock()
    const store = memoryStore()
    const slow = await store.connect({ processId: 'slow', leaseMs: 500, clock })
    const other = await store.connect({ processId: 'other', leaseMs: 500, clock })
    await slow.commit([commit('run', 1)])
    await clock.advance(500)
    expect(await other.reap()).toBe(0)
    await clock.advance(1)
    expect(await other.reap()).toBe(1)
    expect((await slow.commit([{ ...commit('run', 2), create: null }])).accepted.size).toBe(0)
    // It comes back: what it claims from now on is its own.
    expect((await slow.claim({ limit: 1 })).claimed).toHaveLength(1)
    expect(await other.reap()).toBe(0)
    expect((await slow.beat()).held).toEqual([{ runId: 'run', epoch: 2, signalled: false }])
  })

  it('undoes what the commit hook forbids, and keeps what it only fails to answer', async () => {
    let failing = ''
    const store = memoryStore({
      onCommit(phase, what) {
        if (`${phase} ${what}` === failing) throw new Error('on purpose')
      },
    })
    const session = await store.connect({ processId: 'one', leaseMs: 500, clock: createTestClock() })
    const outcome = {
      pos: 0,
      key: 'a',
      kind: 'RUN',
      ok: true,
      body: '1',
      calls: 1,
      attempts: 1,
      eventId: null,
      eventName: null,
      tookMs: 0,
    } as const
    await session.commit([commit('run', 1)])
    const before = await session.read('run', { journal: true })
    failing = 'before commit'
    const part: RunCommit = { ...commit('run', 2), create: null, outcomes: [outcome], note: 'new' }
    await expect(session.commit([part, commit('other', 1)])).rejects.toMatchObject({ kind: 'transient' })
    expect(await session.read('run', { journal: true })).toEqual(before)
    expect(await session.read('other')).toBeNull()
    failing = 'after commit'
    await expect(session.commit([part])).rejects.toMatchObject({ kind: 'transient' })
    expect((await session.read('run'))?.run.len).toBe(1)
    failing = ''
    expect((await session.commit([part])).accepted.size).toBe(1)
    expect((await session.read('run'))?.run.len).toBe(1)
  })

  it('writes nothing and settles nothing once a session has crashed, in the middle of a commit too', async () => {
    const clock = createTestClock()
    let crash = (): void => {}
    const store = memoryStore({ onCommit: (phase, what) => phase === 'before' && what === 'commit' && crash() })
    const session = await store.connect({ processId: 'one', leaseMs: 500, clock })
    crash = session.crash
    let settled = false
    const settle = (): void => void (settled = true)
    session.commit([commit('run', 1)]).then(settle, settle)
    session.read('run').then(settle, settle)
    await clock.settle()
    expect(settled).toBe(false)
    const other = await store.connect({ processId: 'two', leaseMs: 500, clock })
    expect(await other.read('run')).toBeNull()
  })
})

function commit(runId: string, seq: number): RunCommit {
  const create = {
    server: 'main',
    operationName: null,
    owner: null,
    version: null,
    beganAgoMs: 0,
    timeoutMs: null,
    idempotency: null,
    input: '',
  }
  const opens = [{ key: 'w', kind: 'SLEEP', seq: 0, event: null, match: null, forMs: null, attempts: 0 }] as const
  return { runId, epoch: 1, seq, create, outcomes: [], opens, next: { kind: 'hold' } }
}
