import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import { sleep } from '../../support/postgres.ts'
import { startProxy } from '../../support/proxy.ts'
import { first, outcome, part, useOwnServer } from './world.ts'

const world = useOwnServer()
const children = new Set<ChildProcess>()
const LONG_LEASE_MS = 60_000

afterEach(() => {
  for (const child of children) child.kill('SIGKILL')
  children.clear()
})

/** A process that holds a run and beats twice a second. */
async function startHolder(processId: string, runId: string): Promise<ChildProcess> {
  const args = [world.url, world.schema, processId, runId, String(LONG_LEASE_MS)]
  const child = fork(new URL('../fixtures/postgres-process.ts', import.meta.url), args)
  children.add(child)
  const [message] = (await once(child, 'message')) as [unknown]
  expect(message).toBe('ready')
  return child
}

describe('liveness', () => {
  it('sees within about two seconds that a process was killed, whatever its lease (I4)', async () => {
    const observer = await world.connect('observer', { leaseMs: LONG_LEASE_MS })
    const child = await startHolder('victim', 'run')
    for (let looks = 0; looks < 5; looks++) {
      expect(await observer.reap()).toBe(0)
      await sleep(100)
    }
    child.kill('SIGKILL')
    const from = performance.now()
    while ((await observer.reap()) === 0 && performance.now() - from < 10_000) await sleep(50)
    const tookMs = Math.round(performance.now() - from)
    console.log('killed process seen after ms', tookMs)
    expect(tookMs).toBeLessThan(3_000)
    expect((await observer.claim({ limit: 1 })).claimed[0]?.run).toMatchObject({ id: 'run', takeovers: 1, epoch: 2 })
  })

  it('takes a process for alive that is frozen, until its lease is over; then fences it (I3)', async () => {
    const observer = await world.connect('observer', { leaseMs: LONG_LEASE_MS })
    const child = await startHolder('frozen', 'run')
    child.kill('SIGSTOP')
    await sleep(2_500)
    expect(await observer.reap()).toBe(0)
    await world.sql(`update durable.processes set lease_ms = 1000 where id = 'frozen'`)
    expect(await observer.reap()).toBe(1)
    expect((await observer.claim({ limit: 1 })).claimed).toHaveLength(1)
    child.kill('SIGCONT')
    child.send('commit')
    expect(await once(child, 'message')).toEqual(['refused', undefined])
  })

  for (const mode of ['fast', 'immediate'] as const) {
    it(`takes nobody for dead because the server was restarted (${mode}), for longer than a lease`, async () => {
      const leaseMs = 1_500
      const sessions = [await world.connect('a', { leaseMs }), await world.connect('b', { leaseMs })] as const
      await sessions[0].commit([first('held by a', { outcomes: [outcome(0)] })])
      await sessions[1].commit([first('held by b')])
      await world.server.stop(mode)
      await expect(sessions[0].beat()).rejects.toMatchObject({ kind: 'transient' })
      await sleep(leaseMs + 500)
      await world.server.start()
      const restartedAt = performance.now()
      while (performance.now() - restartedAt < 4_000) {
        for (const session of sessions) {
          expect(await session.reap().catch(() => 0)).toBe(0)
          await session.beat().catch(() => {})
        }
        await sleep(100)
      }
      // What was acknowledged is there, and goes on.
      const receipt = await sessions[0].commit([part('held by a', 2, { outcomes: [outcome(1)] })])
      expect(receipt.accepted.has('held by a')).toBe(true)
      expect((await sessions[0].read('held by a', { journal: true }))?.journal).toHaveLength(2)
      expect((await sessions[1].beat()).held).toEqual([{ runId: 'held by b', epoch: 1, signalled: false }])
    })
  }

  for (const leaseMs of [1_500, LONG_LEASE_MS]) {
    it(`lets a process that starts after a crash of the server take nobody for dead (lease of ${leaseMs} ms)`, async () => {
      const proxy = await startProxy(world.url)
      const connectionString = world.url.replace(String(world.server.port), String(proxy.port))
      const holder = await world.connect('holder', { leaseMs, connectionString })
      await holder.commit([first('run')])
      await holder.beat()
      proxy.setDown(true)
      await world.server.stop('immediate')
      await sleep(2_000)
      await world.server.start()
      // It knows nothing of the time before; the holder takes longer to come back.
      const newcomer = await world.connect('newcomer', { leaseMs })
      expect(await newcomer.reap()).toBe(0)
      await sleep(leaseMs === LONG_LEASE_MS ? 2_000 : 500)
      expect(await newcomer.reap()).toBe(0)
      proxy.setDown(false)
      await expect.poll(() => holder.beat().catch(() => null)).toMatchObject({ held: [{ runId: 'run', epoch: 1 }] })
      await holder.close()
      await proxy.close()
    })
  }

  it('finds a process that died while the server was away, when its lease is over', async () => {
    const leaseMs = 1_500
    const observer = await world.connect('observer', { leaseMs })
    const victim = await world.connect('victim', { leaseMs })
    await victim.commit([first('run')])
    await world.server.stop('immediate')
    victim.crash()
    world.forget(victim)
    await world.server.start()
    const from = performance.now()
    let reaped = 0
    while (reaped === 0 && performance.now() - from < 10_000) {
      reaped = await observer.reap().catch(() => 0)
      await sleep(50)
    }
    const tookMs = performance.now() - from
    expect(reaped).toBe(1)
    expect(tookMs).toBeGreaterThan(leaseMs - 300)
    expect(tookMs).toBeLessThan(leaseMs + 2_500)
  })

  it('finds a run whose holder was struck off in the very moment of its claim (I4)', async () => {
    const observer = await world.connect('observer', { leaseMs: 300 })
    await observer.commit([first('run')])
    await world.sql(`update durable.runs set holder = 'nobody'`)
    await sleep(350)
    expect(await observer.reap()).toBe(1)
    expect((await observer.claim({ limit: 1 })).claimed).toHaveLength(1)
  })
})
