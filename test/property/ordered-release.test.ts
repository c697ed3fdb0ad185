import fc from 'fast-check'
import { expect, test } from 'vitest'
import { branches } from './program.ts'
import type { ProgramOptions } from './program.ts'
import { judge } from './judge.ts'
import type { Plan } from './world.ts'

/**
 * How many programs, all properties together, and the seed that makes them. A failure prints the seed and the path that
 * lead to its smallest form.
 */
const PROGRAMS = Number(process.env['DURABLE_PROGRAMS'] ?? 2400)
const SEED = Number(process.env['DURABLE_SEED'] ?? 20260101)
const TIMEOUT_MS = 30_000 + PROGRAMS * 30

interface PlanOptions extends ProgramOptions {
  readonly crashes?: number
  readonly hotMs?: fc.Arbitrary<number | null>
}

function plans({ crashes = 0, hotMs = fc.constant(60_000), ...options }: PlanOptions): fc.Arbitrary<Plan> {
  return fc.record({
    seed: fc.nat(),
    kind: fc.constantFrom('query', 'query', 'mutation', 'serial'),
    first: branches(options),
    second: branches({ ...options, maxDepth: 2 }),
    hold: fc.constantFrom(0, 0, 30, 1000, 60_000),
    deferAfter: fc.constantFrom(0, 10, 25_000, 25_000, 25_000),
    hotMs,
    crashes: fc.array(
      fc.record({ commit: fc.integer({ min: 1, max: 12 }), phase: fc.constantFrom('before', 'after') }),
      { minLength: crashes === 0 ? 0 : 1, maxLength: crashes },
    ),
  })
}

async function check(share: number, arbitrary: fc.Arbitrary<Plan>): Promise<void> {
  const property = fc.asyncProperty(arbitrary, async (plan) => {
    expect(await judge(plan)).toEqual([])
  })
  const path = process.env['DURABLE_PATH']
  await fc.assert(property, { seed: SEED, numRuns: Math.ceil(PROGRAMS * share), ...(path && { path }) })
}

const evictions = fc.constantFrom(null, null, 20, 500, 60_000)

test('a program decides in a replay as it did live (I5), and settles only what is committed (I1)', { timeout: TIMEOUT_MS }, () =>
  check(0.25, plans({})))

test('crashes change no decision over what was committed (I5), and run no committed step again (I2)', { timeout: TIMEOUT_MS }, () =>
  check(0.3, plans({ crashes: 3 })))

test('a run that is evicted from memory goes on as if it had stayed (I5)', { timeout: TIMEOUT_MS }, () =>
  check(0.3, plans({ hotMs: evictions })))

test('crashes and evictions together', { timeout: TIMEOUT_MS }, () =>
  check(0.15, plans({ crashes: 3, hotMs: evictions })))
