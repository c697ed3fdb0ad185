import { decode } from '../core/codec.ts'
import { messageOf } from '../core/errors.ts'
import { JOURNAL_PAGE } from '../store/store.ts'
import type { Claimed, LoadedRun } from '../store/store.ts'
import type { Engine } from './engine.ts'
import { Execution } from './execution.ts'
import { giveBack } from './give-back.ts'
import { journalPages } from './journal-pages.ts'
import { Operation } from './operation.ts'
import { outsideOfRequests } from './scheduler.ts'
import type { RunInput } from './run-input.ts'
import { restoreFinished } from './serial.ts'
import { MAX_BLAME } from './takeovers.ts'

/** Carries on a run that this process does not have in memory, from what the store kept of it. */
export async function resumeCold(engine: Engine, claimed: Claimed, sentAt: number): Promise<void> {
  const loaded = await load(engine, claimed)
  if (engine.closing) return giveBackClaimed(engine, claimed)
  try {
    if (loaded) begin(engine, claimed, loaded, sentAt)
  } catch (error) {
    await putOff(engine, claimed, messageOf(error))
  }
}

/**
 * What a claim has brought that was under way when closing began: given back now, and not with the session, which may be
 * open for as long as a step of another run takes.
 */
export async function giveBackClaimed({ store }: Engine, { run }: Claimed): Promise<void> {
  const part = giveBack({ runId: run.id, epoch: run.epoch, seq: 1 }, 0, {})
  await store.call((session) => session.commit([part]))
}

/** What the claim has brought, and the rest of its journal. Null where the run was deleted meanwhile. */
async function load(engine: Engine, { run, loaded }: Claimed): Promise<LoadedRun | null> {
  const begun = loaded ?? (await loadEvicted(engine, run.id))
  if (!begun || begun.journal.length >= run.len) return begun
  const journal = [...begun.journal]
  for await (const page of journalPages(engine.store, run.id, journal.length, run.len)) journal.push(...page)
  // A step whose outcome were missing would run again (I2).
  return journal.length < run.len ? null : { ...begun, journal }
}

/** It was said to be hot, and has been evicted since. */
async function loadEvicted({ store }: Engine, runId: string): Promise<LoadedRun | null> {
  const journal = { from: 0, limit: JOURNAL_PAGE }
  const view = await store.read((session) => session.read(runId, { journal, input: true }))
  if (!view?.journal || view.input === null) return null
  return { input: view.input, journal: view.journal, waits: view.waits }
}

function begin(engine: Engine, { run }: Claimed, loaded: LoadedRun, sentAt: number): void {
  const input = decode(loaded.input) as RunInput // written by Operation
  const operation = new Operation(engine, engine.hosts.get(run.server), null, input)
  operation.restore(run)
  operation.inputSize = loaded.input.length
  const execution = new Execution(engine, {
    runId: run.id,
    epoch: run.epoch,
    owner: operation,
    created: true,
    beganAt: run.beganAt,
    timeoutAt: run.timeoutAt,
    journal: loaded.journal,
    waits: loaded.waits,
    carried: [],
  })
  execution.leaseSeenAt = sentAt
  operation.attach(execution, run.resumeFailures)
  restoreFinished(operation, execution, loaded.journal)
  engine.adopt(operation)
  if (run.blamed >= MAX_BLAME) {
    const note = `${run.takeovers} processes in a row died while they held this run, and it did not get on.`
    execution.failToGoOn(note)
    return
  }
  outsideOfRequests(() => operation.pass())
}

/** What the store has of a run cannot be read (another version wrote it, say): others may try, and operators see why. */
async function putOff(engine: Engine, { run }: Claimed, reason: string): Promise<void> {
  const failures = run.resumeFailures + 1
  engine.options.warn('A run could not be read; it is tried again.', { runId: run.id, failures, reason })
  const lease = { runId: run.id, epoch: run.epoch, seq: 1 }
  const part = giveBack(lease, engine.resumeDelayMs(failures), { resumeFailures: failures, note: reason })
  await engine.store.call((session) => session.commit([part]))
}
