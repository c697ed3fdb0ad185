import assert from 'node:assert/strict'
import {
  accept,
  COMPLETED,
  eventWait,
  first,
  outcome,
  PARKED,
  part,
  refuse,
  type SuiteContext,
  type SuiteRunner,
  view,
} from './context.ts'

const CANCELLED = { status: 'cancelled', result: '{"errors":[]}' } as const

export function endSuite({ describe, it }: SuiteRunner, context: SuiteContext): void {
  describe('end', () => {
    it('ends a run that another process holds, and fences the holder (I3)', async () => {
      const holder = await context.connect()
      const outsider = await context.connect()
      await accept(holder, first('run', { outcomes: [outcome(0)], opens: [eventWait('w', 'order')] }))
      await context.pass(10)
      const ended = await outsider.end('run', CANCELLED)
      const { run, result, waits } = await view(holder, 'run')
      assert.deepEqual(ended, run)
      assert.deepEqual([run.status, run.epoch, run.holder, run.dueAt], ['cancelled', 2, null, null])
      assert.deepEqual([result, waits, run.len], [CANCELLED.result, [], 1])
      assert.equal(run.endedAt, run.updatedAt)
      await refuse(holder, part('run', 2, { outcomes: [outcome(1)] }))
      await refuse(holder, part('run', 2, { next: COMPLETED }))
    })

    it('ends a parked run, which is then never claimed', async () => {
      const session = await context.connect()
      await accept(session, first('run', { opens: [eventWait('w', 'order')], next: PARKED }))
      assert.equal((await session.end('run', CANCELLED))?.epoch, 2)
      assert.deepEqual((await session.send([{ id: 'evt', name: 'order', data: 'null' }])).signalled, [])
      assert.deepEqual((await session.claim({ limit: 1, runId: 'run', evenIfNotDue: true })).claimed, [])
    })

    it('leaves a run alone that has already ended', async () => {
      const session = await context.connect()
      await accept(session, first('run', { next: COMPLETED }))
      const before = await view(session, 'run')
      await context.pass(10)
      assert.deepEqual(await session.end('run', CANCELLED), before.run)
      const after = await view(session, 'run')
      assert.deepEqual([after.run, after.result], [before.run, COMPLETED.ending.result])
    })

    it('answers null where there is no such run', async () => {
      assert.equal(await (await context.connect()).end('nobody', CANCELLED), null)
    })
  })
}
