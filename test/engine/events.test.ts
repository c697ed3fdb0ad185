import { expect, it } from 'vitest'
import type { Step } from '../../src/index.ts'
import { deferred, oneField, overAllStores } from './world.ts'
import { usePostgres } from '../support/standing-postgres.ts'

usePostgres()

type Context = { step: Step }

overAllStores('step.waitForEvent', (world) => {
  it('gives the event whose data has what match says, at any depth', async () => {
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        const event = await step.waitForEvent('approval', {
          event: 'approved',
          match: { order: { id: 7 }, tags: ['a'] },
        })
        return event && { ...event, acceptedAt: event.acceptedAt instanceof Date }
      }),
    )
    const { runId, extensions } = await server.ask('{ go }')
    expect(extensions.durable.waitingOn).toEqual([
      { path: ['go'], responsePath: ['go'], step: 'approval', kind: 'EVENT', event: 'approved' },
    ])
    await world().until(
      server.durable.send([
        { name: 'approved', data: { order: { id: 8 }, tags: ['a'] } },
        { name: 'approved', data: { order: { id: 7 }, tags: ['a', 'b'] } },
        { name: 'rejected', data: { order: { id: 7 }, tags: ['a'] } },
        { name: 'approved' },
      ]),
    )
    await world().advance('1m')
    expect(await server.get(runId)).toMatchObject({ status: 'SUSPENDED' })
    const data = { order: { id: 7, total: 12 }, tags: ['a'], by: 'Ada' }
    await world().until(server.durable.send({ name: 'approved', data, id: 'the-event' }))
    expect((await server.finish(runId)).result?.data).toEqual({
      go: { id: 'the-event', name: 'approved', data, acceptedAt: true },
    })
  })

  it('gives a run the events of two names that have the same id, each to its wait, hot or cold', async () => {
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        const paid = await step.waitForEvent('paid', { event: 'order/paid' })
        await step.sleep('pause', '10m')
        const shipped = await step.waitForEvent('shipped', { event: 'order/shipped', timeout: '1d' })
        return [paid?.data, shipped?.data]
      }),
    )
    const { runId } = await server.ask('{ go }')
    await world().until(server.durable.send({ name: 'order/paid', id: '7', data: 'paid' }))
    await world().until(server.durable.send({ name: 'order/shipped', id: '7', data: 'shipped' }))
    expect((await server.finish(runId)).result?.data).toEqual({ go: ['paid', 'shipped'] })
  })

  it('gives a thousand waits of one name an event each, the oldest first', async () => {
    const numbers = Array.from({ length: 1_000 }, (_, number) => number)
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        const waits = numbers.map((number) => step.waitForEvent<number>(`part ${number}`, { event: 'part' }))
        return (await Promise.all(waits)).map((event) => event?.data)
      }),
    )
    const { runId } = await server.ask('{ go }')
    await world().until(server.durable.send(numbers.slice(0, 300).map((data) => ({ name: 'part', data }))))
    await world().advance('1m')
    await world().until(server.durable.send(numbers.slice(300).map((data) => ({ name: 'part', data }))))
    expect((await server.finish(runId)).result?.data).toEqual({ go: numbers })
  })

  it('gives null on its timeout, at once and after a deferral', async () => {
    const wait =
      (timeout: string) =>
      async (_s: unknown, _a: unknown, { step }: Context) => ({
        event: await step.waitForEvent('approval', { event: 'approved', timeout }),
      })
    const server = world().serve({
      typeDefs: 'scalar Any type Query { short: Any long: Any }',
      resolvers: { Query: { short: wait('500ms'), long: wait('5m') } },
    })
    expect(await server.ask('{ short }')).toMatchObject({ status: 200, data: { short: { event: null } } })
    const { runId } = await server.ask('{ long }')
    const before = world().now()
    expect((await server.finish(runId)).result?.data).toEqual({ long: { event: null } })
    expect(world().now() - before).toBeLessThan(300_000 + 5000)
  })

  it('does not miss an event that was accepted after the run began and before it waits (I6)', async () => {
    const gate = deferred()
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        await step.run('prepare', () => gate.promise)
        return (await step.waitForEvent<string>('approval', { event: 'approved' }))?.data
      }),
    )
    const asked = server.send('{ go }')
    await world().settle()
    // The first tool's fn is under way: the run has begun, and is in no store yet.
    await world().until(server.durable.send({ name: 'approved', data: 'early' }))
    await world().advance('30s')
    gate.resolve()
    const { runId } = await world().until(asked)
    expect((await server.finish(runId)).result).toEqual({ data: { go: 'early' } })
  })

  it('does not get an event that was accepted before the run began (I6)', async () => {
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        return (await step.waitForEvent<string>('approval', { event: 'approved', timeout: '10m' }))?.data ?? 'nothing'
      }),
    )
    await world().until(server.durable.send({ name: 'approved', data: 'too early' }))
    await world().advance(10)
    const { runId } = await server.ask('{ go }')
    expect((await server.finish(runId)).result).toEqual({ data: { go: 'nothing' } })
  })

  it('lets one event settle one wait of a run, the oldest open one that matches, and other runs get it too (I6)', async () => {
    const server = world().serve(
      oneField(async (_source, { n }, { step }) => {
        const wait = (id: string, match?: Record<string, unknown>) =>
          step.waitForEvent<{ n: number }>(id, { event: 'tick', timeout: '10m', ...(match && { match }) })
        const waits = [wait('narrow', { n: 3 }), wait('first'), wait('second')]
        const events = await Promise.all(waits)
        return { n, got: events.map((event) => event?.data.n ?? null) }
      }),
    )
    const one = await server.ask('{ go(n: 1) }')
    const two = await server.ask('{ go(n: 2) }')
    await world().until(server.durable.send({ name: 'tick', data: { n: 1 } }))
    await world().advance('1m')
    expect((await server.get(one.runId)).waitingOn.map(({ step }) => step)).toEqual(['narrow', 'second'])
    await world().until(server.durable.send({ name: 'tick', data: { n: 2 } }))
    const first = await server.finish(one.runId)
    const second = await server.finish(two.runId)
    expect(first.result?.data).toEqual({ go: { n: 1, got: [null, 1, 2] } })
    expect(second.result?.data).toEqual({ go: { n: 2, got: [null, 1, 2] } })
  })

  it('settles waits by their age, also when several events came at once and the run was cold', async () => {
    const options = oneField(async (_source, _args, { step }) => {
      const got: unknown[] = []
      for (let n = 0; n < 4; n++) got.push((await step.waitForEvent<number>('tick', { event: 'tick' }))?.data)
      return got
    })
    const first = world().serve(options)
    const { runId } = await first.ask('{ go }')
    first.kill()
    const second = world().serve(options)
    await world().until(second.durable.send([1, 2].map((n) => ({ name: 'tick', data: n }))))
    await world().until(second.durable.send([3, 4].map((n) => ({ name: 'tick', data: n }))))
    expect((await second.finish(runId)).result).toEqual({ data: { go: [1, 2, 3, 4] } })
  })

  it('prefers an event that was accepted before the timeout, although nobody was there to see it (I6)', async () => {
    const options = oneField(async (_source, _args, { step }) => {
      return (await step.waitForEvent<string>('approval', { event: 'approved', timeout: '10m' }))?.data ?? 'timed out'
    })
    const first = world().serve(options)
    const inTime = await first.ask('{ go }')
    await world().advance('2m')
    const later = await first.ask('{ go }')
    first.kill()
    const sender = world().serve({ ...options, durable: { worker: false } })
    await world().advance('5m')
    await world().until(sender.durable.send({ name: 'approved', data: 'in time' }))
    await world().advance('15m')
    const second = world().serve(options)
    expect((await second.finish(inTime.runId)).result).toEqual({ data: { go: 'in time' } })
    expect((await second.finish(later.runId)).result).toEqual({ data: { go: 'in time' } })
  })

  it('prefers the event also where the hint that it came was lost (I6)', async () => {
    const options = oneField(async (_source, _args, { step }) => {
      return (await step.waitForEvent<string>('approval', { event: 'approved', timeout: '500ms' }))?.data ?? 'timed out'
    })
    const server = world().serve({ ...options, deaf: true })
    const sender = world().serve({ ...options, durable: { worker: false } })
    await world().settle()
    const asked = server.send('{ go }')
    await world().advance('300ms')
    await world().until(sender.durable.send({ name: 'approved', data: 'in time' }))
    expect((await world().until(asked)).data).toEqual({ go: 'in time' })
  })

  it('does not take an event that was accepted after the timeout, although the timeout was not seen yet (I6)', async () => {
    const options = oneField(async (_source, _args, { step }) => {
      return (await step.waitForEvent<string>('approval', { event: 'approved', timeout: '10m' }))?.data ?? 'timed out'
    })
    const first = world().serve(options)
    const { runId } = await first.ask('{ go }')
    first.kill()
    const sender = world().serve({ ...options, durable: { worker: false } })
    await world().advance('15m')
    await world().until(sender.durable.send({ name: 'approved', data: 'late' }))
    const second = world().serve(options)
    expect((await second.finish(runId)).result).toEqual({ data: { go: 'timed out' } })
  })

  it('closes the loser of a race by its signal, so that it does not eat the next event', async () => {
    const race =
      (withSignal: boolean) =>
      async (_s: unknown, _a: unknown, { step }: Context) => {
        const got: unknown[] = []
        for (let round = 0; round < 3; round++) {
          const loser = new AbortController()
          const options = { event: 'message', ...(withSignal && { signal: loser.signal }) }
          const message = step.waitForEvent<number>('message', options).then(
            (event) => event?.data,
            (error: Error) => error.name,
          )
          got.push(await Promise.race([message, step.sleep('tick', '1m').then(() => 'tick')]))
          loser.abort()
        }
        return got
      }
    const server = world().serve({
      typeDefs: 'scalar Any type Query { closing: Any leaving: Any }',
      resolvers: { Query: { closing: race(true), leaving: race(false) } },
    })
    const closing = await server.ask('{ closing }')
    const leaving = await server.ask('{ leaving }')
    await world().advance('90s')
    await world().until(server.durable.send({ name: 'message', data: 1 }))
    expect((await server.finish(closing.runId)).result?.data).toEqual({ closing: ['tick', 1, 'tick'] })
    // Without it the wait of the first round is the oldest open one.
    expect((await server.finish(leaving.runId)).result?.data).toEqual({ leaving: ['tick', 'tick', 'tick'] })
  })

  it('that was closed rejects with an AbortError, and does so again in a replay', async () => {
    const options = oneField(async (_source, _args, { step }) => {
      const closing = new AbortController()
      const wait = step.waitForEvent('message', { event: 'message', signal: closing.signal })
      closing.abort()
      const name = await wait.then(
        () => 'an event',
        (error: Error) => `${error.name} ${error instanceof DOMException}`,
      )
      world().log.push(name)
      await step.sleep('long', '1m')
      return name
    })
    const first = world().serve(options)
    const { runId } = await first.ask('{ go }')
    first.kill()
    expect((await world().serve(options).finish(runId)).result).toEqual({ data: { go: 'AbortError true' } })
    expect(new Set(world().log)).toEqual(new Set(['AbortError true']))
    expect(world().log).toHaveLength(2)
  })
})

overAllStores('step.sendEvent', (world) => {
  it('sends once, whatever crashes: the ids are the same when it is sent again', async () => {
    const options = {
      typeDefs: 'scalar Any type Query { send: Any wait: Any }',
      resolvers: {
        Query: {
          send: async (_s: unknown, _a: unknown, { step }: Context) => {
            await step.run('first', () => 1)
            const { ids } = await step.sendEvent('tell', [
              { name: 'told', data: 1 },
              { name: 'told', data: 2, id: 'mine' },
            ])
            await step.sleep('pause', '1m')
            return ids
          },
          wait: async (_s: unknown, _a: unknown, { step }: Context) => {
            const got: unknown[] = []
            for (let n = 0; n < 3; n++)
              got.push((await step.waitForEvent('told', { event: 'told', timeout: '15m' }))?.data)
            return got
          },
        },
      },
    }
    const first = world().serve(options)
    const waiting = await first.ask('{ wait }')
    // The events are accepted, the outcome of the step is not committed: the step is sent again.
    let sent = 0
    world().onCommit((phase, what) => {
      if (what === 'send' && phase === 'after') sent++
      if (what === 'commit' && sent > 0 && phase === 'before') throw new Error('no more')
    })
    const asked = first.send('{ send }')
    asked.catch(() => {})
    await world().settle()
    await world().settle()
    expect(sent).toBeGreaterThan(0)
    first.kill()
    world().onCommit((phase, what) => {
      if (what === 'send' && phase === 'before') sent++
    })
    const second = world().serve(options)
    await world().advance('1m')
    expect(sent).toBeGreaterThan(1)
    expect((await second.finish(waiting.runId)).result?.data).toEqual({ wait: [1, 2, null] })
  })

  it('answers with the ids of the events, and reaches other runs and this one', async () => {
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        const { ids } = await step.sendEvent('tell', { name: 'told', data: 'x', id: 'mine' })
        const event = await step.waitForEvent('hear', { event: 'told' })
        return { ids, heard: event?.id }
      }),
    )
    expect((await server.ask('{ go }')).data).toEqual({ go: { ids: ['mine'], heard: 'mine' } })
  })
})
