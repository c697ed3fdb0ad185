import fc from 'fast-check'
import { expect, test } from 'vitest'
import { judge } from './judge.ts'
import type { Tally } from './judge.ts'
import { plans } from './plans.ts'
import type { Plan } from './world.ts'

/**
 * How many programs, all properties together, and the seed that makes them. A failure prints the seed and the path that
 * lead to its smallest form: `DURABLE_SEED=… DURABLE_PATH=… vitest run test/property -t '…'`.
 */
const PROGRAMS = Number(process.env['DURABLE_PROGRAMS'] ?? 2000)
const SEED = Number(process.env['DURABLE_SEED'] ?? 20260101)
const PATH = process.env['DURABLE_PATH']
const timeout = 40_000 + PROGRAMS * 30

const tally: Tally = { programs: 0, replays: 0, outcomes: 0, crashes: 0, resumes: 0 }

async function check(share: number, arbitrary: fc.Arbitrary<Plan>): Promise<void> {
  const property = fc.asyncProperty(arbitrary, async (plan) => {
    expect(await judge(plan, tally)).toEqual([])
  })
  await fc.assert(property, {
    seed: SEED,
    numRuns: Math.ceil(PROGRAMS * share),
    // What spins is slow to shrink: it is reported as small as it has become by then.
    interruptAfterTimeLimit: timeout * 0.8,
    markInterruptAsFailure: true,
    ...(PATH && { path: PATH }),
  })
}

const evictions = fc.constantFrom(null, null, 20, 500, 60_000)

test('a program decides in a replay as it did live (I5), and settles only what is committed (I1)', { timeout }, () =>
  check(0.25, plans({})),
)

test('crashes change no decision over what was committed (I5), and run no committed step again (I2)', { timeout }, () =>
  check(0.25, plans({ crashes: 3 })),
)

test('a run that is evicted from memory goes on as if it had stayed (I5)', { timeout }, () =>
  check(0.2, plans({ hotMs: evictions })),
)

test('a run that crashes and is evicted in turn goes on as if it had stayed (I5)', { timeout }, () =>
  check(0.2, plans({ crashes: 3, hotMs: evictions })),
)

test('programs that also await what is no tool give in a replay what they gave live (I5)', { timeout }, () =>
  check(0.1, plans({ pauses: true, crashes: 2, hotMs: evictions })),
)

test('steps that a deploy adds are released where they are reached, and stall nothing (I5)', { timeout }, () =>
  check(0.2, plans({ edits: ['add'], crashes: 3, hotMs: evictions })),
)

test('after a deploy that adds and removes steps, replays decide as its first life did (I5)', { timeout }, () =>
  check(0.1, plans({ edits: ['add', 'remove'], crashes: 3, hotMs: evictions })),
)

test('the programs above crashed, were resumed and were replayed often enough to mean something', () => {
  console.log(tally)
  expect(tally.programs).toBeGreaterThanOrEqual(PROGRAMS)
  expect(tally.replays).toBeGreaterThan(PROGRAMS * 0.9)
  expect(tally.outcomes).toBeGreaterThan(PROGRAMS * 5)
  expect(tally.crashes).toBeGreaterThan(PROGRAMS * 0.3)
  expect(tally.resumes).toBeGreaterThan(PROGRAMS * 0.5)
})
