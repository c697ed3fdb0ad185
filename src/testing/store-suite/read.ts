import assert from 'node:assert/strict'
import type { ListQuery, RunCommit, RunRecord, StoreSession } from '../../store/store.ts'
import {
  accept,
  COMPLETED,
  eventWait,
  first,
  newRun,
  outcome,
  PARKED,
  type SuiteContext,
  type SuiteRunner,
} from './context.ts'

async function ids(session: StoreSession, query: Partial<ListQuery> = {}): Promise<string[]> {
  return (await session.list({ first: 100, ...query })).map(({ id }) => id)
}

function by(owner: string | null, operationName: string | null): Pick<RunCommit, 'create'> {
  return { create: newRun({ owner, operationName }) }
}

export function readSuite({ describe, it }: SuiteRunner, context: SuiteContext): void {
  describe('secret', () => {
    it('is the same for all sessions, whoever asks first, and long enough', async () => {
      const sessions = [await context.connect(), await context.connect(), await context.connect()]
      const secrets = await Promise.all(sessions.map((session) => session.secret()))
      assert.equal(new Set(secrets).size, 1)
      assert.ok((secrets[0]?.length ?? 0) >= 22)
      assert.equal(await (await context.connect()).secret(), secrets[0])
    })
  })

  describe('read', () => {
    it('brings the record and the waits always, and the rest where asked for', async () => {
      const session = await context.connect()
      await accept(session, first('run', { outcomes: [outcome(0)], opens: [eventWait('w', 'order')], next: PARKED }))
      const plain = await session.read('run')
      assert.deepEqual([plain?.waits.length, plain?.journal, plain?.result, plain?.input], [1, null, null, null])
      const journal = await session.read('run', { journal: true })
      assert.deepEqual([journal?.journal?.length, journal?.input], [1, null])
      const input = await session.read('run', { input: true, result: true })
      assert.deepEqual([input?.input, input?.journal, input?.result], [newRun().input, null, null])
    })

    it('leaves the waits out where they are not asked for', async () => {
      const session = await context.connect()
      await accept(session, first('run', { outcomes: [outcome(0)], opens: [eventWait('w', 'order')], next: PARKED }))
      const row = await session.read('run', { waits: false })
      assert.deepEqual([row?.run.id, row?.waits, row?.journal], ['run', [], null])
      assert.deepEqual((await session.read('run', { waits: false, journal: true }))?.journal?.length, 1)
    })

    it('brings the result of a run that has ended', async () => {
      const session = await context.connect()
      await accept(session, first('run', { next: COMPLETED }))
      assert.equal((await session.read('run', { result: true }))?.result, COMPLETED.ending.result)
      assert.equal((await session.read('run'))?.result, null)
    })

    it('answers null where there is no such run (I9)', async () => {
      assert.equal(await (await context.connect()).read('nobody', { journal: true }), null)
    })

    it('sees at once what another session has committed', async () => {
      const writer = await context.connect()
      const reader = await context.connect()
      await accept(writer, first('run'))
      assert.equal((await reader.read('run'))?.run.holder, 'process-0')
    })

    it('hands out a record that later transitions do not change', async () => {
      const session = await context.connect()
      await accept(session, first('run', { outcomes: [outcome(0)], opens: [eventWait('w', 'order')] }))
      const before = await session.read('run', { journal: true })
      const copy = structuredClone(before)
      await session.end('run', COMPLETED.ending)
      assert.deepEqual(before, copy)
    })
  })

  describe('peek', () => {
    it('tells of each run whether it has ended and when it is due, and leaves out those that there are not', async () => {
      const session = await context.connect()
      await accept(session, first('held'))
      await accept(session, first('due', { next: { kind: 'park', wakeInMs: 0 } }))
      await accept(session, first('parked', { next: PARKED }))
      await accept(session, first('ended', { next: COMPLETED }))
      const { at, runs } = await session.peek(['held', 'nobody', 'due', 'ended', 'parked'])
      const found = new Map(runs.map((run) => [run.id, run]))
      assert.deepEqual([...found.keys()].toSorted(), ['due', 'ended', 'held', 'parked'])
      assert.deepEqual(found.get('held'), { id: 'held', status: 'running', dueAt: null })
      assert.deepEqual(found.get('parked'), { id: 'parked', status: 'suspended', dueAt: null })
      assert.deepEqual(found.get('ended'), { id: 'ended', status: 'completed', dueAt: null })
      assert.ok(found.get('due')?.dueAt !== null && Number(found.get('due')?.dueAt) <= at)
    })

    it('answers for many at once, and for none', async () => {
      const session = await context.connect()
      await accept(session, first('run'))
      const ids = Array.from({ length: 1000 }, (_, n) => `nobody ${n}`)
      assert.equal((await session.peek([...ids, 'run'])).runs.length, 1)
      assert.deepEqual((await session.peek([])).runs, [])
    })
  })

  describe('list', () => {
    it('gives the newest first, and of one instant the greater id first', async () => {
      const session = await context.connect()
      await accept(session, first('b'), first('a'), first('c'))
      await context.pass(5)
      await accept(session, first('aa'))
      assert.deepEqual(await ids(session), ['aa', 'c', 'b', 'a'])
      assert.deepEqual(await ids(session, { first: 2 }), ['aa', 'c'])
      assert.deepEqual(await ids(session, { first: 0 }), [])
      const [record] = await session.list({ first: 1 })
      assert.deepEqual(record, (await session.read('aa'))?.run)
    })

    it('filters by status, operation and owner, alone and together', async () => {
      const session = await context.connect()
      await accept(session, first('1', by('ada', 'Pay')), first('2', { ...by('ada', 'Ship'), next: PARKED }))
      await accept(session, first('3', { ...by('bob', 'Pay'), next: COMPLETED }), first('4', by(null, null)))
      assert.deepEqual(await ids(session, { owner: 'ada' }), ['2', '1'])
      assert.deepEqual(await ids(session, { operationName: 'Pay' }), ['3', '1'])
      assert.deepEqual(await ids(session, { status: 'running' }), ['4', '1'])
      assert.deepEqual(await ids(session, { status: 'suspended', owner: 'ada' }), ['2'])
      assert.deepEqual(await ids(session, { owner: 'ada', operationName: 'Pay', status: 'running' }), ['1'])
      assert.deepEqual(await ids(session, { owner: 'eve' }), [])
    })

    it('goes from page to page without gaps or repeats, while runs are added and change', async () => {
      const session = await context.connect()
      const expected = Array.from({ length: 23 }, (_, index) => `run ${String(index).padStart(2, '0')}`)
      for (const id of expected) {
        await accept(session, first(id, { create: newRun({ owner: 'ada' }) }))
        if (id.endsWith('5')) await context.pass(1)
      }
      for (const filter of [{}, { owner: 'ada' }]) {
        const seen: string[] = []
        let after: RunRecord | undefined
        for (let page = 0; page < 20; page++) {
          const runs: readonly RunRecord[] = await session.list({ first: 4, ...filter, ...(after && { after }) })
          seen.push(...runs.map(({ id }) => id).filter((id) => id.startsWith('run')))
          after = runs.at(-1)
          if (!after) break
          await context.pass(1)
          await accept(
            session,
            first(`new ${page} ${Object.keys(filter).length}`, { create: newRun({ owner: 'ada' }) }),
          )
          await session.end(after.id, COMPLETED.ending)
        }
        assert.deepEqual(seen, expected.toReversed())
      }
    })
  })
}
