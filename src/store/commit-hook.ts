import { ignoreRejection } from '../core/rejections.ts'
import { StoreError } from './store.ts'

/** A store's option for tests: what it throws makes the commit fail. Called before each commit and after it. */
export type CommitHook = (phase: 'before' | 'after', what: string) => void

/** One that is asynchronous is not awaited, and its rejection ends no process. */
export function callHook(onCommit: CommitHook | undefined, phase: 'before' | 'after', what: string): void {
  try {
    ignoreRejection(onCommit?.(phase, what) as unknown)
  } catch (cause) {
    throw new StoreError('transient', `onCommit threw ${phase} the commit of "${what}".`, { cause })
  }
}
