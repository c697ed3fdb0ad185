import assert from 'node:assert/strict'
import type { ClaimReceipt } from '../../store/store.ts'
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
  suspects,
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

    describe('of a run that another process keeps in memory', () => {
      const preferMs = 60

      it('is left to that process for a moment after it became due, and then to anybody', async () => {
        const keeper = await context.connect('keeper')
        const other = await context.connect('other')
        const ids = ['by name', 'by time']
        const next = { kind: 'park', wakeInMs: 300, keeps: true } as const
        const at = await accept(keeper, ...ids.map((id) => first(id, { next })))
        assert.equal((await view(keeper, 'by name')).run.keptBy, 'keeper')
        assert.equal((await other.claim({ limit: 5, preferMs })).nextDueAt, at + 300)
        await context.pass(300)
        const early = await other.claim({ limit: 5, preferMs })
        assert.deepEqual(early.claimed, [])
        assert.equal(early.nextDueAt, at + 300 + preferMs)
        assert.deepEqual((await other.claim({ limit: 1, runId: 'by name', preferMs })).claimed, [])
        await context.pass(preferMs)
        const late = [
          await other.claim({ limit: 1, runId: 'by name', preferMs }),
          await other.claim({ limit: 5, preferMs }),
        ]
        assert.deepEqual(
          late.map(({ claimed }) => claimed.map(({ run }) => [run.id, run.keptBy])),
          ids.map((id) => [[id, null]]),
        )
      })

      it('is the keeper’s at once, and anybody’s who does not care or asks for it by name in any case', async () => {
        const keeper = await context.connect('keeper')
        const other = await context.connect('other')
        const next = { kind: 'park', wakeInMs: 0, keeps: true } as const
        await accept(keeper, first('own', { next }))
        assert.deepEqual(await idsOf(keeper.claim({ limit: 5, preferMs })), ['own'])
        await accept(keeper, first('one', { next }), first('two', { next }))
        assert.deepEqual(await idsOf(other.claim({ limit: 1, runId: 'two', evenIfNotDue: true, preferMs })), ['two'])
        assert.deepEqual(await idsOf(other.claim({ limit: 5 })), ['one'])
      })

      it('does not hide another that is due', async () => {
        const keeper = await context.connect('keeper')
        const other = await context.connect('other')
        await accept(keeper, first('kept', { next: { kind: 'park', wakeInMs: 0, keeps: true } }))
        await accept(keeper, first('later', { next: { kind: 'park', wakeInMs: 20 } }))
        await context.pass(20)
        assert.deepEqual(await idsOf(other.claim({ limit: 1, preferMs: 60_000 })), ['later'])
      })

      it('is forgotten by a park that does not say so, by an end, and by a signal not at all', async () => {
        const session = await context.connect('keeper')
        const next = { kind: 'park', wakeInMs: null, keeps: true } as const
        await accept(session, first('run', { opens: [eventWait('w', 'order')], next }))
        await session.send([{ id: 'evt', name: 'order', data: 'null' }])
        assert.equal((await view(session, 'run')).run.keptBy, 'keeper')
        const epoch = await take(session, 'run')
        await accept(session, part('run', 1, { epoch, next }), first('ended', { next }))
        await session.end('ended', { status: 'cancelled', result: '{}' })
        assert.equal((await view(session, 'ended')).run.keptBy, null)
        const { claimed } = await session.claim({ limit: 1, runId: 'run', evenIfNotDue: true })
        await accept(session, part('run', 1, { epoch: claimed[0]?.run.epoch ?? 0, next: PARKED }))
        assert.equal((await view(session, 'run')).run.keptBy, null)
      })
    })

    it('takes no more suspects than asked for, and others past them', async () => {
      const session = await context.connect()
      await suspects(context, 'a', 'b', 'c')
      const at = await accept(
        session,
        first('innocent', { next: DUE_NOW }),
        first('later', { next: { kind: 'park', wakeInMs: 5_000 } }),
      )
      assert.deepEqual(await idsOf(session.claim({ limit: 1, runId: 'a', suspects: 0 })), [])
      const one = await session.claim({ limit: 2, suspects: 1 })
      const none = await session.claim({ limit: 2, suspects: 0 })
      assert.deepEqual([...(await idsOf(one)), ...(await idsOf(none))], ['a', 'innocent'])
      assert.equal(none.nextDueAt, at + 5_000, 'those that are left are not waited for')
      assert.deepEqual(await idsOf(session.claim({ limit: 5, suspects: 0 })), [])
      assert.deepEqual(await idsOf(session.claim({ limit: 1, runId: 'b', suspects: 0, evenIfNotDue: true })), ['b'])
      assert.deepEqual(await idsOf(session.claim({ limit: 5 })), ['c'])
    })

    it('puts suspects on probation, until they are acquitted, get on, or are given back', async () => {
      const session = await context.connect()
      const endings = {
        acquitted: { suspicion: 'acquitted' },
        cleared: { suspicion: 'cleared' },
        'got on': { outcomes: [outcome(0)] },
        'given back': { next: DUE_NOW },
        'still there': {},
      } as const
      const ids = Object.keys(endings)
      await suspects(context, ...ids)
      const { claimed } = await session.claim({ limit: 5 })
      assert.ok(claimed.every(({ run }) => run.onProbation))
      for (const [id, ending] of Object.entries(endings)) {
        const epoch = claimed.find(({ run }) => run.id === id)?.run.epoch ?? 0
        await accept(session, part(id, 1, { epoch, ...ending }))
      }
      const runs = await Promise.all(ids.map(async (id) => (await view(session, id)).run))
      assert.deepEqual(
        runs.map(({ onProbation }) => onProbation),
        [false, false, false, false, true],
      )
      assert.deepEqual(
        runs.map(({ takeovers }) => takeovers),
        [3, 0, 0, 3, 3],
      )
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

async function idsOf(receipt: ClaimReceipt | Promise<ClaimReceipt>): Promise<string[]> {
  return (await receipt).claimed.map(({ run }) => run.id)
}
