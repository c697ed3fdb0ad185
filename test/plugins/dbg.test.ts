import { afterEach, it } from 'vitest'
import { closeApps, createApp, runIdOf } from './harness.ts'
afterEach(closeApps)
it('x', async () => {
    let passes = 0
    const app = await createApp('Envelop', {
      typeDefs: 'type Query { naps: Int }',
      resolvers: {
        Query: {
          naps: async (_: unknown, __: unknown, { step }: any) => {
            for (let nap = 0; nap < 15; nap++) {await step.sleep('nap', '1h'); console.log('slept', nap)}
            return 15
          },
        },
      },
      context: (initial: any) => {
        console.log('ctx', passes, initial.durable?.resuming)
        if (initial.durable?.resuming && passes++ % 2 === 0) throw new Error('Every other one')
        return {}
      },
      durable: { hot: { runs: 0 } },
    })
    const runId = runIdOf(await app.ask('{ naps }'))
    for (let i = 0; i < 9; i++) { await app.clock.advance('10m')
    const r = await app.durable.runs.get(runId)
    console.log(i, r?.status, r?.note, r?.retryAfterMs, JSON.stringify(r?.waitingOn), app.writes.slice(-5)) }
    console.log(app.warnings)
})
