import type { ExecutionResult } from 'graphql'
import type { Clock, Timer } from '../core/clock.ts'
import { ignoreRejection } from '../core/rejections.ts'
import type { ContextOptions, ResumedRun } from '../types.ts'
import { unexpected, UserFunctionError } from './user-functions.ts'
import type { Warn } from './user-functions.ts'

type Enter = NonNullable<ContextOptions<unknown, unknown>['enter']>

export interface Entering {
  readonly enter: Enter
  readonly captured: unknown
  readonly run: ResumedRun
  readonly clock: Clock
  readonly warn: Warn
}

/** How long `context.enter` gets before it calls `next`, and after what that gave has settled. */
const ENTER_MS = 10_000

/** Those whose mistakes have been told. */
const told = new WeakSet<Enter>()

/**
 * A pass within `context.enter`. Whatever that does, the pass is made once at most and its answer counts, and nobody
 * waits for ever: an `enter` that does not call `next` is a refusal, to be tried again like any other.
 *
 * @throws UserFunctionError where `next` was not called; whatever `enter` or the pass threw.
 */
export async function enterWith(entering: Entering, pass: () => Promise<ExecutionResult>): Promise<ExecutionResult> {
  const { enter, captured, run, clock, warn } = entering
  let passing: Promise<ExecutionResult> | null = null
  let gaveUp = false
  const tell = (what: string): void => {
    if (!told.has(enter)) warn(`context.enter ${what}.`, { runId: run.id })
    told.add(enter)
  }
  const next = (): Promise<ExecutionResult> => {
    if (gaveUp) return Promise.reject(new Error('context.enter called next too late: the pass has been given up.'))
    if (passing) tell('called next twice: the second call gave what the first had given')
    passing ??= pass()
    passing.catch(() => {})
    return passing
  }

  let entered: unknown
  try {
    entered = enter(captured, run, next)
    // One that is asynchronous may take its time before and after, but not for ever.
    if (ignoreRejection(entered)) entered = await inTime(clock, entered as PromiseLike<unknown>, () => passing)
  } catch (error) {
    await (passing as Promise<unknown> | null)?.catch(() => {}) // two passes at once must not be
    throw error
  } finally {
    gaveUp = true
  }
  // Assigned in `next`, which is called from outside.
  const made = passing as Promise<ExecutionResult> | null
  if (!made) {
    const reason = entered === LATE ? `has not called next within ${ENTER_MS / 1000} seconds` : 'did not call next'
    throw new UserFunctionError(`context.enter ${reason}: the run cannot go on without it.`, unexpected())
  }
  const result = await made
  if (entered === LATE) tell(`has not ended ${ENTER_MS / 1000} seconds after the pass; it is not waited for`)
  else if (entered !== result && entered !== made) tell('did not return what next returned; it was taken all the same')
  return result
}

const LATE = Symbol('late')

/** What the promise gives, or LATE. The time that the pass itself takes does not count. */
function inTime(clock: Clock, entered: PromiseLike<unknown>, passing: () => Promise<unknown> | null): Promise<unknown> {
  return new Promise((resolve, reject) => {
    let timer: Timer
    let isOver = false
    const giveUp = (): void => resolve(LATE)
    const whenLate = (): void => {
      const pass = passing()
      if (!pass) return giveUp()
      const settled = (): void => {
        if (!isOver) timer = clock.setTimeout(giveUp, ENTER_MS)
      }
      pass.then(settled, settled)
    }
    const end = (): void => {
      isOver = true
      timer.cancel()
    }
    timer = clock.setTimeout(whenLate, ENTER_MS)
    entered.then(
      (value) => {
        end()
        resolve(value)
      },
      (error: unknown) => {
        end()
        reject(error)
      },
    )
  })
}
