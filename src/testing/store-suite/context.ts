import assert from 'node:assert/strict'
import type { NewRun, NewWait, Outcome, RunCommit, RunView, Store, StoreSession } from '../../store/store.ts'
import { createTestClock, type TestClock } from '../test-clock.ts'

/** What the suite needs of a test runner: Vitest, `node:test` and Jest have it. */
export interface SuiteRunner {
  describe(name: string, body: () => void): unknown
  it(name: string, body: () => Promise<void>): unknown
  beforeEach(body: () => Promise<void>): unknown
  afterEach(body: () => Promise<void>): unknown
}

export interface StoreSuiteOptions {
  readonly test: SuiteRunner
  /**
   * How long a process of the suite counts as alive without a beat, at most, in milliseconds. Default 500. A store with
   * a clock of its own wants more than a busy machine may need for a few calls.
   */
  readonly leaseMs?: number
  /** Makes an empty store; called before each test. */
  create(options: { readonly clock: TestClock }): Promise<StoreHarness>
}

export interface StoreHarness {
  readonly store: Store
  /** Ends a session as SIGKILL ends a process: nothing is released, no more beats. */
  crash(session: StoreSession): void | Promise<void>
  /** Called after each test, when every session that was not crashed has been closed. */
  dispose(): Promise<void>
  /**
   * Lets time pass on the store's clock. Default: advances the test clock. A store that has a clock of its own waits;
   * the suite never asks for more than a few seconds.
   */
  pass?(ms: number): Promise<void>
}

const LEASE_MS = 500

export interface SuiteContext {
  readonly leaseMs: number
  connect(processId?: string): Promise<StoreSession>
  crash(session: StoreSession): Promise<void>
  pass(ms: number): Promise<void>
  /** For random choices: seeded, the same in every run of the suite. */
  readonly clock: TestClock
}

export function suiteContext({ test, create, leaseMs = LEASE_MS }: StoreSuiteOptions): SuiteContext {
  let clock = createTestClock()
  let harness: StoreHarness | undefined
  let sessions: StoreSession[] = []

  function current(): StoreHarness {
    assert.ok(harness, 'The store of this test is there')
    return harness
  }

  test.beforeEach(async () => {
    clock = createTestClock()
    sessions = []
    harness = await create({ clock })
  })
  test.afterEach(async () => {
    for (const session of sessions) await session.close()
    await current().dispose()
  })
  return {
    leaseMs,
    async connect(processId = `process-${sessions.length}`) {
      const session = await current().store.connect({ processId, leaseMs, clock, suspects: SUSPECTS })
      sessions.push(session)
      return session
    },
    async crash(session) {
      sessions = sessions.filter((other) => other !== session)
      await current().crash(session)
    },
    pass: (ms) => current().pass?.(ms) ?? clock.advance(ms),
    get clock() {
      return clock
    },
  }
}

/** Of every session of the suite. */
export const SUSPECTS = { from: 3, delayMs: 60 } as const

export function newRun(values: Partial<NewRun> = {}): NewRun {
  return {
    server: 'main',
    operationName: null,
    owner: null,
    version: null,
    beganAgoMs: 0,
    timeoutMs: null,
    input: '{"document":"mutation { a }"}',
    idempotency: null,
    ...values,
  }
}

export function outcome(pos: number, values: Partial<Outcome> = {}): Outcome {
  return {
    pos,
    key: `a/step ${pos}`,
    kind: 'RUN',
    ok: true,
    body: `"value ${pos}"`,
    calls: pos + 1,
    attempts: 1,
    eventId: null,
    eventName: null,
    tookMs: 0,
    ...values,
  }
}

export function wait(key: string, values: Partial<NewWait> = {}): NewWait {
  return { key, kind: 'SLEEP', seq: 0, event: null, match: null, forMs: null, attempts: 0, ...values }
}

export function eventWait(key: string, event: string, match: object | null = null): NewWait {
  return wait(key, { kind: 'EVENT', event, match: match && JSON.stringify(match) })
}

export function part(runId: string, seq: number, values: Partial<RunCommit> = {}): RunCommit {
  return { runId, epoch: 1, seq, create: null, outcomes: [], opens: [], next: { kind: 'hold' }, ...values }
}

/** The run's first commit, unless `values` say otherwise. */
export function first(runId: string, values: Partial<RunCommit> = {}): RunCommit {
  return part(runId, 1, { create: newRun(), ...values })
}

export const PARKED = { kind: 'park', wakeInMs: null } as const
export const DUE_NOW = { kind: 'park', wakeInMs: 0 } as const
export const COMPLETED = { kind: 'end', ending: { status: 'completed', result: '{"data":{"a":1}}' } } as const

/** Commits parts that the store must accept; answers when. */
export async function accept(session: StoreSession, ...parts: readonly RunCommit[]): Promise<number> {
  const receipt = await session.commit(parts)
  assert.deepEqual(
    [...receipt.accepted.keys()].toSorted(),
    parts.map(({ runId }) => runId).toSorted(),
    'all are accepted',
  )
  return receipt.at
}

/** Commits a part that the store must refuse, and must not have written any of. */
export async function refuse(session: StoreSession, refused: RunCommit): Promise<void> {
  const before = await withoutClock(session, refused.runId)
  const receipt = await session.commit([refused])
  assert.equal(receipt.accepted.has(refused.runId), false, 'it is refused')
  assert.deepEqual(await withoutClock(session, refused.runId), before, 'nothing is written')
}

async function withoutClock(session: StoreSession, runId: string): Promise<object | null> {
  const view = await session.read(runId, { journal: true, result: true, input: true })
  return view && { ...view, at: 0 }
}

export async function view(session: StoreSession, runId: string): Promise<RunView> {
  const found = await session.read(runId, { journal: true, result: true, input: true })
  assert.ok(found, `${runId} is there`)
  return found
}

/** Makes runs that are suspects, and due. */
export async function suspects(context: SuiteContext, ...ids: readonly string[]): Promise<void> {
  const observer = await context.connect('maker')
  await accept(observer, ...ids.map((id) => first(id, { next: DUE_NOW })))
  for (let deaths = 1; deaths <= SUSPECTS.from; deaths++) {
    const victim = await context.connect(`suspects ${deaths}`)
    for (const id of ids) await take(victim, id)
    await context.crash(victim)
    await context.pass(context.leaseMs + 1)
    await observer.beat()
    assert.equal(await observer.reap(), ids.length)
  }
  await context.pass(SUSPECTS.delayMs)
}

/** Claims the run, which must be due. Answers its epoch. */
export async function take(session: StoreSession, runId: string): Promise<number> {
  const { claimed } = await session.claim({ limit: 1, runId })
  assert.equal(claimed[0]?.run.id, runId, `${runId} is claimed`)
  return claimed[0].run.epoch
}
