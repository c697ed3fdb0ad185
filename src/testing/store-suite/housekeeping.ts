import assert from 'node:assert/strict'
import type { StoreSession } from '../../store/store.ts'
import {
  accept,
  COMPLETED,
  eventWait,
  first,
  outcome,
  PARKED,
  part,
  type SuiteContext,
  type SuiteRunner,
  view,
} from './context.ts'

async function hasEvent(session: StoreSession, name: string): Promise<boolean> {
  const [found] = await session.findEvents([{ name, match: null, since: 0, until: null, exclude: new Set() }])
  return Boolean(found)
}

export function housekeepingSuite({ describe, it }: SuiteRunner, context: SuiteContext): void {
  describe('delete', () => {
    it('removes an ended run and all that belongs to it', async () => {
      const session = await context.connect()
      const whole = { outcomes: [outcome(0)], opens: [eventWait('w', 'order')] }
      await accept(session, first('run', whole))
      await accept(session, part('run', 2, { next: COMPLETED }))
      assert.equal(await session.delete('run'), true)
      assert.equal(await session.delete('run'), false)
      assert.equal(await session.read('run'), null)
      assert.deepEqual(await session.list({ first: 10 }), [])
      // What comes after it under the same id begins with nothing.
      await accept(session, first('run'))
      const { run, journal, waits, result } = await view(session, 'run')
      assert.deepEqual([run.len, journal, waits, result], [0, [], [], null])
    })

    it('refuses a run that has not ended, and one that is not there (I4)', async () => {
      const session = await context.connect()
      await accept(session, first('held', { outcomes: [outcome(0)] }), first('parked', { next: PARKED }))
      for (const runId of ['held', 'parked', 'nobody']) assert.equal(await session.delete(runId), false)
      assert.equal((await view(session, 'held')).journal?.length, 1)
      await view(session, 'parked')
    })
  })

  describe('prune', () => {
    it('deletes what ended or was accepted longer ago, and keeps what is alive (I4)', async () => {
      const session = await context.connect()
      await accept(session, first('old', { next: COMPLETED }), first('held'), first('parked', { next: PARKED }))
      await session.send([{ id: '1', name: 'old', data: 'null' }])
      await context.pass(1_500)
      await accept(session, first('young', { next: COMPLETED }), part('held', 2, { outcomes: [outcome(0)] }))
      await session.send([{ id: '2', name: 'young', data: 'null' }])
      assert.deepEqual(await session.prune(60_000), { runs: 0, events: 0, more: false })
      assert.deepEqual(await session.prune(1_000), { runs: 1, events: 1, more: false })
      assert.deepEqual((await session.list({ first: 10 })).map(({ id }) => id).toSorted(), ['held', 'parked', 'young'])
      assert.deepEqual([await hasEvent(session, 'old'), await hasEvent(session, 'young')], [false, true])
      assert.equal((await view(session, 'held')).journal?.length, 1)
    })

    it('counts from the end of a run, not from its beginning', async () => {
      const session = await context.connect()
      await accept(session, first('run'))
      await context.pass(1_500)
      await accept(session, part('run', 2, { next: COMPLETED }))
      assert.equal((await session.prune(1_000)).runs, 0)
    })

    it('does bounded work a call, and says whether there is more', async () => {
      const session = await context.connect()
      const runs = Array.from({ length: 1_500 }, (_, index) => first(`run ${index}`, { next: COMPLETED }))
      await accept(session, ...runs)
      await session.send(Array.from({ length: 1_500 }, (_, index) => ({ id: `${index}`, name: 'e', data: 'null' })))
      await context.pass(20)
      const [once, pruned] = [await session.prune(10), { runs: 0, events: 0 }]
      assert.ok(once.more && once.runs < 1_500, 'the first call leaves something')
      for (let receipt = once; ; receipt = await session.prune(10)) {
        pruned.runs += receipt.runs
        pruned.events += receipt.events
        if (!receipt.more) break
      }
      assert.deepEqual(pruned, { runs: 1_500, events: 1_500 })
      assert.deepEqual(await session.list({ first: 1 }), [])
    })
  })
}
