import { expect, it } from 'vitest'
import type { Outcome } from '../../src/store/store.ts'
import { JOURNAL_PAGE } from '../../src/store/store.ts'
import { encode } from '../../src/core/codec.ts'
import { systemClock } from '../../src/core/system-clock.ts'
import { longestPiece } from '../support/longest-piece.ts'
import { oneField, overAllStores, overStores, wrapped } from './world.ts'
import { usePostgres } from '../support/standing-postgres.ts'
import type { World } from './world.ts'

usePostgres()

/** Writes a run that has made so many steps, as a process leaves it that died right after the last. */
async function writeRun({ store, now }: World, runId: string, steps: number, hasEnded = false): Promise<void> {
  const clock = { ...systemClock, now }
  const session = await store.connect({ processId: `writer of ${runId}`, leaseMs: 60_000, clock })
  const outcomes = Array.from({ length: steps }, (_, pos): Outcome => {
    const rest = { calls: pos + 1, attempts: 1, eventId: null, eventName: null, tookMs: 0 }
    return { pos, key: `go>step ${pos}`, kind: 'RUN', ok: true, body: encode({ pos }), ...rest }
  })
  const input = encode({
    document: `{ go(n: ${steps}) }`,
    operationName: null,
    variables: {},
    headers: {},
    captured: null,
  })
  const create = { server: 'default', operationName: null, owner: null, version: null, beganAgoMs: 0, timeoutMs: null }
  const ending = {
    status: 'completed',
    result: JSON.stringify({ result: { data: { go: steps } }, http: null }),
  } as const
  await session.commit([
    {
      runId,
      epoch: 1,
      seq: 1,
      create: { ...create, input, idempotency: null },
      outcomes,
      opens: [],
      next: hasEnded ? { kind: 'end', ending } : { kind: 'park', wakeInMs: 0 },
    },
  ])
  await session.close()
}

const counting = oneField(async (_source, { n }, { step }) => {
  let count = 0
  for (let at = 0; at < n; at++) {
    const { pos } = await step.run(`step ${at}`, () => ({ pos: -1 }))
    if (pos === at) count++
  }
  return count
})

const STEPS = 2 * JOURNAL_PAGE + 345

overAllStores('a long journal', (world) => {
  it('is read in pages by whoever carries the run on, and by whoever looks at it', async () => {
    const pages: number[] = []
    const store = wrapped(world().store, (session) => ({
      async claim(request) {
        const receipt = await session.claim(request)
        for (const { loaded } of receipt.claimed) pages.push(loaded?.journal.length ?? 0)
        return receipt
      },
      async read(runId, parts) {
        const view = await session.read(runId, parts)
        if (view?.journal) pages.push(view.journal.length)
        return view
      },
    }))
    await writeRun(world(), 'run_long', STEPS)
    const server = world().serve({ ...counting, durable: { store } })
    await world().until(server.durable.start())
    await world().until(server.durable.runs.wait('run_long', { summary: true }))
    // SQLite reads them in slices of its own.
    expect(pages).toEqual(world().store.name === 'sqlite' ? [STEPS] : [JOURNAL_PAGE, JOURNAL_PAGE, 345])
    pages.length = 0
    const run = await server.get('run_long')
    expect(run.result?.data).toEqual({ go: STEPS })
    expect(run.steps.map(({ id }) => id)).toEqual(Array.from({ length: STEPS }, (_, pos) => `go>step ${pos}`))
    expect(run.steps.at(-1)).toMatchObject({ status: 'COMPLETED', output: { pos: STEPS - 1 } })
    expect(pages).toEqual([JOURNAL_PAGE, JOURNAL_PAGE, 345])
  })

  it('is not read for a result, and only as far as is asked for a part of its steps', async () => {
    let outcomes = 0
    const store = wrapped(world().store, (session) => ({
      async read(runId, parts) {
        const view = await session.read(runId, parts)
        outcomes += view?.journal?.length ?? 0
        return view
      },
    }))
    await writeRun(world(), 'run_long', STEPS, true)
    const server = world().serve({ ...counting, durable: { store } })
    const answer = await server.ask('{ durableRun(id: "run_long") { status result } }')
    expect(answer.data.durableRun).toEqual({ status: 'COMPLETED', result: { data: { go: STEPS } } })
    expect(outcomes).toBe(0)
    const { runs } = server.durable
    const first = await world().until(runs.get('run_long', { steps: { first: 2 } }))
    expect(first?.steps.map(({ step }) => step)).toEqual(['step 0', 'step 1'])
    const next = await world().until(
      runs.get('run_long', { steps: { first: 2, after: `go>step ${JOURNAL_PAGE - 2}` } }),
    )
    expect(next?.steps.map(({ step }) => step)).toEqual([`step ${JOURNAL_PAGE - 1}`, `step ${JOURNAL_PAGE}`])
    expect((await world().until(runs.get('run_long', { steps: false })))?.steps).toEqual([])
    expect((await world().until(runs.wait('run_long', { steps: false })))?.steps).toEqual([])
    expect((await world().until(runs.wait('run_long', { steps: { first: 2 } })))?.steps).toEqual(first?.steps)
  })
})

overStores('the event loop', (world) => {
  it('is not held by a replay, nor by a look at what it has done', async () => {
    await writeRun(world(), 'run_warm', 3000)
    await writeRun(world(), 'run_long', 20_000)
    await writeRun(world(), 'run_done', 40_000, true)
    const server = world().serve({ ...counting, durable: { worker: false } })
    await world().until(server.durable.start())
    await server.finish('run_warm')
    const replay = await longestPiece(() => world().until(server.durable.runs.wait('run_long', { summary: true })))
    expect(replay.value?.status).toBe('COMPLETED')
    expect(replay.ms).toBeLessThan(80) // in one piece it is several hundred
    const look = await longestPiece(() => server.ask('{ durableRun(id: "run_done") { steps { id status } } }'))
    expect(look.value.data.durableRun.steps).toHaveLength(40_000)
    expect(look.ms).toBeLessThan(120) // the response itself is written in one piece
  }, 60_000)
})
