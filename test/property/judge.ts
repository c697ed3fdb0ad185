import type { ExecutionResult } from 'graphql'
import { World } from './world.ts'
import type { Plan } from './world.ts'

/** What the plans that were judged have amounted to. */
export interface Tally {
  programs: number
  /** Runs that were stored, and so could be replayed. */
  replays: number
  outcomes: number
  crashes: number
  /** Passes that replayed a journal before the run had ended: after a crash, or an eviction. */
  resumes: number
}

/** Lives through the plan, replays the journal that it left, and answers everything that should not have happened. */
export async function judge(plan: Plan, tally?: Tally): Promise<readonly string[]> {
  const world = new World(plan)
  const { result, run, passes, crashes } = await world.live()
  if (tally) {
    tally.programs++
    tally.crashes += crashes
    tally.resumes += Math.max(0, passes.length - 1)
    tally.replays += run ? 1 : 0
    tally.outcomes += run?.run.len ?? 0
  }
  if (!run) return world.violations
  const last = passes.at(-1)
  const again = await world.replay(run)
  const [first, second] = [result, again.result].map(inOrderOfPaths)
  if (first !== second) world.violations.push(`I5: the last life gave ${first}, a replay ${second}`)
  if (last && !plan.pauses) world.violations.push(...last.divergences(again.pass))
  return world.violations
}

/** Fields side by side fail in an order that is nobody's business. */
function inOrderOfPaths({ data, errors = [] }: ExecutionResult): string {
  const sorted = errors.map((error) => JSON.stringify(error)).toSorted()
  return JSON.stringify({ data, errors: sorted })
}
