import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Turns } from '../../src/engine/turns.ts'
import { oneField, overStores } from './world.ts'

/** Counts the turns of the event loop. */
let turn = 0
let isCounting = false
beforeEach(() => {
  isCounting = true
  const count = (): void => {
    turn++
    if (isCounting) setImmediate(count)
  }
  count()
})
afterEach(() => void (isCounting = false))

/** How often, at most, something happened in one turn. */
function most(turns: readonly number[]): number {
  const counts = new Map<number, number>()
  for (const each of turns) counts.set(each, (counts.get(each) ?? 0) + 1)
  return Math.max(...counts.values())
}

overStores('a turn of the event loop', (world) => {
  it('gets a part of a replay, however many steps that has', async () => {
    const turns: number[] = []
    const options = oneField(async (_source, _args, { step }) => {
      for (let n = 0; n < 3000; n++) {
        await step.run(`step ${n}`, () => n)
        turns.push(turn)
      }
      await step.sleep('nap', '30s')
      return 'done'
    })
    const server = world().serve(options)
    const { runId } = await server.ask('{ go }')
    await world().advance('1s')
    server.kill()
    turns.length = 0
    const other = world().serve(options)
    await other.durable.start()
    await other.finish(runId)
    expect(turns).toHaveLength(3000)
    expect(most(turns)).toBeLessThan(600)
  })

  it('gets a part of the events of a send, however many those are; all are there, in their order', async () => {
    const turns: number[] = []
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        const first = await step.waitForEvent('first', { event: 'many', match: { n: 0 } })
        const last = await step.waitForEvent('last', { event: 'many', match: { n: 999 } })
        return `${first?.id} ${last?.id}`
      }),
    )
    const { runId } = await server.ask('{ go }')
    let isSent = false
    const watch = (): void => {
      turns.push(turn)
      if (!isSent) setImmediate(watch)
    }
    watch()
    const events = Array.from({ length: 1000 }, (_, n) => ({ name: 'many', id: `e${n}`, data: { n } }))
    const sent = await world().until(server.durable.send(events))
    isSent = true
    expect(sent.ids).toHaveLength(1000)
    expect(new Set(turns).size).toBeGreaterThan(9)
    expect((await server.finish(runId)).result?.data).toEqual({ go: 'e0 e999' })
  })

  it('encodes one large value, and decodes one', async () => {
    const encoded: number[] = []
    const decoded: number[] = []
    const server = world().serve(
      oneField(
        async (_source, _args, { step }) => {
          const large = 'x'.repeat(3_000_000)
          const value = (): object => ({
            large,
            get read() {
              encoded.push(turn)
              return 1
            },
          })
          const steps = Array.from({ length: 6 }, async (_, n) => {
            await step.run(`step ${n}`, value)
            decoded.push(turn)
          })
          await Promise.all(steps)
          return 'done'
        },
        { hold: '10s' },
      ),
    )
    expect((await server.ask('{ go }')).data).toEqual({ go: 'done' })
    // The encoder may read it more than once, in the same turn.
    expect(new Set(encoded).size).toBeGreaterThanOrEqual(6)
    expect(new Set(decoded).size).toBe(6)
  })

  it('sees waits end by and by, however many end at once', async () => {
    const turns: number[] = []
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        const naps = Array.from({ length: 1500 }, async (_, n) => {
          await step.sleep(`nap ${n}`, '10s')
          turns.push(turn)
        })
        await Promise.all(naps)
        return 'done'
      }),
    )
    const { runId } = await server.ask('{ go }')
    expect((await server.finish(runId)).result?.data).toEqual({ go: 'done' })
    expect(turns).toHaveLength(1500)
    expect(most(turns)).toBeLessThan(600)
  })

  it('commits a part of what a run has gathered, in the order in which it came', async () => {
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        const work = Array.from({ length: 1200 }, (_, n) => step.run(`step ${n}`, () => n))
        const naps = Array.from({ length: 1200 }, (_, n) => step.sleep(`nap ${n}`, '10s'))
        await Promise.all([...work, ...naps])
        return 'done'
      }),
    )
    const { runId } = await server.ask('{ go }')
    const run = await server.finish(runId)
    expect(run.result?.data).toEqual({ go: 'done' })
    expect(run.steps).toHaveLength(2400)
    for (const { outcomes, opens } of server.commits) expect(outcomes.length + opens.length).toBeLessThanOrEqual(500)
    const positions = server.commits.flatMap(({ outcomes }) => outcomes.map(({ pos }) => pos))
    expect(positions).toEqual(Array.from({ length: 2400 }, (_, pos) => pos))
  })

  it('commits 4 MB of a run at most, unless one outcome has more', async () => {
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        await step.run('first', () => 1)
        await Promise.all(Array.from({ length: 7 }, (_, n) => step.run(`step ${n}`, () => 'x'.repeat(1_500_000))))
        return 'done'
      }),
    )
    expect((await server.ask('{ go }')).data).toEqual({ go: 'done' })
    for (const { outcomes } of server.commits) {
      expect(outcomes.reduce((length, { body }) => length + body.length, 0)).toBeLessThanOrEqual(4 * 1024 * 1024)
    }
  })
})

describe('Turns', () => {
  it('runs what there is room for at once, and the rest later, in the order in which it came', async () => {
    const turns = new Turns()
    const log: string[] = []
    turns.take(() => log.push('at once'))
    turns.spend(100_000_000)
    const before = turn
    turns.take(() => {
      log.push('second')
      turns.take(() => log.push('fourth'))
    })
    turns.take(() => log.push('third'))
    expect(log).toEqual(['at once'])
    await turns.room()
    expect(turn).toBeGreaterThan(before)
    expect(log).toEqual(['at once', 'second', 'third', 'fourth'])
  })
})
