import { setTimeout as sleep } from 'node:timers/promises'
import type { Fleet } from './fleet.ts'
import type { Random } from './random.ts'
import type { WitnessClient } from './witness-client.ts'

/** What can be done to a database server. */
export interface DatabaseServer {
  /** Ends a connection or two of those that there are. */
  terminateBackends(random: Random): Promise<number>
  /** A crash of the server, and its recovery. */
  restartImmediately(): Promise<void>
  /** What befalls the server that takes writes; resolves once all is in order again. Null where there is one server only. */
  readonly failOver: ((random: Random) => Promise<void>) | null
}

export interface ChaosOptions {
  readonly fleet: Fleet
  readonly random: Random
  readonly log: WitnessClient
  readonly leaseMs: number
  readonly database: DatabaseServer | null
  /** How often each thing happens. */
  readonly perMinute: Rates
}

export interface Rates {
  readonly kills: number
  readonly freezes: number
  readonly closes: number
  readonly terminations: number
  readonly restarts: number
  readonly failovers: number
}

export interface Chaos {
  readonly done: { -readonly [what in keyof Rates]: number }
  /** What could not be done, or undone. */
  readonly failures: readonly string[]
  stop(): Promise<void>
}

/** Each kind of trouble comes by itself, at instants that the seed decides. */
export function startChaos(options: ChaosOptions): Chaos {
  const { fleet, random, log, leaseMs, database, perMinute } = options
  const controller = new AbortController()
  const done = { kills: 0, freezes: 0, closes: 0, terminations: 0, restarts: 0, failovers: 0 }
  const failures: string[] = []
  let disruptions = 1_000_000 // not to be confused with the fleet's
  let last: Promise<unknown> = Promise.resolve()

  /** One thing at a time is done to the database: while it is restarted, it has no connections to cut. */
  function toAll(what: 'terminate' | 'restart' | 'failover', body: () => Promise<unknown>): Promise<void> {
    const done = last.then(() => disruptAll(what, body))
    last = done.catch(() => {}) // the caller is told
    return done
  }

  async function disruptAll(what: 'terminate' | 'restart' | 'failover', body: () => Promise<unknown>): Promise<void> {
    const id = ++disruptions
    await log.tell({ kind: 'disruption', life: null, what, phase: 'begin', id })
    await body()
    // What it leads to takes a moment: connections are made again, answers are found to be lost.
    await sleep(1_000)
    await log.tell({ kind: 'disruption', life: null, what, phase: 'end', id })
  }

  const acts: Readonly<Record<keyof Rates, (own: Random) => Promise<number>>> = {
    kills: async () => Number(await fleet.kill()),
    freezes: async (own) => Number(await fleet.freeze(leaseMs * (1.2 + own.next()))),
    closes: async () => Number(await fleet.close()),
    async terminations(own) {
      let count = 0
      if (database) await toAll('terminate', async () => (count = await database.terminateBackends(own)))
      return count
    },
    async restarts() {
      if (!database) return 0
      await toAll('restart', () => database.restartImmediately())
      return 1
    },
    async failovers(own) {
      const failOver = database?.failOver
      if (!failOver) return 0
      await toAll('failover', () => failOver(own))
      return 1
    },
  }

  async function repeat(what: keyof Rates): Promise<void> {
    const rate = perMinute[what]
    if (rate <= 0) return
    const own = random.fork(what)
    const meanMs = 60_000 / rate
    const underWay = new Set<Promise<void>>()
    let at = performance.now()
    for (;;) {
      at += meanMs * (0.5 + own.next())
      try {
        await sleep(Math.max(0, at - performance.now()), undefined, { signal: controller.signal })
      } catch {
        break
      }
      const act = acts[what](own).then(
        (count) => void (done[what] += count),
        (error: unknown) => void failures.push(`${what}: ${String(error)}`),
      )
      underWay.add(act)
      void act.finally(() => underWay.delete(act))
    }
    await Promise.all(underWay)
  }

  const all = (Object.keys(acts) as (keyof Rates)[]).map(repeat)
  return {
    done,
    failures,
    async stop() {
      controller.abort()
      await Promise.all(all)
    },
  }
}
