import fc from 'fast-check'
import { branches, edited } from './program.ts'
import type { Edit, ProgramOptions } from './program.ts'
import type { Plan } from './world.ts'

interface PlanOptions extends ProgramOptions {
  readonly crashes?: number
  readonly hotMs?: fc.Arbitrary<number | null>
  /** What the first crash's deploy does. */
  readonly edits?: readonly Edit['kind'][]
}

export function plans({ edits = [], ...others }: PlanOptions): fc.Arbitrary<Plan> {
  const plan = wholePlans({ ...others, ...(edits.length > 0 && { uniqueIds: true }) })
  if (edits.length === 0) return plan
  const edit = fc.record({ at: fc.nat(), kind: fc.constantFrom(...edits), ms: fc.constantFrom(0, 1, 40, 900, 2500) })
  return fc.tuple(plan, fc.array(edit, { minLength: 1, maxLength: 4 })).map(([before, changes]) => ({
    ...before,
    mayPassOver: edits.includes('remove'),
    deploy: { first: edited(before.first, changes), second: edited(before.second, changes) },
  }))
}

function wholePlans({
  crashes = 0,
  hotMs = fc.constant(60_000),
  ...options
}: Omit<PlanOptions, 'edits'>): fc.Arbitrary<Plan> {
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
