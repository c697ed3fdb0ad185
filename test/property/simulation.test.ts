import { expect, test } from 'vitest'
import { Simulation } from './simulation.ts'
import type { Happenings } from './simulation.ts'

/** How many simulations, and the seed of the first: `DURABLE_SIMULATIONS=100 DURABLE_SEED=5 vitest run test/property`. */
const SIMULATIONS = Number(process.env['DURABLE_SIMULATIONS'] ?? 2)
const SEED = Number(process.env['DURABLE_SEED'] ?? 1)

const sum: Partial<Happenings> = {}

test.for(Array.from({ length: SIMULATIONS }, (_, index) => SEED + index))(
  'processes crash, stop and lose the store for hours: every run ends (I4), nothing committed runs again (I2), no event is missed (I6), no stale write is accepted (I3), and no catch learns of it (I12), seed %i',
  { timeout: 120_000 },
  async (seed) => {
    const simulation = new Simulation({ seed, runs: 200, processes: 3 })
    await simulation.run()
    for (const [what, count] of Object.entries(simulation.happenings) as [keyof Happenings, number][]) {
      sum[what] = (sum[what] ?? 0) + count
    }
    expect(simulation.violations).toEqual([])
  },
)

test('enough has happened in them to mean something', () => {
  console.log(sum)
  expect(sum.runs).toBeGreaterThan(150 * SIMULATIONS)
  const { failed: _, ...others } = sum
  for (const count of Object.values(others)) expect(count).toBeGreaterThan(0)
})
