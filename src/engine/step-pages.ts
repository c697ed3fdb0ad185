import type { RunView } from '../store/store.ts'
import type { RunSnapshot, StepPage, StepSnapshot } from '../types.ts'
import type { Engine } from './engine.ts'
import { journalPages } from './journal-pages.ts'
import { finishedSteps } from './snapshot.ts'

/** A snapshot that was made of the first page of a journal, with the rest of it. */
export async function withAllSteps(engine: Engine, view: RunView, run: RunSnapshot): Promise<RunSnapshot> {
  if (view.run.len <= (view.journal?.length ?? 0)) return run
  const steps: StepSnapshot[] = []
  for await (const page of stepPages(engine, view, run)) for (const step of page) steps.push(step)
  return { ...run, steps }
}

/** The same with a part of its steps. */
export async function withStepsOf(
  engine: Engine,
  view: RunView,
  run: RunSnapshot,
  { first = Infinity, after }: StepPage,
): Promise<RunSnapshot> {
  const steps: StepSnapshot[] = []
  let isAfter = after === undefined
  for await (const page of stepPages(engine, view, run)) {
    for (const step of page) {
      if (steps.length >= first) return { ...run, steps }
      if (isAfter) steps.push(step)
      else isAfter = step.id === after
    }
  }
  return { ...run, steps }
}

async function* stepPages(engine: Engine, view: RunView, run: RunSnapshot): AsyncGenerator<readonly StepSnapshot[]> {
  const host = engine.hosts.get(view.run.server)
  const read = view.journal ?? []
  const finished = finishedSteps(read, host).length
  yield run.steps.slice(0, finished)
  const later = new Set<string>()
  for await (const page of journalPages(engine.store, run.id, read.length, view.run.len)) {
    const steps = finishedSteps(page, host)
    for (const { id } of steps) later.add(id)
    yield steps
  }
  // What waits or runs.
  yield run.steps.slice(finished).filter(({ id }) => !later.has(id))
}
