import { expect, it } from 'vitest'
import { RetryAfterError } from '../../src/index.ts'
import { StoreError } from '../../src/store/store.ts'
import { usePostgres } from '../support/standing-postgres.ts'
import { oneField, overAllStores, wrapped } from './world.ts'
import type { Resolver, Server, Tools, World } from './world.ts'

usePostgres()

/** How a run comes to find several waits over at once. */
const LATE = {
  /** Nobody was there: another process replays the run. */
  cold: async (world: World, go: Resolver, meanwhile: (sender: Server) => Promise<void>) => {
    const first = world.serve(oneField(go, { worker: { lease: '1s' } }))
    const { runId } = await first.ask('{ go }')
    first.kill()
    await meanwhile(world.serve(oneField(() => null, { worker: false })))
    return world.serve(oneField(go)).finish(runId)
  },
  /** The run is parked in memory, and claims fail meanwhile. */
  hot: async (world: World, go: Resolver, meanwhile: (sender: Server) => Promise<void>) => {
    let isAway = false
    const store = wrapped(world.store, (session) => ({
      claim: (request) =>
        isAway ? Promise.reject(new StoreError('transient', 'The store is away.')) : session.claim(request),
    }))
    const server = world.serve(oneField(go, { store }))
    const { runId } = await server.ask('{ go }')
    isAway = true
    await meanwhile(world.serve(oneField(() => null, { worker: false })))
    isAway = false
    return server.finish(runId)
  },
}

overAllStores('waits that are over are settled by the instants of their ends and events (I5, I6)', (world) => {
  const lateness = Object.keys(LATE) as (keyof typeof LATE)[]

  it.each(lateness)('of sleeps, the one that was over first wins, whichever was called first (%s)', async (how) => {
    const run = await LATE[how](
      world(),
      (_s, _a, { step }) =>
        Promise.race([
          step.sleep('slow', '25s').then(() => 'slow'),
          step.sleep('fast', '15s').then(() => 'fast'),
          step.sleepUntil('middle', start + 20_000).then(() => 'middle'),
        ]),
      () => world().advance('1m'),
    )
    expect(run.result).toEqual({ data: { go: 'fast' } })
  })
  const start = 1_767_225_600_000

  const race: Resolver = async (_s, _a, { step }) => {
    const closing = new AbortController()
    const approval = step.waitForEvent('approval', { event: 'approved', signal: closing.signal })
    const first = await Promise.race([approval, step.sleep('patience', '20s').then(() => null)])
    closing.abort()
    const next = first ?? (await step.waitForEvent('next', { event: 'approved', timeout: '10s' }))
    return [first && first.data, next?.data]
  }

  it.each(lateness)('an event that came after a timer had ended does not count (%s)', async (how) => {
    const run = await LATE[how](world(), race, async (sender) => {
      await world().advance('30s')
      await world().until(sender.durable.send({ name: 'approved', data: 'late' }))
      await world().advance('30s')
    })
    // Nor was it eaten by the wait that was closed: it is there for the next one.
    expect(run.result).toEqual({ data: { go: [null, 'late'] } })
  })

  it.each(lateness)('an event that came before a timer had ended does (%s)', async (how) => {
    const run = await LATE[how](world(), race, async (sender) => {
      await world().advance('10s')
      await world().until(sender.durable.send({ name: 'approved', data: 'in time' }))
      await world().advance('1m')
    })
    expect(run.result).toEqual({ data: { go: ['in time', 'in time'] } })
  })

  it.each(lateness)('what a wait leads to counts by its own instant, before what was over later (%s)', async (how) => {
    const twice = async (_s: unknown, _a: unknown, { step }: Tools) => {
      const approvals = async () => {
        await step.waitForEvent('first', { event: 'first' })
        await step.sleepUntil('night', start + 15_000)
        await step.waitForEvent('second', { event: 'second' })
        return 'approved'
      }
      return Promise.race([approvals(), step.sleep('patience', '30s').then(() => 'late')])
    }
    const run = await LATE[how](world(), twice, async (sender) => {
      await world().advance('10s')
      await world().until(sender.durable.send({ name: 'first' }))
      await world().advance('10s')
      await world().until(sender.durable.send({ name: 'second' }))
      await world().advance('1m')
    })
    expect(run.result).toEqual({ data: { go: 'approved' } })
  })

  it.each(lateness)('a step that is tried again, and takes long, holds up nothing that follows (%s)', async (how) => {
    const code = async (_s: unknown, _a: unknown, { step }: Tools) => {
      const slow = async ({ attempt }: { attempt: number }) => {
        if (attempt === 1) throw new RetryAfterError('busy', '10s')
        await new Promise(() => {})
      }
      void step.run('slow', slow, { timeout: '10m', retries: 1 })
      await Promise.all(['20s', '15s'].map((nap) => step.sleep(nap, nap).then(() => world().log.push(nap))))
      world().log.push(world().now() < start + 120_000 ? 'soon' : 'late')
    }
    await LATE[how](world(), code, () => world().advance('1m'))
    expect(world().log.slice(0, 3)).toEqual(['15s', '20s', 'soon'])
  })

  it.each(lateness)('sleeps, events and timeouts go in one order (%s)', async (how) => {
    const all = async (_s: unknown, _a: unknown, { step }: Tools) => {
      const seen: string[] = []
      const note = (what: string) => () => void seen.push(what)
      await Promise.all([
        step.sleep('s30', '30s').then(note('sleep 30')),
        step.waitForEvent('t25', { event: 'never', timeout: '25s' }).then(note('timeout 25')),
        step.waitForEvent('e', { event: 'second' }).then(note('event 22')),
        step.waitForEvent('f', { event: 'first', timeout: '1h' }).then(note('event 12')),
        step.sleep('s10', '10s').then(note('sleep 10')),
        step.sleep('s20', '20s').then(note('sleep 20')),
      ])
      return seen
    }
    const run = await LATE[how](world(), all, async (sender) => {
      await world().advance('12s')
      await world().until(sender.durable.send({ name: 'first' }))
      await world().advance('10s')
      await world().until(sender.durable.send({ name: 'second' }))
      await world().advance('2m')
    })
    expect(run.result).toEqual({
      data: { go: ['sleep 10', 'event 12', 'sleep 20', 'event 22', 'timeout 25', 'sleep 30'] },
    })
  })

  it.each(lateness)('equal instants go by the order of the calls (%s)', async (how) => {
    const run = await LATE[how](
      world(),
      async (_s, _a, { step }) => {
        const seen: string[] = []
        const ids = ['c', 'a', 'd', 'b']
        await Promise.all(ids.map((id) => step.sleepUntil(id, start + 20_000).then(() => seen.push(id))))
        return seen
      },
      () => world().advance('1m'),
    )
    expect(run.result).toEqual({ data: { go: ['c', 'a', 'd', 'b'] } })
  })

  it('so they are in an operation that does not wait at all, of dates that have passed', async () => {
    const server = world().serve(
      oneField((_s, _a, { step }) =>
        Promise.race([
          step.sleepUntil('yesterday', start - 86_400_000).then(() => 'yesterday'),
          step.sleepUntil('last week', start - 7 * 86_400_000).then(() => 'last week'),
        ]),
      ),
    )
    expect(await server.ask('{ go }')).toMatchObject({ status: 200, data: { go: 'last week' } })
  })

  it('and what a replay comes to later is waited for: a wait behind a step was over before one in front of it', async () => {
    const run = await LATE.cold(
      world(),
      (_s, _a, { step }) =>
        Promise.race([
          step.sleep('slow', '25s').then(() => 'slow'),
          step
            .run('first', () => 1)
            .then(() => step.run('second', () => 2))
            .then(() => step.sleep('fast', '15s'))
            .then(() => 'fast'),
        ]),
      () => world().advance('1m'),
    )
    expect(run.result).toEqual({ data: { go: 'fast' } })
  })
})

overAllStores('since when', (world) => {
  const at = (date: Date | null | undefined): number => Math.round((Number(date) - world().now()) / 1000)

  it.each(['cold', 'hot'] as const)('a wait waits is since its first call (%s)', async (how) => {
    const go: Resolver = async (_s, _a, { step }) => {
      await Promise.all([
        step.sleep('nap', '3m'),
        step.waitForEvent('approval', { event: 'approved' }),
        step.waitForEvent('other', { event: 'other', timeout: '10m' }),
      ])
      return 'done'
    }
    const first = world().serve(oneField(go, { worker: { lease: '1s' } }))
    const { runId } = await first.ask('{ go }')
    await world().advance('1m')
    if (how === 'cold') first.kill()
    const server = how === 'cold' ? world().serve(oneField(go)) : first
    await world().until(server.durable.start())
    await world().until(server.durable.send({ name: 'other' }))
    await world().advance('3m')
    const waiting = await server.get(runId)
    const started = Object.fromEntries(waiting.steps.map(({ step, startedAt }) => [step, at(startedAt)]))
    expect(started).toEqual({ nap: -240, approval: -240, other: -240 })
    expect(waiting.waitingOn.map(({ since }) => at(since))).toEqual([-240])
    const took = waiting.steps.flatMap(({ step, startedAt, endedAt }) =>
      endedAt ? [[step, Math.round((Number(endedAt) - Number(startedAt)) / 1000)]] : [],
    )
    expect(Object.fromEntries(took)).toEqual({ nap: 180, other: 60 })
    await world().until(server.durable.send({ name: 'approved' }))
    await server.finish(runId)
  })

  it.each(['cold', 'hot'] as const)('a step runs is since its first attempt (%s)', async (how) => {
    let failures = 3
    const go: Resolver = async (_s, _a, { step }) =>
      step.run(
        'call',
        () => {
          if (failures-- > 0) throw new Error('not yet')
          return 'answered'
        },
        { retries: 5, backoff: { initial: '1m', factor: 1, jitter: 'none' } },
      )
    let server = world().serve(oneField(go, { worker: { lease: '1s' } }))
    const { runId } = await server.ask('{ go }')
    for (let n = 0; n < 2; n++) {
      await world().advance('70s')
      const run = await server.get(runId)
      expect(run.steps.map(({ startedAt, attempts }) => [at(startedAt), attempts])).toEqual([[-70 * (n + 1), n + 2]])
      expect(run.waitingOn.map(({ since }) => at(since))).toEqual([-70 * (n + 1)])
      if (how === 'hot') continue
      server.kill()
      server = world().serve(oneField(go, { worker: { lease: '1s' } }))
      await world().until(server.durable.start())
    }
    const [call] = (await server.finish(runId)).steps
    expect(Number(call?.endedAt) - Number(call?.startedAt)).toBeGreaterThan(179_000)
    expect(call?.attempts).toBe(4)
  })
})
