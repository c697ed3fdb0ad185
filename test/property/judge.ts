import type { ExecutionResult } from 'graphql'
import { World } from './world.ts'
import type { Plan } from './world.ts'

/** Lives through the plan, replays the journal that it left, and answers everything that should not have happened. */
export async function judge(plan: Plan): Promise<readonly string[]> {
  const world = new World(plan)
  const { result, run, passes } = await world.live()
  if (!run) return world.violations
  const last = passes.at(-1)
  const again = await world.replay(run)
  const [first, second] = [result, again.result].map(inOrderOfPaths)
  if (first !== second) world.violations.push(`I5: the last life gave ${first}, a replay ${second}`)
  world.violations.push(...(last?.divergences(again.pass) ?? []))
  return world.violations
}

/** Fields side by side fail in an order that is nobody's business. */
function inOrderOfPaths({ data, errors = [] }: ExecutionResult): string {
  const sorted = errors.map((error) => JSON.stringify(error)).toSorted()
  return JSON.stringify({ data, errors: sorted })
}
