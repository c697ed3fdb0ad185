export { storeSuite } from './testing/store-suite.ts'
export type { StoreHarness, StoreSuiteOptions, SuiteRunner } from './testing/store-suite.ts'
export { createTestClock } from './testing/test-clock.ts'
export type { TestClock, TestClockOptions } from './testing/test-clock.ts'
