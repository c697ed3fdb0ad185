import type { Step } from '../types.ts'
import { call } from './call.ts'
import type { ToolHost } from './call.ts'
import type { Scope } from './scope.ts'
import { prepareRun, prepareSend, readRun } from './step-run.ts'
import { prepareSleep, prepareSleepUntil, prepareWaitForEvent, readEvent } from './step-waits.ts'

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
        () => prepareRun(step, fn, options),
        (value, outcome) => readRun(id, value, outcome) as never,
      ),
    sleep: (id, duration) =>
      call(
        host,
        scope,
        id,
        'SLEEP',
        () => prepareSleep(duration),
        () => {},
      ),
    sleepUntil: (id, date) =>
      call(
        host,
        scope,
        id,
        'SLEEP',
        () => prepareSleepUntil(date),
        () => {},
      ),
    waitForEvent: (id, options) =>
      call(
        host,
        scope,
        id,
        'EVENT',
        () => prepareWaitForEvent(id, options),
        (value, outcome) => readEvent(value, outcome) as never,
      ),
    sendEvent: (id, event) =>
      call(
        host,
        scope,
        id,
        'SEND',
        () => prepareSend(host.engine, step, event),
        (value, outcome) => readRun(id, value, outcome) as { ids: string[] },
      ),
  }
  return step
}
