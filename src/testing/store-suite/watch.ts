import assert from 'node:assert/strict'
import type { StoreHint, StoreSession } from '../../store/store.ts'
import { accept, COMPLETED, DUE_NOW, eventWait, first, PARKED, type SuiteContext, type SuiteRunner } from './context.ts'

/** Hints from one server to another take a while; none of the stores needs as long. */
const PATIENCE_MS = 2_000

/** Resolves with the first hint that one of these writes brings. */
async function hintOf(
  session: StoreSession,
  isExpected: (hint: StoreHint) => boolean,
  write: () => Promise<unknown>,
): Promise<void> {
  let stop: (() => void) | undefined
  let timer: ReturnType<typeof setTimeout> | undefined
  const hinted = new Promise<void>((resolve, reject) => {
    stop = session.watch((hint) => {
      if (isExpected(hint)) resolve()
    })
    timer = setTimeout(
      () => reject(new assert.AssertionError({ message: 'Expected a hint, but none came' })),
      PATIENCE_MS,
    )
  })
  try {
    await write()
    await hinted
  } finally {
    clearTimeout(timer)
    stop?.()
  }
}

/** A store that can't tell what changed says only that something has. */
function about(kind: StoreHint['kind']): (hint: StoreHint) => boolean {
  return (hint) => hint.kind === 'changed' || (hint.kind === kind && (!('runId' in hint) || hint.runId === 'run'))
}

export function watchSuite({ describe, it }: SuiteRunner, context: SuiteContext): void {
  describe('watch', () => {
    it('hints at a run that was signalled, that became due, and that ended', async () => {
      const writer = await context.connect()
      const watcher = await context.connect()
      await accept(writer, first('run', { opens: [eventWait('w', 'order')], next: PARKED }))
      const event = { id: 'evt', name: 'order', data: 'null' }
      await hintOf(watcher, about('signalled'), () => writer.send([event]))
      await hintOf(watcher, about('due'), () => accept(writer, first('other', { next: DUE_NOW })))
      await hintOf(watcher, about('ended'), () => writer.end('run', COMPLETED.ending))
    })

    it('hints at an outcome that another session commits', async () => {
      const writer = await context.connect()
      const watcher = await context.connect()
      await hintOf(
        watcher,
        () => true,
        () => accept(writer, first('run')),
      )
    })

    it('never calls back from inside a call, nor after it was stopped', async () => {
      const session = await context.connect()
      let calls = 0
      const stop = session.watch(() => calls++)
      const committed = session.commit([first('run', { next: DUE_NOW })])
      assert.equal(calls, 0)
      await committed
      stop()
      const before = calls
      await accept(session, first('other', { next: DUE_NOW }))
      await new Promise<void>((resolve) => setImmediate(resolve))
      assert.equal(calls, before)
    })
  })
}
