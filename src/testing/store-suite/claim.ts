import assert from 'node:assert/strict'
import {
  accept,
  COMPLETED,
  DUE_NOW,
  eventWait,
  first,
  newRun,
  outcome,
  PARKED,
  part,
  type SuiteContext,
  type SuiteRunner,
  take,
  view,
  wait,
} from './context.ts'

export function claimSuite({ describe, it }: SuiteRunner, context: SuiteContext): void {
  describe('claim', () => {
    it('takes the lease: a holder, the next epoch, running, no due time', async () => {
      const alice = await context.connect('alice')
      const bob = await context.connect('bob')
      await accept(alice, first('run', { next: DUE_NOW }))
      const { at, claimed } = await bob.claim({ limit: 5 })
      const { run } = await view(bob, 'run')
      assert.deepEqual([run.holder, run.epoch, run.status, run.dueAt], ['bob', 2, 'running', null])
      assert.deepEqual([run.signalled, run.updatedAt], [false, at])
      assert.deepEqual(
        claimed.map(({ run: record, previousEpoch }) => [record, previousEpoch]),
        [[run, 1]],
      )
    })

    it('brings the input, the whole journal and the open waits (I2)', async () => {
      const session = await context.connect()
      const outcomes = Array.from({ length: 30 }, (_, pos) => outcome(pos))
      const opens = [eventWait('w', 'order', { id: 7 }), wait('v', { seq: 1 })]
      await accept(session, first('run', { outcomes, opens, next: DUE_NOW }))
      const before = await view(session, 'run')
      const [claimed] = (await session.claim({ limit: 1 })).claimed
      const { input, journal, waits } = before
      assert.deepEqual(claimed?.loaded, { input, journal, waits })
      assert.equal(claimed?.loaded?.journal.length, claimed?.run.len)
    })

    it('takes runs that are due, earliest first, and no more than the limit', async () => {
      const session = await context.connect()
      const wakeUps = { third: 30, first: 10, fourth: 40, second: 20, later: 60_000 }
      const parts = Object.entries(wakeUps).map(([id, wakeInMs]) => first(id, { next: { kind: 'park', wakeInMs } }))
      await accept(session, ...parts, first('never', { next: PARKED }), first('held'))
      await context.pass(100)
      const ids = async (limit: number): Promise<string[]> =>
        (await session.claim({ limit })).claimed.map(({ run }) => run.id)
      assert.deepEqual(await ids(0), [])
      assert.deepEqual(await ids(3), ['first', 'second', 'third'])
      assert.deepEqual(await ids(3), ['fourth'])
      assert.deepEqual(await ids(3), [])
    })

    it('takes runs of the named servers only, and speaks of no others', async () => {
      const session = await context.connect()
      const of = (server: string): ReturnType<typeof newRun> => newRun({ server })
      await accept(
        session,
        first('one', { create: of('shop'), next: DUE_NOW }),
        first('two', { create: of('office'), next: DUE_NOW }),
      )
      const ids = async (request: object): Promise<string[]> =>
        (await session.claim({ limit: 5, ...request })).claimed.map(({ run }) => run.id)
      assert.deepEqual(await ids({ servers: [] }), [])
      assert.deepEqual(await ids({ servers: ['shop'], runId: 'two', evenIfNotDue: true }), [])
      assert.deepEqual(await ids({ servers: ['shop', 'bank'] }), ['one'])
      assert.equal((await session.claim({ limit: 5, servers: ['shop'] })).nextDueAt, null)
      assert.deepEqual(await ids({ servers: ['office'] }), ['two'])
    })

    it('takes a run at the very instant it is due', async () => {
      const session = await context.connect()
      await accept(session, first('run', { next: { kind: 'park', wakeInMs: 300 } }))
      const early = await session.claim({ limit: 1 })
      assert.deepEqual(early.claimed, [])
      await context.pass(300)
      assert.equal(await take(session, 'run'), 2)
    })

    it('says when the next run becomes due that was not claimed', async () => {
      const session = await context.connect()
      assert.equal((await session.claim({ limit: 5 })).nextDueAt, null)
      const at = await accept(
        session,
        first('now', { next: DUE_NOW }),
        first('later', { next: { kind: 'park', wakeInMs: 5_000 } }),
        first('never', { next: PARKED }),
      )
      assert.equal((await session.claim({ limit: 0 })).nextDueAt, at)
      assert.equal((await session.claim({ limit: 5 })).nextDueAt, at + 5_000)
      assert.equal((await session.claim({ limit: 5 })).nextDueAt, at + 5_000)
    })

    it('has one winner among concurrent claims of a named run (I3)', async () => {
      const sessions = await Promise.all(['a', 'b', 'c', 'd'].map((id) => context.connect(id)))
      await accept(sessions[0] ?? (await context.connect()), first('run', { next: DUE_NOW }))
      const receipts = await Promise.all(sessions.map((session) => session.claim({ limit: 1, runId: 'run' })))
      assert.equal(receipts.flatMap(({ claimed }) => claimed).length, 1)
    })

    it('gives every due run to exactly one of many concurrent claims (I3)', async () => {
      const sessions = await Promise.all(['a', 'b', 'c', 'd'].map((id) => context.connect(id)))
      const ids = Array.from({ length: 40 }, (_, index) => `run ${index}`)
      await accept(sessions[0] ?? (await context.connect()), ...ids.map((id) => first(id, { next: DUE_NOW })))
      const claims = Array.from({ length: 6 }, () => sessions.map((session) => session.claim({ limit: 3 }))).flat()
      const claimed = (await Promise.all(claims)).flatMap((receipt) => receipt.claimed)
      assert.deepEqual(claimed.map(({ run }) => run.id).toSorted(), ids.toSorted())
      assert.ok(claimed.every(({ run }) => run.epoch === 2))
    })

    it('takes the run that is named and no other, if it is due', async () => {
      const session = await context.connect()
      await accept(session, first('other', { next: DUE_NOW }), first('run', { next: { kind: 'park', wakeInMs: 300 } }))
      assert.deepEqual((await session.claim({ limit: 5, runId: 'run' })).claimed, [])
      assert.deepEqual((await session.claim({ limit: 5, runId: 'nobody' })).claimed, [])
      await context.pass(300)
      const { claimed } = await session.claim({ limit: 5, runId: 'run' })
      assert.deepEqual(
        claimed.map(({ run }) => run.id),
        ['run'],
      )
    })

    it('takes a parked run that is not due, where asked to', async () => {
      const session = await context.connect()
      await accept(session, first('run', { next: PARKED }))
      const { claimed } = await session.claim({ limit: 1, runId: 'run', evenIfNotDue: true })
      assert.equal(claimed[0]?.run.epoch, 2)
    })

    it('never takes a run that somebody alive holds, or that has ended (I3)', async () => {
      const alice = await context.connect()
      const bob = await context.connect()
      await accept(alice, first('held'), first('ended', { next: COMPLETED }))
      for (const runId of ['held', 'ended']) {
        for (const session of [alice, bob]) {
          assert.deepEqual((await session.claim({ limit: 1, runId, evenIfNotDue: true })).claimed, [])
        }
      }
      assert.deepEqual((await bob.claim({ limit: 5 })).claimed, [])
    })

    it('does not load what is hot at the epoch it was parked under, and loads it at any other', async () => {
      const alice = await context.connect()
      const bob = await context.connect()
      await accept(alice, first('hot', { next: DUE_NOW }), first('stale', { next: DUE_NOW }))
      const epoch = await take(bob, 'stale')
      await accept(bob, part('stale', 1, { epoch, outcomes: [outcome(0)], next: DUE_NOW }))
      const hot = new Map([
        ['hot', 1],
        ['stale', 1],
      ])
      const { claimed } = await alice.claim({ limit: 5, hot })
      const loaded = new Map(claimed.map((claim) => [claim.run.id, claim]))
      assert.deepEqual([loaded.get('hot')?.loaded, loaded.get('hot')?.previousEpoch], [null, 1])
      assert.equal(loaded.get('stale')?.previousEpoch, 2)
      assert.equal(loaded.get('stale')?.loaded?.journal.length, 1)
    })

    it('sees a run that timed out while it waited for a signal alone', async () => {
      const session = await context.connect()
      await accept(session, first('run', { create: newRun({ timeoutMs: 300 }), next: PARKED }))
      assert.deepEqual((await session.claim({ limit: 1 })).claimed, [])
      await context.pass(300)
      assert.equal(await take(session, 'run'), 2)
    })
  })
}
