import assert from 'node:assert/strict'
import type { EventRecord } from '../../store/store.ts'
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
  view,
} from './context.ts'

/** Texts that a database may end early, refuse, or take for each other. The last two look like what escapes them. */
const ODD = ['a', 'a\0', 'a\0b', '\0', '\ud800', '\udfff', '\ud800\ud800', 'a\udc00b', '\u001a', '\u001a0000']

/** Names that a test can tell apart in its messages. */
function shown(text: string): string {
  return JSON.stringify(text)
}

export function textsSuite({ describe, it }: SuiteRunner, context: SuiteContext): void {
  describe('texts with NUL and with halves of surrogate pairs', () => {
    it('come back as they were, wherever they stand', async () => {
      const session = await context.connect('process \0 \ud800')
      for (const [index, text] of ODD.entries()) {
        const id = `run ${index} ${text}`
        const create = newRun({
          server: `server ${text}`,
          operationName: text,
          owner: text,
          version: text,
          input: text,
          idempotency: { key: `key ${text}`, fingerprint: text },
        })
        const outcomes = [outcome(0, { key: `step ${text}`, body: text, eventId: text, eventName: text })]
        const opens = [eventWait(`wait ${text}`, text, { [text]: text })]
        await accept(session, first(id, { create, outcomes, opens, note: text }))
        const found = await view(session, id)
        const { server, operationName, owner, version, note, holder } = found.run
        assert.deepEqual(
          { id: found.run.id, server, operationName, owner, version, note, holder },
          {
            id,
            server: create.server,
            operationName: text,
            owner: text,
            version: text,
            note: text,
            holder: 'process \0 \ud800',
          },
          shown(text),
        )
        assert.equal(found.input, text)
        const [kept] = found.journal ?? []
        assert.deepEqual(
          [kept?.key, kept?.body, kept?.eventId, kept?.eventName],
          [`step ${text}`, text, text, text],
          shown(text),
        )
        const [open] = found.waits
        assert.deepEqual([open?.key, open?.event, open?.match], [opens[0]?.key, text, opens[0]?.match], shown(text))
        await accept(session, part(id, 2, { next: { kind: 'end', ending: { status: 'failed', result: text } } }))
        assert.equal((await view(session, id)).result, text)
      }
    })

    it('are ids of their own: runs, keys of steps and of requests, owners', async () => {
      const session = await context.connect()
      const ofOne = ODD.map((text, pos) => outcome(pos, { key: text }))
      await accept(session, first('one', { outcomes: ofOne }))
      assert.deepEqual(
        (await view(session, 'one')).journal?.map(({ key }) => key),
        ODD,
      )
      for (const text of ODD) {
        const idempotency = { key: text, fingerprint: 'f' }
        await accept(
          session,
          first(`of ${text}`, { create: newRun({ owner: text, operationName: text, idempotency }) }),
        )
      }
      for (const text of ODD) {
        for (const query of [{ owner: text }, { operationName: text }]) {
          const listed = await session.list({ first: 20, ...query })
          assert.deepEqual(
            listed.map(({ id }) => id),
            [`of ${text}`],
            shown(text),
          )
        }
        const again = await session.commit([
          first('again', { create: newRun({ idempotency: { key: text, fingerprint: 'f' } }) }),
        ])
        assert.equal(again.conflicts.get('again')?.runId, `of ${text}`, shown(text))
      }
    })

    it('are names of servers of their own', async () => {
      const session = await context.connect()
      await accept(
        session,
        ...ODD.map((text) => first(`of ${text}`, { create: newRun({ server: text }), next: DUE_NOW })),
      )
      for (const text of ODD) {
        const { claimed } = await session.claim({ limit: 20, servers: [text] })
        assert.deepEqual(
          claimed.map(({ run }) => run.id),
          [`of ${text}`],
          shown(text),
        )
      }
    })

    it('are events of their own, by id, by name and by what they say', async () => {
      const session = await context.connect()
      await accept(
        session,
        ...ODD.map((text) => first(`for ${text}`, { opens: [eventWait('w', 'order', { of: text })], next: PARKED })),
        ...ODD.map((text) => first(`named ${text}`, { opens: [eventWait('w', `name ${text}`)], next: PARKED })),
      )
      for (const text of ODD) {
        const data = JSON.stringify({ of: text })
        const sent = await session.send([
          { id: text, name: 'order', data },
          { id: text, name: `name ${text}`, data },
        ])
        assert.deepEqual(sent.signalled.toSorted(), [`for ${text}`, `named ${text}`].toSorted(), shown(text))
      }
      const base = { since: 0, until: null, exclude: new Set<string>() }
      const found = await session.findEvents([
        ...ODD.map((text) => ({ ...base, name: 'order', match: JSON.stringify({ of: text }) })),
        ...ODD.map((text) => ({ ...base, name: `name ${text}`, match: null })),
      ])
      assert.deepEqual(
        found.map((event: EventRecord | null) => [event?.id, event?.data]),
        [...ODD, ...ODD].map((text) => [text, JSON.stringify({ of: text })]),
      )
      for (const text of ODD) {
        const exclude = new Set(ODD.filter((other) => other !== text))
        const [left] = await session.findEvents([{ ...base, name: 'order', match: null, exclude }])
        assert.equal(left?.id, text, shown(text))
      }
    })

    it('name processes: what they hold is known to be theirs', async () => {
      const [one, other] = [await context.connect('p\0a'), await context.connect('p\0b')]
      await accept(one, first('run \0'))
      assert.deepEqual((await other.beat()).held, [])
      assert.deepEqual(
        (await one.beat()).held.map(({ runId }) => runId),
        ['run \0'],
      )
      await one.close()
      const { claimed } = await other.claim({ limit: 1 })
      assert.deepEqual(
        claimed.map(({ run }) => [run.id, run.holder]),
        [['run \0', 'p\0b']],
      )
      await accept(other, part('run \0', 1, { epoch: 2, next: COMPLETED }))
      assert.equal(await other.delete('run '), false)
      assert.equal(await other.delete('run \0'), true)
    })
  })
}
