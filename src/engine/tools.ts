import type { Step } from '../types.ts'
import { call } from './call.ts'
import type { ToolHost } from './call.ts'
import type { Scope } from './scope.ts'
import { readRun, startRun, startSend } from './step-run.ts'
import { durationOf, instantOf, readEvent, startSleep, startWaitForEvent } from './step-waits.ts'

/** The tools, bound to a field. */
export function createStep(host: ToolHost, scope: Scope): Step {
  const step: Step = {
    run: (id, fn, options) =>
      // The outcome is what `fn` returned, in this life or in an earlier one (I11).
      call(
        host,
        scope,
        id,
        'RUN',
        (c) => startRun(c, step, 'RUN', fn, options),
        (value, outcome) => readRun(id, value, outcome) as never,
      ),
    sleep: (id, duration) =>
      call(
        host,
        scope,
        id,
        'SLEEP',
        (c) => startSleep(c, durationOf(id, duration)),
        () => {},
      ),
    sleepUntil: (id, date) =>
      call(
        host,
        scope,
        id,
        'SLEEP',
        (c) => startSleep(c, instantOf(id, date) - c.execution.clock.now()),
        () => {},
      ),
    waitForEvent: (id, options) =>
      call(
        host,
        scope,
        id,
        'EVENT',
        (c) => startWaitForEvent(c, options),
        (value, outcome) => readEvent(value, outcome) as never,
      ),
    sendEvent: (id, event) =>
      call(
        host,
        scope,
        id,
        'SEND',
        (c) => startSend(c, step, event),
        (value, outcome) => readRun(id, value, outcome) as { ids: string[] },
      ),
  }
  return step
}
