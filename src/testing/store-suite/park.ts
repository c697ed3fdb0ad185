import assert from 'node:assert/strict'
import type { NewEvent } from '../../store/store.ts'
import {
  accept,
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
} from './context.ts'

const EVENT: NewEvent = { id: 'evt', name: 'order', data: '{"id":7}' }

export function parkSuite({ describe, it }: SuiteRunner, context: SuiteContext): void {
  describe('commit that parks', () => {
    it('gives the lease back, due after the wake-up', async () => {
      const session = await context.connect()
      const at = await accept(session, first('run', { next: { kind: 'park', wakeInMs: 70 } }))
      const { run } = await view(session, 'run')
      assert.deepEqual([run.status, run.holder, run.dueAt, run.epoch], ['suspended', null, at + 70, 1])
    })

    it('is due now with a wake-up of 0, and never by itself without one', async () => {
      const session = await context.connect()
      const at = await accept(session, first('now', { next: DUE_NOW }), first('never', { next: PARKED }))
      assert.equal((await view(session, 'now')).run.dueAt, at)
      assert.equal((await view(session, 'never')).run.dueAt, null)
    })

    it("is due at the run's timeout, where that comes first", async () => {
      const session = await context.connect()
      const create = newRun({ timeoutMs: 100, beganAgoMs: 30 })
      const at = await accept(
        session,
        first('signal only', { create, next: PARKED }),
        first('later', { create, next: { kind: 'park', wakeInMs: 500 } }),
        first('earlier', { create, next: { kind: 'park', wakeInMs: 20 } }),
      )
      assert.equal((await view(session, 'signal only')).run.dueAt, at + 70)
      assert.equal((await view(session, 'later')).run.dueAt, at + 70)
      assert.equal((await view(session, 'earlier')).run.dueAt, at + 20)
    })

    it('is due now if a signal came while it was held, whatever the wake-up says (I6)', async () => {
      const session = await context.connect()
      await accept(session, first('run', { opens: [eventWait('w', 'order')] }))
      await session.send([EVENT])
      const held = (await view(session, 'run')).run
      assert.deepEqual([held.signalled, held.dueAt, held.status], [true, null, 'running'])
      const receipt = await session.commit([part('run', 2, { next: { kind: 'park', wakeInMs: 60_000 } })])
      assert.equal(receipt.accepted.get('run')?.signalled, true)
      const { run } = await view(session, 'run')
      assert.deepEqual([run.status, run.dueAt, run.signalled], ['suspended', receipt.at, true])
    })

    it('tells the holder of a signal with every commit (I6)', async () => {
      const session = await context.connect()
      const opened = await session.commit([first('run', { opens: [eventWait('w', 'order')] })])
      assert.equal(opened.accepted.get('run')?.signalled, false)
      await session.send([EVENT])
      const holding = await session.commit([part('run', 2, { outcomes: [outcome(0)] })])
      assert.equal(holding.accepted.get('run')?.signalled, true)
    })

    it('is made due by a signal that comes after it was parked (I6)', async () => {
      const session = await context.connect()
      const parked = { opens: [eventWait('w', 'order')], next: { kind: 'park', wakeInMs: 60_000 } } as const
      const at = await accept(session, first('run', parked))
      await context.pass(10)
      assert.deepEqual((await session.send([EVENT])).signalled, ['run'])
      const { run } = await view(session, 'run')
      assert.equal(run.signalled, true)
      assert.ok(run.dueAt !== null && run.dueAt >= at + 10 && run.dueAt < at + 60_000)
      assert.equal(await take(session, 'run'), 2)
    })

    it('has its signal cleared by the claim, not by the park (I6)', async () => {
      const session = await context.connect()
      await accept(session, first('run', { opens: [eventWait('w', 'order')] }))
      await session.send([EVENT])
      await accept(session, part('run', 2, { next: PARKED }))
      const epoch = await take(session, 'run')
      assert.equal((await view(session, 'run')).run.signalled, false)
      await accept(session, part('run', 1, { epoch, next: PARKED }))
      assert.equal((await view(session, 'run')).run.dueAt, null)
    })
  })
}
