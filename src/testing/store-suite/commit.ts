import assert from 'node:assert/strict'
import type { NewRun } from '../../store/store.ts'
import { StoreError } from '../../store/store.ts'
import {
  accept,
  COMPLETED,
  DUE_NOW,
  first,
  newRun,
  outcome,
  PARKED,
  part,
  refuse,
  type SuiteContext,
  type SuiteRunner,
  take,
  view,
  wait,
} from './context.ts'

export function commitSuite({ describe, it }: SuiteRunner, context: SuiteContext): void {
  describe('commit', () => {
    it('creates a run, which its process then holds under epoch 1', async () => {
      const session = await context.connect('alice')
      const create = newRun({ operationName: 'Checkout', owner: 'ada', version: 'v7', beganAgoMs: 40, timeoutMs: 100 })
      const at = await accept(session, first('run', { create, outcomes: [outcome(0, { tookMs: 12 })] }))
      const { run, journal, input, result, waits } = await view(session, 'run')
      assert.deepEqual(run, {
        id: 'run',
        status: 'running',
        epoch: 1,
        holder: 'alice',
        len: 1,
        dueAt: null,
        signalled: false,
        keptBy: null,
        server: 'main',
        operationName: 'Checkout',
        owner: 'ada',
        version: 'v7',
        beganAt: run.beganAt,
        createdAt: at,
        updatedAt: at,
        endedAt: null,
        timeoutAt: at + 60,
        takeovers: 0,
        blamed: 0,
        onProbation: false,
        resumeFailures: 0,
        note: null,
      })
      // Never late (I6); a server, which knows of the way that the part has come, makes it a little earlier.
      assert.ok(run.beganAt <= at - 40 && run.beganAt > at - 5_000)
      assert.deepEqual(journal, [{ ...outcome(0, { tookMs: 12 }), committedAt: at }])
      assert.deepEqual({ input, result, waits }, { input: create.input, result: null, waits: [] })
    })

    it('creates one run for an idempotency key, and tells later ones whose it is', async () => {
      const alice = await context.connect('alice')
      const bob = await context.connect('bob')
      const under = (fingerprint: string): NewRun => newRun({ idempotency: { key: 'k', fingerprint } })
      await accept(alice, first('one', { create: under('f') }))
      const receipt = await bob.commit([first('two', { create: under('g') }), first('three')])
      assert.deepEqual([...receipt.accepted.keys()], ['three'])
      assert.deepEqual([...receipt.conflicts], [['two', { runId: 'one', fingerprint: 'f' }]])
      assert.equal(await bob.read('two'), null)
    })

    it('recognises the creation under a key that comes again', async () => {
      const session = await context.connect()
      const again = first('one', { create: newRun({ idempotency: { key: 'k', fingerprint: 'f' } }) })
      await accept(session, again)
      await accept(session, again)
    })

    it('frees an idempotency key with its run', async () => {
      const session = await context.connect()
      const create = newRun({ idempotency: { key: 'k', fingerprint: 'f' } })
      await accept(session, first('one', { create, next: COMPLETED }))
      await session.delete('one')
      await accept(session, first('two', { create }))
    })

    it('lets one of many creations under a key win, whoever makes them', async () => {
      const sessions = await Promise.all(['a', 'b', 'c', 'd'].map((name) => context.connect(name)))
      const create = newRun({ idempotency: { key: 'k', fingerprint: 'f' } })
      const receipts = await Promise.all(sessions.map((session, i) => session.commit([first(`run${i}`, { create })])))
      const winners = receipts.flatMap((receipt) => [...receipt.accepted.keys()])
      assert.equal(winners.length, 1)
      for (const { conflicts } of receipts) for (const { runId } of conflicts.values()) assert.equal(runId, winners[0])
    })

    it('appends outcomes in the order of their positions, and counts them (I1)', async () => {
      const session = await context.connect()
      await accept(session, first('run', { outcomes: [outcome(0)] }))
      await accept(session, part('run', 2, { outcomes: [outcome(2), outcome(1, { ok: false, eventId: 'evt' })] }))
      const { run, journal } = await view(session, 'run')
      assert.equal(run.len, 3)
      assert.deepEqual(
        journal?.map(({ pos, key, ok, eventId }) => [pos, key, ok, eventId]),
        [
          [0, 'a/step 0', true, null],
          [1, 'a/step 1', false, 'evt'],
          [2, 'a/step 2', true, null],
        ],
      )
    })

    it('refuses an old epoch, and writes none of it (I3)', async () => {
      const alice = await context.connect()
      const bob = await context.connect()
      await accept(alice, first('run', { next: DUE_NOW }))
      await take(bob, 'run')
      const stale = { outcomes: [outcome(0)], opens: [wait('w')], note: 'stale' }
      await refuse(alice, part('run', 2, stale))
      await refuse(bob, part('run', 1, { ...stale, epoch: 1 }))
      await refuse(bob, part('run', 1, { ...stale, epoch: 3 }))
      await accept(bob, part('run', 1, { ...stale, epoch: 2 }))
    })

    it('refuses whoever does not hold the run, under the right epoch too (I3)', async () => {
      const alice = await context.connect()
      const bob = await context.connect()
      await accept(alice, first('run'))
      await refuse(bob, part('run', 2, { outcomes: [outcome(0)], next: COMPLETED }))
      await refuse(bob, part('nobody', 1, { outcomes: [outcome(0)] }))
      await accept(alice, part('run', 2, { outcomes: [outcome(0)] }))
    })

    it('refuses everything once the run was parked or has ended (I3)', async () => {
      const session = await context.connect()
      await accept(session, first('parked', { next: PARKED }), first('ended', { next: COMPLETED }))
      await refuse(session, part('parked', 2, { outcomes: [outcome(0)] }))
      await refuse(session, part('ended', 2, { outcomes: [outcome(0)] }))
    })

    it('is all or nothing for a run, and a refused run holds up no other (I3)', async () => {
      const alice = await context.connect()
      const bob = await context.connect()
      await accept(alice, first('one'), first('two', { next: DUE_NOW }), first('three'))
      await take(bob, 'two')
      const rest = { outcomes: [outcome(0), outcome(1)], opens: [wait('w')], note: 'written' }
      const parts = ['one', 'two', 'three'].map((id) => part(id, 2, rest))
      const receipt = await alice.commit([...parts, first('four')])
      assert.deepEqual([...receipt.accepted.keys()].toSorted(), ['four', 'one', 'three'])
      for (const id of ['one', 'three']) {
        const { run, waits } = await view(alice, id)
        assert.deepEqual([run.len, run.note, waits.length], [2, 'written', 1])
      }
      const { run, waits, journal } = await view(alice, 'two')
      assert.deepEqual([run.len, run.note, waits.length, journal?.length], [0, null, 0, 0])
    })

    it('accepts the very same part again and writes nothing, because its answer may have been lost', async () => {
      const session = await context.connect()
      const create = first('run', { outcomes: [outcome(0)], opens: [wait('w', { forMs: 50 })] })
      await accept(session, create)
      const created = await view(session, 'run')
      await context.pass(10)
      await accept(session, create)
      const repeated = await view(session, 'run')
      assert.deepEqual({ ...repeated, at: 0 }, { ...created, at: 0 })

      const parking = part('run', 2, { outcomes: [outcome(1)], next: { kind: 'park', wakeInMs: 50 } })
      await accept(session, parking)
      const parked = await view(session, 'run')
      await context.pass(10)
      await accept(session, parking)
      assert.deepEqual({ ...(await view(session, 'run')), at: 0 }, { ...parked, at: 0 })

      await context.pass(50)
      const epoch = await take(session, 'run')
      const ending = part('run', 1, { epoch, next: COMPLETED })
      await accept(session, ending)
      await accept(session, ending)
      assert.equal((await view(session, 'run')).run.len, 2)
    })

    it('accepts a repeated part that parked the run after somebody else has claimed it', async () => {
      const alice = await context.connect()
      const bob = await context.connect()
      const parking = first('run', { next: DUE_NOW })
      await accept(alice, parking)
      await take(bob, 'run')
      await accept(alice, parking)
      const { run } = await view(bob, 'run')
      assert.deepEqual([run.status, run.holder, run.epoch], ['running', 'process-1', 2])
    })

    it('creates a run once: of two processes that begin the same one, the second is refused (I3)', async () => {
      const alice = await context.connect()
      const bob = await context.connect()
      await accept(alice, first('run'))
      await refuse(bob, first('run', { create: newRun({ owner: 'bob' }) }))
      await accept(alice, part('run', 2, { next: COMPLETED }))
      await refuse(bob, first('run'))
      await refuse(alice, part('run', 3, { create: newRun() }))
    })

    it('creates a run once, also when several processes try at the same time (I3)', async () => {
      const sessions = await Promise.all(['a', 'b', 'c', 'd'].map((id) => context.connect(id)))
      const receipts = await Promise.all(sessions.map((session) => session.commit([first('run')])))
      assert.equal(receipts.filter(({ accepted }) => accepted.has('run')).length, 1)
    })

    it('takes a commit that creates, appends and ends a run at once', async () => {
      const session = await context.connect()
      const at = await accept(session, first('run', { outcomes: [outcome(0)], next: COMPLETED }))
      const { run, result, journal } = await view(session, 'run')
      assert.deepEqual([run.status, run.holder, run.dueAt, run.endedAt], ['completed', null, null, at])
      assert.deepEqual([result, journal?.length], [COMPLETED.ending.result, 1])
    })

    it('closes a wait by its outcome, and all of them when the run ends', async () => {
      const session = await context.connect()
      const opens = ['one', 'two', 'three', 'four'].map((key, seq) => wait(key, { seq }))
      await accept(session, first('run', { opens }))
      await accept(session, part('run', 2, { outcomes: [outcome(0, { key: 'two' }), outcome(1)] }))
      assert.deepEqual(
        (await view(session, 'run')).waits.map(({ key }) => key),
        ['one', 'three', 'four'],
      )
      await accept(session, part('run', 3, { next: COMPLETED }))
      assert.deepEqual((await view(session, 'run')).waits, [])
    })

    it('leaves a wait closed that one part both opens and settles', async () => {
      const session = await context.connect()
      const opens = [wait('settled'), wait('open')]
      const outcomes = [outcome(0, { key: 'settled' })]
      await accept(session, first('run', { opens, outcomes }))
      assert.deepEqual(
        (await view(session, 'run')).waits.map(({ key }) => key),
        ['open'],
      )
    })

    it('gives waits an end that is counted from the commit, in the order of opening', async () => {
      const session = await context.connect()
      const opens = [
        wait('b', { seq: 1, kind: 'EVENT', event: 'order', match: '{"id":7}', attempts: 2 }),
        wait('a', { seq: 2, forMs: 30 }),
      ]
      const at = await accept(session, first('run', { opens }))
      assert.deepEqual((await view(session, 'run')).waits, [
        { key: 'b', kind: 'EVENT', seq: 1, event: 'order', match: '{"id":7}', attempts: 2, since: at, until: null },
        { key: 'a', kind: 'SLEEP', seq: 2, event: null, match: null, attempts: 0, since: at, until: at + 30 },
      ])
    })

    it('replaces a wait under the same key', async () => {
      const session = await context.connect()
      await accept(session, first('run', { opens: [wait('w', { forMs: 100 })] }))
      await context.pass(10)
      const opens = [wait('w', { forMs: 200, attempts: 3 }), wait('new', { seq: 1, forMs: 5 })]
      const at = await accept(session, part('run', 2, { opens }))
      assert.deepEqual(
        (await view(session, 'run')).waits.map(({ key, since, until, attempts }) => [key, since, until, attempts]),
        [
          ['w', at, at + 200, 3],
          ['new', at, at + 5, 0],
        ],
      )
    })

    it('replaces notes and counts of failed passes only where the part names them', async () => {
      const session = await context.connect()
      await accept(session, first('run', { note: 'slow', resumeFailures: 2 }))
      await accept(session, part('run', 2))
      const kept = (await view(session, 'run')).run
      assert.deepEqual([kept.note, kept.resumeFailures], ['slow', 2])
      await accept(session, part('run', 3, { note: null, resumeFailures: 0 }))
      const cleared = (await view(session, 'run')).run
      assert.deepEqual([cleared.note, cleared.resumeFailures], [null, 0])
    })

    it('rejects a journal entry whose position or key is taken, and writes nothing of the batch', async () => {
      const session = await context.connect()
      await accept(session, first('run', { outcomes: [outcome(0)] }), first('other'))
      for (const taken of [outcome(0, { key: 'new' }), outcome(1, { key: 'a/step 0' })]) {
        const batch = [part('other', 2, { outcomes: [outcome(0)] }), part('run', 2, { outcomes: [taken] })]
        await assert.rejects(session.commit(batch), isRejected)
      }
      assert.deepEqual([(await view(session, 'other')).run.len, (await view(session, 'run')).run.len], [0, 1])
      await accept(session, part('run', 2, { outcomes: [outcome(1)] }))
    })

    it('rejects a batch that names a run twice', async () => {
      const session = await context.connect()
      await assert.rejects(session.commit([first('run'), part('run', 2)]), isRejected)
      assert.equal(await session.read('run'), null)
    })

    it('brings every update forward, and accepts an empty batch', async () => {
      const session = await context.connect()
      const createdAt = await accept(session, first('run'))
      await context.pass(20)
      const at = await accept(session, part('run', 2))
      const { run } = await view(session, 'run')
      assert.deepEqual([run.createdAt, run.updatedAt], [createdAt, at])
      assert.ok(at >= createdAt + 20)
      assert.equal((await session.commit([])).accepted.size, 0)
    })

    it('brings text back as it was: quotes, emoji, NUL, and 5 MB of it', async () => {
      const session = await context.connect()
      const odd = `it's "quoted" \\ 😀 \u0000 nul \u2028 end; drop table runs; -- \r\n`
      const large = '😀x'.repeat(1_000_000)
      const create = newRun({ operationName: odd, owner: odd, version: odd, server: odd, input: large })
      const outcomes = [outcome(0, { key: odd, body: large }), outcome(1, { body: odd })]
      const opens = [wait(`${odd} 2`, { event: odd, match: JSON.stringify({ odd }) })]
      await accept(session, first('run', { create, outcomes, opens, note: odd }))
      const { run, journal, input, waits } = await view(session, 'run')
      assert.deepEqual([run.operationName, run.owner, run.version, run.server, run.note], [odd, odd, odd, odd, odd])
      assert.deepEqual([journal?.[0]?.key, journal?.[1]?.body], [odd, odd])
      assert.deepEqual([waits[0]?.event, waits[0]?.match], [odd, JSON.stringify({ odd })])
      assert.ok(journal?.[0]?.body === large && input === large, 'large text comes back whole')
      await accept(session, part('run', 2, { next: { kind: 'end', ending: { status: 'failed', result: large } } }))
      assert.ok((await view(session, 'run')).result === large, 'a large result comes back whole')
    })

    it('commits many runs in one batch', async () => {
      const session = await context.connect()
      const ids = Array.from({ length: 200 }, (_, index) => `run ${index}`)
      await accept(session, ...ids.map((id) => first(id, { outcomes: [outcome(0)] })))
      await accept(session, ...ids.toReversed().map((id) => part(id, 2, { outcomes: [outcome(1)] })))
      for (const id of ids) assert.equal((await view(session, id)).journal?.length, 2)
    })
  })
}

function isRejected(error: unknown): boolean {
  return error instanceof StoreError && error.kind === 'rejected'
}
