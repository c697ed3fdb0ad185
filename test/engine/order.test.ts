import { expect, it } from 'vitest'
import type { Step } from '../../src/index.ts'
import { deferred, oneField, overStores } from './world.ts'

type Context = { step: Step }

overStores('the order of outcomes (I5)', (world) => {
  it.each(['race', 'any'] as const)(
    'Promise.%s comes out as it did the first time, whoever is faster later',
    async (combine) => {
      const gates: Record<string, ReturnType<typeof deferred<void>>> = {}
      const options = oneField(async (_source, _args, { step }) => {
        const work = (id: string) =>
          step.run(id, async () => {
            await (gates[id] ??= deferred()).promise
            return id
          })
        const winner = await Promise[combine]([work('slow'), work('fast')])
        world().log.push(`winner ${winner}`)
        await step.sleep('nap', '30s')
        return winner
      })
      const first = world().serve(options)
      const asked = first.send('{ go }')
      await world().settle()
      gates['fast']?.resolve()
      await world().advance('1s')
      gates['slow']?.resolve()
      const { runId } = await world().until(asked)
      await world().advance('1s')
      first.kill()
      const run = await world().serve(options).finish(runId)
      expect(run.result).toEqual({ data: { go: 'fast' } })
      expect(world().log).toEqual(['winner fast', 'winner fast'])
    },
  )

  it('reactions run in the order of the commits, in siblings as well', async () => {
    const gates = new Map<string, ReturnType<typeof deferred<void>>>()
    const order: string[] = []
    const lives: string[][] = []
    const work =
      (name: string) =>
      async (_s: unknown, _a: unknown, { step }: Context) => {
        if (name === 'a') lives.push([])
        const life = lives.at(-1) ?? []
        for (const id of ['one', 'two']) {
          await step.run(id, async () => {
            const gate = deferred()
            gates.set(`${name} ${id}`, gate)
            await gate.promise
          })
          life.push(`${name} ${id}`)
        }
        await step.sleep('nap', '30s')
        return name
      }
    const options = {
      typeDefs: 'type Query { a: String b: String c: String }',
      resolvers: { Query: { a: work('a'), b: work('b'), c: work('c') } },
    }
    const first = world().serve(options)
    const asked = first.send('{ a b c }')
    await world().settle()
    for (const next of ['c one', 'a one', 'c two', 'b one', 'b two', 'a two']) {
      gates.get(next)?.resolve()
      order.push(next)
      await world().advance(10)
    }
    const { runId } = await world().until(asked)
    first.kill()
    await world().serve(options).finish(runId)
    expect(lives).toEqual([order, order])
  })

  it('a step that ended beside a wait does not overtake it', async () => {
    const options = oneField(async (_source, _args, { step }) => {
      const reactions: string[] = []
      const note = (what: string) => () => void reactions.push(what)
      await Promise.all([
        step.sleep('short', '20ms').then(note('short')),
        step.sleep('long', '10s').then(note('long')),
        step.waitForEvent('event', { event: 'x', timeout: '5s' }).then(note('event')),
        step.run('work', () => 1).then(note('work')),
      ])
      await step.sleep('nap', '30s')
      return reactions
    })
    const first = world().serve(options)
    const { runId } = await first.ask('{ go }')
    await world().advance('20s')
    first.kill()
    const run = await world().serve(options).finish(runId)
    expect(run.result).toEqual({ data: { go: ['work', 'short', 'event', 'long'] } })
  })

  it('an error that was caught is caught again, in its place', async () => {
    const options = oneField(async (_source, _args, { step }) => {
      const failed = await step
        .run('fail', () => Promise.reject(new TypeError('no')), { retries: 0 })
        .catch((error: { code: string; attempts: number; cause: Error }) => error)
      world().log.push('caught')
      await step.sleep('nap', '30s')
      const settled = await Promise.allSettled([
        step.run('a', () => 1),
        step.run('b', () => Promise.reject(new Error('b')), { retries: 0 }),
      ])
      return [(failed as { code: string }).code, settled.map(({ status }) => status)]
    })
    const first = world().serve(options)
    const { runId } = await first.ask('{ go }')
    first.kill()
    const run = await world().serve(options).finish(runId)
    expect(run.result?.data).toEqual({ go: ['DURABLE_STEP_FAILED', ['fulfilled', 'rejected']] })
    expect(world().log).toEqual(['caught', 'caught'])
  })
})

overStores('a step that the code does not ask for any more', (world) => {
  const code = (log: string[], removed: boolean) =>
    oneField(async (_source, _args, { step }) => {
      if (!removed) await step.run('removed', () => log.push('removed'))
      const kept = await step.run('kept', () => log.push('kept'))
      await step.sleep('nap', '5s')
      return kept
    })

  it('is passed over after 10 seconds, with a note for operators; nothing runs twice', async () => {
    const first = world().serve(code(world().log, false))
    const { runId } = await first.ask('{ go }')
    first.kill()
    const second = world().serve(code(world().log, true))
    const run = await second.finish(runId)
    expect(run).toMatchObject({ status: 'COMPLETED', result: { data: { go: 2 } } })
    expect(run.note).toContain('"go>removed"')
    expect(second.warnings.join()).toContain('passed over')
    expect(world().log).toEqual(['removed', 'kept'])
  })

  it('is not passed over while the code is merely slow to ask', async () => {
    const slowDone = deferred()
    const options = oneField(async (_source, _args, { step }) => {
      const order: string[] = []
      await step.run('first', () => 1)
      await Promise.all([
        // What is no tool takes 9 seconds, in each life; the outcomes behind it wait.
        new Promise<void>((resolve) => current.clock.setTimeout(resolve, 9000))
          .then(() => step.run('slow', () => 1))
          .then(() => order.push('slow'))
          .then(() => slowDone.resolve()),
        step.run('quick', () => slowDone.promise).then(() => order.push('quick')),
      ])
      await step.sleep('nap', '40s')
      return order
    })
    let current = world().serve(options)
    const { runId } = await current.ask('{ go }')
    const first = current
    await world().advance('15s')
    first.kill()
    current = world().serve(options)
    const run = await current.finish(runId)
    expect(run).toMatchObject({ result: { data: { go: ['slow', 'quick'] } }, note: null })
  })
})
