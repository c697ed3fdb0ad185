/*
 * What a cold replay costs: `node bench/replay.ts [steps …]`.
 *
 * A run of n sequential steps that has only its end left is claimed from SQLite by a process that knows nothing of it.
 * Loading is the claim, which reads at least the journal's beginning. Replaying is everything from there until the end of
 * the run is handed to the store: what is left to read, building the execution, the context and the document, decoding
 * each outcome and releasing it.
 */
import { envelop, useEngine, useSchema } from '@envelop/core'
import { makeExecutableSchema } from '@graphql-tools/schema'
import { execute, parse, subscribe, validate } from 'graphql'
import { useDurable } from '../plugins/envelop.ts'
import { encode } from '../src/core/codec.ts'
import { stepKey } from '../src/core/keys.ts'
import { systemClock } from '../src/core/system-clock.ts'
import { createDurable } from '../src/index.ts'
import { sqliteStore } from '../src/sqlite.ts'
import type { Outcome, Store } from '../src/store/store.ts'
import type { DurableContext } from '../src/types.ts'
import { median, numbersFrom, withDatabase } from './shared.ts'

const ROUNDS = 9

const schema = makeExecutableSchema({
  typeDefs: 'type Query { count(steps: Int!): Int }',
  resolvers: {
    Query: {
      async count(_root: unknown, { steps }: { steps: number }, { step }: DurableContext): Promise<number> {
        let count = 0
        for (let n = 0; n < steps; n++) count += await step.run(`step ${n}`, () => 1)
        return count
      },
    },
  },
})

/** Writes what a process leaves that died right after the last step. */
async function writeRun(store: Store, runId: string, steps: number): Promise<void> {
  const session = await store.connect({ processId: `writer of ${runId}`, leaseMs: 60_000, clock: systemClock })
  const body = encode(1)
  const outcomes = Array.from({ length: steps }, (_, pos): Outcome => {
    const key = stepKey('count', `step ${pos}`, 1)
    return {
      pos,
      key,
      kind: 'RUN',
      ok: true,
      body,
      calls: pos + 1,
      attempts: 1,
      eventId: null,
      eventName: null,
      tookMs: 0,
    }
  })
  const input = encode({
    document: 'query ($steps: Int!) { count(steps: $steps) }',
    operationName: null,
    variables: { steps },
    headers: {},
    captured: null,
  })
  const create = { server: 'default', operationName: null, owner: null, version: null, beganAgoMs: 0, timeoutMs: null }
  await session.commit([
    {
      runId,
      epoch: 1,
      seq: 1,
      create: { ...create, input, idempotency: null },
      outcomes,
      opens: [],
      next: { kind: 'park', wakeInMs: 0 },
    },
  ])
  await session.close()
}

/** The process's own time: another's load does not count. With the collector's threads, so rather too much than too little. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

interface Times {
  loadMs: number
  replayMs: number
}

/** Resumes the run in a process of its own. */
async function resume(store: Store, runId: string, steps: number): Promise<Times> {
  const times: Times = { loadMs: 0, replayMs: 0 }
  let loadedAt = 0
  const timed: Store = {
    name: store.name,
    async connect(options) {
      const session = await store.connect(options)
      return {
        ...session,
        async claim(request) {
          const before = cpuMs()
          const receipt = await session.claim(request)
          if (receipt.claimed.length > 0) {
            loadedAt = cpuMs()
            times.loadMs = loadedAt - before
          }
          return receipt
        },
        commit(batch) {
          if (batch.some(({ next }) => next.kind === 'end')) times.replayMs = cpuMs() - loadedAt
          return session.commit(batch)
        },
      }
    },
  }
  const durable = createDurable({ store: timed, worker: false, schema: false })
  const getEnveloped: ReturnType<typeof envelop> = envelop({
    plugins: [
      useEngine({ parse, validate, execute, subscribe }),
      useSchema(schema),
      useDurable(durable, { getEnveloped: () => getEnveloped }),
    ],
  })
  await durable.start()
  const run = await durable.runs.wait(runId)
  if (run?.result?.data?.['count'] !== steps)
    throw new Error(`Expected a count of ${steps}, got ${JSON.stringify(run?.result)}`)
  await durable.close()
  return times
}

await withDatabase(async (path) => {
  const rows: Record<string, unknown>[] = []
  for (const steps of numbersFrom(process.argv.slice(2), [1_000, 10_000, 20_000, 50_000])) {
    const rounds: Times[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const store = sqliteStore(path)
      const runId = `run_${steps}_${round}`
      await writeRun(store, runId, steps)
      rounds.push(await resume(store, runId, steps))
    }
    const loadMs = median(rounds.map((times) => times.loadMs))
    const replayMs = median(rounds.map((times) => times.replayMs))
    rows.push({
      steps,
      'load ms': loadMs.toFixed(1),
      'replay ms': replayMs.toFixed(1),
      'load µs/step': ((loadMs / steps) * 1000).toFixed(2),
      'replay µs/step': ((replayMs / steps) * 1000).toFixed(2),
    })
  }
  console.table(rows)
})
