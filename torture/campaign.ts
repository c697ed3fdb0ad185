import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startChaos } from './chaos.ts'
import type { Chaos, Rates } from './chaos.ts'
import { startClients } from './clients.ts'
import type { Clients, Experience } from './clients.ts'
import { openDatabase } from './database.ts'
import { countOpen, gatherEvidence } from './evidence.ts'
import type { Evidence } from './evidence.ts'
import { startFleet } from './fleet.ts'
import type { Fleet } from './fleet.ts'
import { createRandom } from './random.ts'
import { measurePauses, measureRecoveries } from './recoveries.ts'
import type { Recoveries } from './recoveries.ts'
import { openStore } from './stores.ts'
import type { StoreName } from './stores.ts'
import { isGivenUp, judge } from './verdict.ts'
import { connectWitness } from './witness-client.ts'

export interface CampaignOptions {
  readonly store: StoreName
  readonly minutes: number
  readonly seed: string
  /** Servers and workers; about half of each. */
  readonly processes: number
  readonly concurrency: number
  readonly pauseMs: number
  readonly leaseMs: number
  readonly trouble: number
  readonly perMinute: Rates
  /** For the witness's log, the processes' logs, and an SQLite store. */
  readonly directory: string
  readonly onProgress?: (line: string) => void
  /** Ends the load early; what happened until then is judged. */
  readonly signal?: AbortSignal
}

export interface Summary {
  readonly operations: number
  readonly acknowledged: number
  readonly requests: number
  readonly effects: number
  readonly lives: number
  readonly faults: number
  /** Runs whose holders died so often in a row that the engine gave them up, as it should. */
  readonly givenUp: number
  readonly done: Chaos['done']
  readonly afterKills: Recoveries
  readonly afterFreezes: Recoveries
  /** How long no process was told of a commit, in each failover. */
  readonly pauses: Recoveries
  readonly violations: readonly string[]
}

/** Everybody who was told of a run must see its end by then, with nothing to disturb it any more. */
const DRAIN_MS = 60_000

/** Tries to lose a run, and says whether it could. */
export async function runCampaign(options: CampaignOptions): Promise<Summary> {
  const { seed, leaseMs, trouble, directory, onProgress = () => {} } = options
  mkdirSync(directory, { recursive: true })
  const random = createRandom(seed)
  const witnessSocket = join(directory, 'witness.sock')
  const witnessLog = join(directory, 'witness.log')
  const database = await openDatabase(options.store, directory, onProgress)
  const witness = fork(join(import.meta.dirname, 'witness.ts'), [witnessSocket, witnessLog], { execArgv: [] })
  let fleet: Fleet | null = null
  let chaos: Chaos | null = null
  let clients: Clients | null = null
  const violations: string[] = []
  witness.once('exit', (code) => {
    if (code !== 0) violations.push(`The witness ended with ${code}: what it did not hear is not judged.`)
  })
  try {
    await once(witness, 'message')
    const log = await connectWitness(witnessSocket)
    const { address } = database
    const running = (fleet = await startFleet({
      directory,
      seed,
      trouble,
      leaseMs,
      log,
      store: address,
      witness: witnessSocket,
      servers: Math.ceil(options.processes / 2),
      workers: Math.floor(options.processes / 2),
      // One host has one clock: an embedded store, which takes its time from its processes, has only that.
      skewMs: options.store === 'sqlite' ? 0 : 5 * 60_000,
      random: random.fork('fleet'),
    }))
    await running.untilReady()
    const { concurrency, pauseMs } = options
    clients = startClients({ random: random.fork('clients'), seed, urls: () => running.urls, concurrency, pauseMs })
    chaos = startChaos({
      fleet: running,
      log,
      leaseMs,
      database: database.server,
      perMinute: options.perMinute,
      random: random.fork('chaos'),
    })
    const endsAt = performance.now() + options.minutes * 60_000
    while (performance.now() < endsAt && !options.signal?.aborted) {
      await sleep(Math.min(10_000, endsAt - performance.now()), undefined, { signal: options.signal }).catch(() => {})
      onProgress(progressLine(clients.experiences, chaos, running))
    }
    await chaos.stop()
    violations.push(...chaos.failures)
    await running.untilReady()
    const lost = await clients.finish(DRAIN_MS)
    if (lost > 0) violations.push(`${lost} clients had not seen the end of their runs after ${DRAIN_MS} ms of peace`)
    const store = await openStore(address)
    await drain(() => countOpen(store))
    violations.push(...(await running.end()).map((life) => `${life} did not end on SIGTERM`), ...running.crashes)
    log.close()
    const evidence = await gatherEvidence(store, witnessLog)
    violations.push(...(await judge(evidence, clients.experiences)))
    await evidence.close()
    violations.push(...(await database.leftovers()).map((left) => `Left after all processes were closed: ${left}`))
    return summarize(clients.experiences, evidence, running, chaos, violations)
  } finally {
    await chaos?.stop()
    await clients?.finish(0)
    await fleet?.end()
    witness.disconnect()
    await database.dispose()
  }
}

async function drain(count: () => Promise<number>): Promise<void> {
  const giveUpAt = performance.now() + DRAIN_MS
  while (performance.now() < giveUpAt && (await count()) > 0) await sleep(250)
}

function progressLine(experiences: readonly Experience[], { done }: Chaos, { crashes }: Fleet): string {
  const ended = experiences.filter(({ result }) => result).length
  const problems = experiences.flatMap((each) => each.problems).length + crashes.length
  return `${experiences.length} operations, ${ended} ended; ${done.kills} kills, ${done.freezes} freezes, ${done.closes} closes, ${done.terminations} connections cut, ${done.restarts} restarts, ${done.failovers} failovers; ${problems} problems so far`
}

function summarize(
  experiences: readonly Experience[],
  { entries, runs }: Evidence,
  { lives }: Fleet,
  { done }: Chaos,
  violations: readonly string[],
): Summary {
  return {
    operations: experiences.length,
    acknowledged: experiences.filter(({ acknowledged }) => acknowledged).length,
    requests: experiences.reduce((sum, { requests }) => sum + requests, 0),
    effects: entries.filter(({ kind }) => kind === 'begin').length,
    lives,
    givenUp: [...runs.values()].flat().filter((run) => isGivenUp(run, entries)).length,
    faults: entries.filter(({ kind }) => kind === 'fault').length,
    done,
    afterKills: measureRecoveries(entries, 'kill'),
    afterFreezes: measureRecoveries(entries, 'freeze'),
    pauses: measurePauses(entries),
    violations,
  }
}
