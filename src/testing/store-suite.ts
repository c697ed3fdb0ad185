import { claimSuite } from './store-suite/claim.ts'
import { commitSuite } from './store-suite/commit.ts'
import { endSuite } from './store-suite/end.ts'
import { eventsSuite } from './store-suite/events.ts'
import { handshakeSuite } from './store-suite/handshake.ts'
import { housekeepingSuite } from './store-suite/housekeeping.ts'
import { livenessSuite } from './store-suite/liveness.ts'
import { parkSuite } from './store-suite/park.ts'
import { readSuite } from './store-suite/read.ts'
import { type StoreSuiteOptions, suiteContext } from './store-suite/context.ts'
import { textsSuite } from './store-suite/texts.ts'
import { watchSuite } from './store-suite/watch.ts'

export type { StoreHarness, StoreSuiteOptions, SuiteRunner } from './store-suite/context.ts'

/**
 * What every store has to do, as tests: the describe blocks bear the names of the contract's methods. It takes the
 * test runner's functions, so that it runs under any.
 *
 * @example
 * import { afterEach, beforeEach, describe, it } from 'vitest'
 *
 * describe('my store', () => {
 *   storeSuite({
 *     test: { describe, it, beforeEach, afterEach },
 *     create: async () => ({ store: myStore(), crash: (session) => session.crash(), dispose: async () => {} }),
 *   })
 * })
 */
export function storeSuite(options: StoreSuiteOptions): void {
  const context = suiteContext(options)
  const parts = [commitSuite, parkSuite, claimSuite, endSuite, eventsSuite, handshakeSuite, livenessSuite]
  for (const part of [...parts, readSuite, housekeepingSuite, watchSuite, textsSuite]) part(options.test, context)
}
