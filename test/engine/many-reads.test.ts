import { expect, it } from 'vitest'
import { oneField, overStores, wrapped } from './world.ts'

overStores('a store that is busy with many reads', (world) => {
  it('is waited for as long as it answers them, one after the other', async () => {
    let turn: Promise<unknown> = Promise.resolve()
    const busy = wrapped(world().store, (session) => ({
      read(runId, parts) {
        if (!parts?.result) return session.read(runId, parts)
        // In real time, as the store's silence is told.
        turn = turn.then(() => new Promise((resolve) => setTimeout(resolve, 400)))
        return turn.then(() => session.read(runId, parts))
      },
    }))
    const server = world().serve(
      oneField((_source, _args, { step }) => step.run('x', () => 'done'), { store: busy, hold: 0 }),
    )
    await server.ask('{ go }')
    const [run] = (await world().until(server.durable.runs.list({}, { summary: true }))).runs
    const reads = Array.from({ length: 9 }, () => server.durable.runs.get(run?.id ?? ''))
    const found = await Promise.all(reads)
    expect(found.map((each) => each?.result)).toEqual(reads.map(() => ({ data: { go: 'done' } })))
  }, 15_000)
})
