import fc from 'fast-check'
import { branches } from './program.ts'
import type { ProgramOptions } from './program.ts'
import type { Plan } from './world.ts'

interface PlanOptions extends ProgramOptions {
  readonly crashes?: number
  readonly hotMs?: fc.Arbitrary<number | null>
}

export function plans({ crashes = 0, hotMs = fc.constant(60_000), ...options }: PlanOptions): fc.Arbitrary<Plan> {
  return fc.record({
    seed: fc.nat(),
    kind: fc.constantFrom('query', 'query', 'mutation', 'serial'),
    first: branches(options),
    second: branches({ ...options, maxDepth: 2 }),
    pauses: fc.constant(options.pauses ?? false),
    hold: fc.constantFrom(0, 0, 30, 1000, 60_000),
    deferAfter: fc.constantFrom(0, 10, 25_000, 25_000, 25_000),
    hotMs,
    crashes: fc.array(
      fc.record({ commit: fc.integer({ min: 1, max: 12 }), phase: fc.constantFrom('before', 'after') }),
      { minLength: crashes === 0 ? 0 : 1, maxLength: crashes },
    ),
  })
}
