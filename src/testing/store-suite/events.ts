import assert from 'node:assert/strict'
import type { EventQuery, EventRecord, NewEvent, NewWait, StoreSession } from '../../store/store.ts'
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

const NONE: ReadonlySet<string> = new Set()

function event(id: string, data: unknown = null, name = 'order'): NewEvent {
  return { id, name, data: JSON.stringify(data) }
}

const ANY: Omit<EventQuery, 'name'> = { match: null, since: 0, until: null, exclude: NONE }

/** JSON with something in so many objects and lists. */
function nested(depth: number, inside: string): string {
  return `${'{"a":['.repeat(depth / 2)}${inside}${']}'.repeat(depth / 2)}`
}

async function find(session: StoreSession, query: Partial<EventQuery> = {}): Promise<EventRecord | null> {
  const [found] = await session.findEvents([
    { name: 'order', match: null, since: 0, until: null, exclude: NONE, ...query },
  ])
  return found ?? null
}

export function eventsSuite({ describe, it }: SuiteRunner, context: SuiteContext): void {
  describe('send', () => {
    it('signals every run with an open wait that matches, once, and no other', async () => {
      const session = await context.connect()
      const waits = {
        any: [eventWait('w', 'order'), eventWait('v', 'order')],
        seven: [eventWait('w', 'order', { id: 7 })],
        eight: [eventWait('w', 'order', { id: 8 })],
        deep: [eventWait('w', 'order', { by: { name: 'Ada' } })],
        elsewhere: [eventWait('w', 'payment')],
      }
      await accept(session, ...Object.entries(waits).map(([id, opens]) => first(id, { opens, next: PARKED })))
      await accept(session, first('closed', { opens: [eventWait('w', 'order')] }))
      await accept(session, part('closed', 2, { outcomes: [outcome(0, { key: 'w' })], next: PARKED }))
      await accept(session, first('ended', { opens: [eventWait('w', 'order')], next: COMPLETED }))
      const { signalled } = await session.send([event('one', { id: 7, by: { name: 'Ada', age: 36 } })])
      assert.deepEqual(signalled.toSorted(), ['any', 'deep', 'seven'])
      for (const id of ['eight', 'elsewhere', 'closed', 'ended']) {
        const { run } = await view(session, id)
        assert.deepEqual([run.signalled, run.dueAt], [false, null])
      }
    })

    it('takes an id that was seen before for the event it was then', async () => {
      const session = await context.connect()
      await session.send([event('one', { id: 7 })])
      const before = await find(session)
      await accept(session, first('run', { opens: [eventWait('w', 'order')], next: PARKED }))
      await context.pass(10)
      assert.deepEqual((await session.send([event('one', { id: 8 }, 'order')])).signalled, [])
      assert.deepEqual(await find(session), before)
      assert.equal((await view(session, 'run')).run.dueAt, null)
    })

    it('takes an id under two names for two events', async () => {
      const session = await context.connect()
      const opens = (name: string): NewWait[] => [eventWait('w', name)]
      await accept(session, first('paid', { opens: opens('order/paid'), next: PARKED }))
      await accept(session, first('shipped', { opens: opens('order/shipped'), next: PARKED }))
      assert.deepEqual((await session.send([event('7', 'of paid', 'order/paid')])).signalled, ['paid'])
      assert.deepEqual((await session.send([event('7', 'of shipped', 'order/shipped')])).signalled, ['shipped'])
      const both = [event('8', 1, 'order/paid'), event('8', 2, 'order/shipped')]
      assert.deepEqual((await session.send(both)).signalled.toSorted(), ['paid', 'shipped'])
      assert.deepEqual((await session.send(both)).signalled, [])
      for (const [name, data] of [
        ['order/paid', ['"of paid"', '1']],
        ['order/shipped', ['"of shipped"', '2']],
      ] as const) {
        const found = await session.findEvents([0, 1].map(() => ({ ...ANY, name })))
        assert.deepEqual(
          found.map((record) => record?.data),
          data,
        )
      }
    })

    it('takes an id twice in one call for one event', async () => {
      const session = await context.connect()
      await session.send([event('one', 1), event('one', 2)])
      assert.equal((await find(session))?.data, '1')
      assert.equal(await find(session, { exclude: new Set(['one']) }), null)
    })

    it('accepts several events at once, and none', async () => {
      const session = await context.connect()
      const opens = [eventWait('w', 'order'), eventWait('v', 'payment')]
      await accept(session, first('run', { opens, next: PARKED }))
      assert.deepEqual((await session.send([])).signalled, [])
      assert.deepEqual((await session.send([event('one'), event('two', 1, 'payment')])).signalled, ['run'])
      assert.equal((await find(session, { name: 'payment' }))?.id, 'two')
    })

    it('keeps the due time of a run that is due already', async () => {
      const session = await context.connect()
      const at = await accept(
        session,
        first('run', { opens: [eventWait('w', 'order')], next: { kind: 'park', wakeInMs: 5 } }),
      )
      await context.pass(20)
      await session.send([event('one')])
      assert.equal((await view(session, 'run')).run.dueAt, at + 5)
    })
  })

  describe('findEvents', () => {
    it('answers each query with the earliest event that fits it, or null (I6)', async () => {
      const session = await context.connect()
      await session.send([event('one', { id: 1 }), event('two', { id: 2 })])
      await context.pass(10)
      await session.send([event('three', { id: 2 }), event('four', 1, 'payment')])
      const base = { name: 'order', match: null, since: 0, until: null, exclude: NONE }
      const found = await session.findEvents([
        base,
        { ...base, match: '{"id":2}' },
        { ...base, match: '{"id":9}' },
        { ...base, name: 'payment' },
        { ...base, name: 'nobody' },
      ])
      assert.deepEqual(
        found.map((record) => record?.id ?? null),
        ['one', 'two', null, 'four', null],
      )
      assert.deepEqual(found[1], { id: 'two', name: 'order', data: '{"id":2}', acceptedAt: found[1]?.acceptedAt })
      assert.deepEqual(await session.findEvents([]), [])
    })

    it('gives each event to one query, the first that it fits (I6)', async () => {
      const session = await context.connect()
      await session.send(['one', 'two', 'three', 'four'].map((id, index) => event(id, { odd: index % 2 === 0 })))
      const base = { name: 'order', match: null, since: 0, until: null, exclude: NONE }
      const odd = { ...base, match: '{"odd":true}' }
      const found = await session.findEvents([
        odd,
        base,
        { ...base, exclude: new Set(['four']) },
        odd,
        { ...base, until: 0 },
        base,
        base,
      ])
      assert.deepEqual(
        found.map((record) => record?.id ?? null),
        ['one', 'two', 'three', null, null, 'four', null],
      )
    })

    it('includes both of its bounds', async () => {
      const session = await context.connect()
      await session.send([event('one')])
      await context.pass(10)
      await session.send([event('two')])
      const one = (await find(session))?.acceptedAt ?? Number.NaN
      const two = (await find(session, { exclude: new Set(['one']) }))?.acceptedAt ?? Number.NaN
      assert.ok(two >= one + 10)
      assert.equal((await find(session, { since: one }))?.id, 'one')
      assert.equal((await find(session, { since: one + 1 }))?.id, 'two')
      assert.equal((await find(session, { since: two }))?.id, 'two')
      assert.equal(await find(session, { since: two + 1 }), null)
      const afterOne = { exclude: new Set(['one']) }
      assert.equal((await find(session, { ...afterOne, until: two }))?.id, 'two')
      assert.equal(await find(session, { ...afterOne, until: two - 1 }), null)
      assert.equal((await find(session, { until: one }))?.id, 'one')
    })

    it('passes over excluded events', async () => {
      const session = await context.connect()
      await session.send(['one', 'two', 'three'].map((id) => event(id)))
      assert.equal((await find(session, { exclude: new Set(['one', 'two']) }))?.id, 'three')
      assert.equal(await find(session, { exclude: new Set(['one', 'two', 'three']) }), null)
    })

    it('matches a deep subset: more properties are fine, longer lists are not', async () => {
      const session = await context.connect()
      await session.send([event('one', { a: { b: [1, { c: null }], d: 'x' }, e: 1 })])
      const fits = ['{}', '{"a":{}}', '{"a":{"b":[1,{}]}}', '{"a":{"b":[1,{"c":null}],"d":"x"}}']
      const fitsNot = ['{"a":{"b":[1]}}', '{"a":{"b":[1,{"d":null}]}}', '{"e":"1"}', '{"f":null}', '{"a":null}']
      for (const match of fits) assert.equal((await find(session, { match }))?.id, 'one', match)
      for (const match of fitsNot) assert.equal(await find(session, { match }), null, match)
    })

    it('finds what a pattern fits, however deep, wide or large the event is, and signals whoever waits for it', async () => {
      const session = await context.connect()
      const list = Array.from({ length: 3_000 }, (_, index) => index)
      const deep = nested(2_000, '"x"')
      const events: Readonly<Record<string, readonly [data: string, match: string]>> = {
        list: [JSON.stringify({ of: 'list', list }), JSON.stringify({ list })],
        wide: [JSON.stringify({ of: 'wide', ...list }), '{"2999":2999}'],
        deep: [`{"of":"deep","in":${deep}}`, `{"in":${deep}}`],
        empty: ['{"of":"empty","none":[],"nothing":{}}', '{"none":[],"nothing":{}}'],
        flags: ['{"of":"flags","a":true,"b":null,"c":false}', '{"a":true,"b":null,"c":false}'],
        text: ['"only a text"', '"only a text"'],
        none: ['null', 'null'],
        number: ['7.5', '7.5'],
      }
      for (const [id, [data, match]] of Object.entries(events)) {
        const opens = [eventWait('w', 'order', null)].map((wait) => ({ ...wait, match }))
        await accept(session, first(id, { opens, next: PARKED }))
        assert.deepEqual((await session.send([{ id, name: 'order', data }])).signalled, [id])
        assert.deepEqual((await find(session, { match }))?.id, id)
        assert.equal(await find(session, { match, exclude: new Set([id]) }), null)
      }
    })

    it('finds the one among many that have most of it in common', async () => {
      const session = await context.connect()
      const all = Array.from({ length: 1_000 }, (_, n) => event(`${n}`, { type: 'approved', live: true, by: { n } }))
      await session.send(all)
      for (const n of [0, 500, 999]) {
        const match = JSON.stringify({ type: 'approved', live: true, by: { n } })
        assert.equal((await find(session, { match }))?.id, `${n}`)
      }
      assert.equal(await find(session, { match: '{"type":"approved","by":{"n":1000}}' }), null)
      const exclude = new Set(all.slice(0, 990).map(({ id }) => id))
      assert.equal((await find(session, { match: '{"type":"approved"}', exclude }))?.id, '990')
    })

    it('finds at once what another session has sent (I6)', async () => {
      const sender = await context.connect()
      const reader = await context.connect()
      for (let index = 0; index < 20; index++) {
        await sender.send([event(`evt ${index}`, { index })])
        assert.equal((await find(reader, { match: JSON.stringify({ index }) }))?.id, `evt ${index}`)
      }
    })

    it('brings data back as it was', async () => {
      const session = await context.connect()
      const data = { text: `it's "😀" \u0000 \u2028`, large: 'x'.repeat(1_000_000) }
      await session.send([event('one', data)])
      assert.deepEqual(JSON.parse((await find(session))?.data ?? ''), data)
      assert.equal((await find(session, { match: JSON.stringify({ text: data.text }) }))?.id, 'one')
    })
  })
}
