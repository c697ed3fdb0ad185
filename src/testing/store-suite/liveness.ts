import assert from 'node:assert/strict'
import { StoreError } from '../../store/store.ts'
import type { RunCommit, RunRecord, StoreSession } from '../../store/store.ts'
import {
  accept,
  COMPLETED,
  DUE_NOW,
  eventWait,
  first,
  outcome,
  PARKED,
  part,
  refuse,
  SUSPECTS,
  type SuiteContext,
  type SuiteRunner,
  suspects,
  take,
  view,
} from './context.ts'

const backOf = ({ id, epoch }: RunRecord): RunCommit => part(id, 1, { epoch, next: DUE_NOW })
const endOf = ({ id, epoch }: RunRecord): RunCommit => part(id, 1, { epoch, next: COMPLETED })

/** A commit that was refused since its session was being closed has made none. */
async function exists(session: StoreSession, id: string): Promise<string[]> {
  return (await session.read(id)) ? [id] : []
}

export function livenessSuite({ describe, it }: SuiteRunner, context: SuiteContext): void {
  describe('connect', () => {
    it('refuses an id that a living process has, which is none of its own', async () => {
      await context.connect('alice')
      await assert.rejects(
        context.connect('alice'),
        (error) => error instanceof StoreError && /"alice"/.test(error.message),
      )
      await context.connect('bob')
    })

    it('keeps what was committed when every session is gone', async () => {
      const before = await context.connect()
      await accept(before, first('run', { outcomes: [outcome(0)], next: PARKED }))
      await before.close()
      const after = await context.connect()
      assert.equal((await view(after, 'run')).journal?.length, 1)
    })
  })

  describe('beat', () => {
    it('answers what the process holds, under which epoch, and what was signalled', async () => {
      const alice = await context.connect()
      const bob = await context.connect()
      await accept(alice, first('one', { opens: [eventWait('w', 'order')] }), first('two', { next: DUE_NOW }))
      await take(bob, 'two')
      await alice.send([{ id: 'evt', name: 'order', data: 'null' }])
      assert.deepEqual((await alice.beat()).held, [{ runId: 'one', epoch: 1, signalled: true }])
      assert.deepEqual((await bob.beat()).held, [{ runId: 'two', epoch: 2, signalled: false }])
      await accept(alice, part('one', 2, { next: PARKED }))
      assert.deepEqual((await alice.beat()).held, [])
    })

    it('keeps a process alive beyond its lease', async () => {
      const alice = await context.connect()
      const bob = await context.connect()
      await accept(alice, first('run'))
      for (let beats = 0; beats < 4; beats++) {
        await context.pass(context.leaseMs / 2)
        await alice.beat()
        assert.equal(await bob.reap(), 0)
      }
      await accept(alice, part('run', 2, { outcomes: [outcome(0)] }))
    })
  })

  describe('reap', () => {
    it("makes a dead process's runs due now, once, and fences what it may still write (I3, I4)", async () => {
      const alice = await context.connect()
      const bob = await context.connect()
      await accept(alice, first('held', { outcomes: [outcome(0)] }), first('parked', { next: PARKED }))
      await accept(bob, first('his'))
      await context.crash(alice)
      await context.pass(context.leaseMs + 1)
      await bob.beat()
      assert.equal(await bob.reap(), 1)
      assert.equal(await bob.reap(), 0)
      const { run, at } = await view(bob, 'held')
      assert.deepEqual([run.status, run.holder, run.takeovers, run.epoch, run.len], ['suspended', null, 1, 1, 1])
      assert.ok(run.dueAt !== null && run.dueAt <= at && run.updatedAt === run.dueAt)
      assert.equal((await view(bob, 'parked')).run.dueAt, null)
      assert.equal((await view(bob, 'his')).run.holder, 'process-1')
      assert.equal(await take(bob, 'held'), 2)
      await refuse(bob, part('held', 2, { outcomes: [outcome(1)] }))
      await accept(bob, part('held', 1, { epoch: 2, outcomes: [outcome(1)] }))
    })

    it('brings the signal along that came before the death (I6)', async () => {
      const alice = await context.connect()
      const bob = await context.connect()
      await accept(alice, first('run', { opens: [eventWait('w', 'order')] }))
      await bob.send([{ id: 'evt', name: 'order', data: 'null' }])
      await context.crash(alice)
      await context.pass(context.leaseMs + 1)
      assert.equal(await bob.reap(), 1)
      const [claimed] = (await bob.claim({ limit: 1 })).claimed
      assert.deepEqual([claimed?.run.id, claimed?.loaded?.waits.length], ['run', 1])
    })

    it('counts takeovers until an outcome is committed', async () => {
      const observer = await context.connect()
      await accept(observer, first('run', { next: DUE_NOW }))
      for (let deaths = 1; deaths <= 3; deaths++) {
        const victim = await context.connect(`victim ${deaths}`)
        const epoch = await take(victim, 'run')
        await accept(victim, part('run', 1, { epoch, opens: [eventWait('w', 'order')] }))
        await context.crash(victim)
        await context.pass(context.leaseMs + 1)
        await observer.beat()
        assert.equal(await observer.reap(), 1)
        assert.equal((await view(observer, 'run')).run.takeovers, deaths)
      }
      await context.pass(SUSPECTS.delayMs)
      const epoch = await take(observer, 'run')
      await accept(observer, part('run', 1, { epoch }))
      assert.equal((await view(observer, 'run')).run.takeovers, 3)
      await accept(observer, part('run', 2, { epoch, outcomes: [outcome(0)] }))
      assert.equal((await view(observer, 'run')).run.takeovers, 0)
    })

    it('blames a suspect that was on probation, and lets it wait longer each time', async () => {
      const observer = await context.connect()
      await accept(observer, first('suspect', { next: DUE_NOW }))
      for (let deaths = 1; deaths <= SUSPECTS.from + 2; deaths++) {
        const victim = await context.connect(`victim ${deaths}`)
        await take(victim, 'suspect')
        await context.crash(victim)
        await context.pass(context.leaseMs + 1)
        await observer.beat()
        assert.equal(await observer.reap(), 1)
        const { run } = await view(observer, 'suspect')
        const waitsMs = deaths < SUSPECTS.from ? 0 : SUSPECTS.delayMs * 2 ** (deaths - SUSPECTS.from)
        const blamed = 2 * Math.max(0, deaths - SUSPECTS.from)
        assert.deepEqual([run.takeovers, run.blamed, run.dueAt], [deaths, blamed, run.updatedAt + waitsMs])
        await context.pass(waitsMs)
      }
    })

    it('counts a death for all that were held, and blames who is on probation less where it was not alone', async () => {
      const observer = await context.connect()
      await suspects(context, 'acquitted', 'on probation')
      const victim = await context.connect('victim')
      const epoch = await take(victim, 'acquitted')
      await accept(victim, part('acquitted', 1, { epoch, suspicion: 'acquitted' }), first('new'))
      await take(victim, 'on probation')
      await context.crash(victim)
      await context.pass(context.leaseMs + 1)
      await observer.beat()
      assert.equal(await observer.reap(), 3)
      const runs = await Promise.all(
        ['acquitted', 'on probation', 'new'].map(async (id) => (await view(observer, id)).run),
      )
      assert.deepEqual(
        runs.map(({ takeovers, blamed }) => [takeovers, blamed]),
        [
          [4, 0],
          [4, 1],
          [1, 0],
        ],
      )
    })

    it('takes nothing from the living', async () => {
      const sessions = [await context.connect(), await context.connect()] as const
      await accept(sessions[0], first('one'))
      await accept(sessions[1], first('two'))
      for (const session of sessions) assert.equal(await session.reap(), 0)
    })

    it('counts as one when several look at the same time', async () => {
      const victim = await context.connect()
      const others = [await context.connect(), await context.connect(), await context.connect()]
      await accept(victim, first('run'))
      await context.crash(victim)
      await context.pass(context.leaseMs + 1)
      for (const session of others) await session.beat()
      const counts = await Promise.all(others.map((session) => session.reap()))
      assert.deepEqual(counts.toSorted(), [0, 0, 1])
    })
  })

  describe('close', () => {
    it('gives back at once what the process still holds, without counting a takeover', async () => {
      const alice = await context.connect()
      const bob = await context.connect()
      await accept(alice, first('run', { outcomes: [outcome(0)] }))
      await alice.close()
      const { run } = await view(bob, 'run')
      assert.deepEqual([run.status, run.holder, run.takeovers], ['suspended', null, 0])
      assert.equal(await bob.reap(), 0)
      assert.equal(await take(bob, 'run'), 2)
    })

    it('comes after what is under way: what that brings is given back as well', async () => {
      const bob = await context.connect()
      const ids = Array.from({ length: 20 }, (_, n) => `run ${n}`)
      await accept(bob, ...ids.map((id) => first(id, { next: DUE_NOW })))
      for (let round = 0; round < 5; round++) {
        const alice = await context.connect()
        const underWay = [
          alice.claim({ limit: 5 }),
          alice.claim({ limit: 1, runId: 'run 9', evenIfNotDue: true }),
          alice.commit([first(`new ${round}`)]),
          alice.beat(),
        ]
        const closing = alice.close()
        await Promise.allSettled([...underWay, closing])
        const { claimed } = await bob.claim({ limit: 100 })
        assert.deepEqual(
          claimed.map(({ run }) => run.id).toSorted(),
          [...ids, ...(await exists(bob, `new ${round}`))].toSorted(),
        )
        // Nobody takes it for alive either.
        assert.equal(await bob.reap(), 0)
        const gone = claimed.filter(({ run }) => run.id.startsWith('new')).map(({ run }) => endOf(run))
        const back = claimed.filter(({ run }) => !run.id.startsWith('new')).map(({ run }) => backOf(run))
        await accept(bob, ...gone, ...back)
      }
    })

    it('may be called twice, and every other call after it is refused', async () => {
      const session = await context.connect()
      await session.close()
      await session.close()
      await assert.rejects(session.read('run'), StoreError)
      await assert.rejects(session.commit([first('run')]), StoreError)
      session.watch(() => assert.fail('Nobody is told any more'))()
    })
  })
}
