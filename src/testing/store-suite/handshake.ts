import assert from 'node:assert/strict'
import type { StoreSession } from '../../store/store.ts'
import { createTestClock } from '../test-clock.ts'
import { accept, eventWait, first, part, type SuiteContext, type SuiteRunner, view } from './context.ts'

const SEEDS = 150
const RUNS = 4

/** One run's way to the park, as the engine goes it: register, look, park. Each call does the next step. */
interface Life {
  readonly runId: string
  readonly steps: (() => Promise<void>)[]
  found: boolean
}

function life(session: StoreSession, runId: string, name: string): Life {
  let since = 0
  const self: Life = {
    runId,
    found: false,
    steps: [
      async () => {
        since = await accept(session, first(runId))
      },
      async () => void (await accept(session, part(runId, 2, { opens: [eventWait('w', name, { runId })] }))),
      async () => {
        const match = JSON.stringify({ runId })
        const [event] = await session.findEvents([{ name, match, since, until: null, exclude: new Set() }])
        self.found = Boolean(event)
      },
      async () => {
        const wakeInMs = self.found ? 0 : null
        await accept(session, part(runId, 3, { next: { kind: 'park', wakeInMs } }))
      },
    ],
  }
  return self
}

/** The run has to be due, and the event has to be found by whoever claims it. */
async function assertNotLost(session: StoreSession, { runId, found }: Life, name: string, seed: number): Promise<void> {
  const { run } = await view(session, runId)
  const { claimed } = await session.claim({ limit: 1, runId })
  assert.equal(claimed.length, 1, `seed ${seed}: ${runId} is due; it found the event before it parked: ${found}`)
  const query = { name, match: JSON.stringify({ runId }), since: run.beganAt, until: null, exclude: new Set<string>() }
  const [event] = await session.findEvents([query])
  assert.ok(event, `seed ${seed}: ${runId} finds its event`)
}

export function handshakeSuite({ describe, it }: SuiteRunner, context: SuiteContext): void {
  describe('send against register, look and park', () => {
    it(`loses no event, whenever it is sent: ${SEEDS} seeded interleavings (I6)`, async () => {
      const processes = [await context.connect(), await context.connect()] as const
      const sender = await context.connect()
      for (let seed = 1; seed <= SEEDS; seed++) {
        const { random } = createTestClock({ seed })
        const name = `order ${seed}`
        const lives = Array.from({ length: RUNS }, (_, index) =>
          life(processes[index % 2 === 0 ? 0 : 1], `run ${seed}.${index}`, name),
        )
        // Each run's event becomes one more step, which may come anywhere after the run began.
        const pending = lives.map(({ runId, steps }) => {
          const sendEvent = async (): Promise<void> => {
            await sender.send([{ id: `evt ${runId}`, name, data: JSON.stringify({ runId, seed }) }])
          }
          return steps.toSpliced(1 + Math.floor(random() * steps.length), 0, sendEvent)
        })
        for (let left = pending.flat().length; left > 0; left--) {
          const unfinished = pending.filter((steps) => steps.length > 0)
          await unfinished[Math.floor(random() * unfinished.length)]?.shift()?.()
        }
        for (const each of lives) await assertNotLost(sender, each, name, seed)
      }
    })

    it(`loses no event that is sent at the same time: ${SEEDS} rounds (I6)`, async () => {
      const processes = [await context.connect(), await context.connect()] as const
      const sender = await context.connect()
      for (let seed = 1; seed <= SEEDS; seed++) {
        const { random } = createTestClock({ seed: seed + SEEDS })
        const name = `order ${seed}`
        const lives = Array.from({ length: RUNS }, (_, index) =>
          life(processes[index % 2 === 0 ? 0 : 1], `run ${seed}.${index}`, name),
        )
        for (const { steps } of lives) await steps.shift()?.() // the run has begun
        await Promise.all(
          lives.flatMap(({ runId, steps }) => [
            inTurns(steps, random),
            afterTurns(Math.floor(random() * 12), async () => {
              await sender.send([{ id: `evt ${runId}`, name, data: JSON.stringify({ runId, seed }) }])
            }),
          ]),
        )
        for (const each of lives) await assertNotLost(sender, each, name, seed)
      }
    })
  })
}

async function inTurns(steps: readonly (() => Promise<void>)[], random: () => number): Promise<void> {
  for (const step of steps) await afterTurns(Math.floor(random() * 4), step)
}

async function afterTurns(turns: number, step: () => Promise<void>): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await Promise.resolve()
  await step()
}
