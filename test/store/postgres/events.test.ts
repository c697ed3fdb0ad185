import { describe, expect, it } from 'vitest'
import type { PostgresSession } from '../../../src/postgres.ts'
import type { StoreSession } from '../../../src/store/store.ts'
import { sleep } from '../../support/postgres.ts'
import { DUE_NOW, eventWait, first, knob, PARKED, part, useDatabase } from './world.ts'

const ROUNDS = knob('DURABLE_STRESS_ROUNDS', 600)
const AT_ONCE = 8

const world = useDatabase()

async function turns(): Promise<void> {
  for (let left = Math.floor(Math.random() * 6); left > 0; left--) {
    await new Promise<void>((resolve) => setImmediate(resolve))
  }
}

/** As the engine does: register, look, park. */
async function waitFor(session: StoreSession, runId: string, since: number): Promise<void> {
  await turns()
  await session.commit([part(runId, 2, { opens: [eventWait('order', { runId })] })])
  await turns()
  const match = JSON.stringify({ runId })
  const [event] = await session.findEvents([{ name: 'order', match, since, until: null, exclude: new Set() }])
  await turns()
  await session.commit([part(runId, 3, { next: event ? DUE_NOW : PARKED })])
}

async function send(session: StoreSession, runId: string): Promise<void> {
  await turns()
  await session.send([{ id: `evt ${runId}`, name: 'order', data: JSON.stringify({ runId, more: [1, 2] }) }])
}

describe('events', () => {
  it(
    `are never missed, whenever they come between a wait's registration and its park: ${ROUNDS} rounds (I6)`,
    { timeout: 60_000 + ROUNDS * 60 },
    async () => {
      const [waiter, sender] = [await world.connect('waiter'), await world.connect('sender')]
      let missed = 0
      let round = 0
      const lane = async (): Promise<void> => {
        while (round < ROUNDS) {
          const runId = `run ${round++}`
          const { at } = await waiter.commit([first(runId)])
          await Promise.all([waitFor(waiter, runId, at), send(sender, runId)])
          if ((await waiter.claim({ limit: 1, runId })).claimed.length === 0) missed++
        }
      }
      await Promise.all(Array.from({ length: AT_ONCE }, lane))
      console.log('events stress', { rounds: round, missed })
      expect(missed).toBe(0)
      expect(await world.sql('select * from durable.undispatched')).toEqual([])
    },
  )

  it('are dispatched by others if their sender dies right after it accepted them (I6)', async () => {
    const waiter = await world.connect('waiter')
    await waiter.commit([first('run', { opens: [eventWait('order')], next: PARKED })])
    const dying = await world.connect('dying', {
      onCommit(phase, what) {
        if (`${phase} ${what}` === 'before look') (dying as PostgresSession).crash()
      },
    })
    world.forget(dying)
    void dying.send([{ id: 'evt', name: 'order', data: 'null' }])
    await sleep(200)
    expect((await waiter.read('run'))?.run.signalled).toBe(false)
    await sleep(2_000)
    await waiter.reap()
    expect((await waiter.read('run'))?.run).toMatchObject({ signalled: true })
    expect((await waiter.claim({ limit: 1 })).claimed).toHaveLength(1)
    expect(await world.sql('select * from durable.undispatched')).toEqual([])
  })

  it('are dispatched by the sender that comes again, because it was not answered (I6)', async () => {
    let failing = true
    const sender = await world.connect('sender', {
      onCommit(phase, what) {
        if (failing && `${phase} ${what}` === 'after send') throw new Error('the answer is lost')
      },
    })
    await sender.commit([first('run', { opens: [eventWait('order', { id: 1 })], next: PARKED })])
    await expect(sender.send([{ id: 'evt', name: 'order', data: '{"id":1}' }])).rejects.toMatchObject({
      kind: 'transient',
    })
    failing = false
    expect((await sender.send([{ id: 'evt', name: 'order', data: '{"id":2}' }])).signalled).toEqual(['run'])
    expect((await sender.send([{ id: 'evt', name: 'order', data: '{"id":1}' }])).signalled).toEqual([])
  })

  it('that nobody can read are set aside with a warning, and the others are dispatched and found (I4)', async () => {
    const warnings: string[] = []
    const session = await world.connect('a', { onWarning: (warning) => warnings.push(warning) })
    warnings.length = 0 // of the server's settings
    await session.commit([first('run', { opens: [eventWait('order', { id: 7 })], next: PARKED })])
    await world.sql(`
      insert into durable.events (id, name, data, accepted_at)
        values ('bad', 'order', '{broken', 1), ('good', 'order', '{"id":7}', 2);
      insert into durable.undispatched (event, since) select n, accepted_at from durable.events`)
    await session.reap()
    expect((await session.read('run'))?.run.signalled).toBe(true)
    expect(warnings).toEqual([
      expect.stringMatching(/"bad" of the name "order" could not be dispatched.*not tried again/),
    ])
    await session.reap()
    expect(warnings).toHaveLength(1)
    const query = { name: 'order', match: null, since: 0, until: null, exclude: new Set<string>() }
    expect((await session.findEvents([query, query])).map((event) => event?.id ?? null)).toEqual(['good', null])
  })

  it('as deep and as wide as they may be hold nobody up', async () => {
    const session = await world.connect('a')
    const deep = `${'{"a":'.repeat(3_000)}1${'}'.repeat(3_000)}`
    const wide = JSON.stringify(Array.from({ length: 500 }, (_, n) => ({ ['k'.repeat(2_000)]: { [n]: n } })))
    await session.commit([
      first('deep', { opens: [{ ...eventWait('order'), match: deep }], next: PARKED }),
      first('wide', { opens: [{ ...eventWait('order'), match: wide }], next: PARKED }),
    ])
    const began = performance.now()
    const { signalled } = await session.send([
      { id: '1', name: 'order', data: deep },
      { id: '2', name: 'order', data: wide },
    ])
    expect(signalled.toSorted()).toEqual(['deep', 'wide'])
    expect(performance.now() - began).toBeLessThan(2_000)
  })

  it('look only at waits that they may concern, when many wait for one name', async () => {
    const session = await world.connect('a')
    const waits = 3_000
    for (let from = 0; from < waits; from += 500) {
      const ids = Array.from({ length: 500 }, (_, index) => from + index)
      await session.commit(
        ids.map((id) => first(`run ${id}`, { opens: [eventWait('order', { order: { id } })], next: PARKED })),
      )
    }
    await session.commit([first('any', { opens: [eventWait('order')], next: PARKED })])
    const { signalled } = await session.send([{ id: 'evt', name: 'order', data: '{"by":"ada","order":{"id":1234}}' }])
    expect(signalled.toSorted()).toEqual(['any', 'run 1234'])
    const [stats] = await world.sql<{ leaves: number }>(
      'select count(distinct leaf)::integer as leaves from durable.waits',
    )
    expect(stats?.leaves).toBe(waits)
  })

  it('are found on whatever page they are', async () => {
    const session = await world.connect('a')
    const events = Array.from({ length: 1_100 }, (_, index) => ({
      id: `${index}`,
      name: 'order',
      data: `{"n":${index}}`,
    }))
    await session.send(events)
    const find = async (match: string | null, exclude: readonly string[]) => {
      const query = { name: 'order', match, since: 0, until: null, exclude: new Set(exclude) }
      return (await session.findEvents([query]))[0]?.id
    }
    expect(await find('{"n":1077}', [])).toBe('1077')
    expect(
      await find(
        null,
        events.slice(0, 1_000).map(({ id }) => id),
      ),
    ).toBe('1000')
    expect(await find('{"n":1077}', ['1077'])).toBeUndefined()
  })
})
