import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ChildIsReady, ChildOrders } from './child.ts'
import type { Disruption } from './facts.ts'
import type { Random } from './random.ts'
import type { WitnessClient } from './witness-client.ts'

export interface FleetOptions extends Pick<ChildOrders, 'store' | 'witness' | 'seed' | 'trouble' | 'leaseMs'> {
  readonly directory: string
  readonly servers: number
  readonly workers: number
  /** Clocks are off by up to this. */
  readonly skewMs: number
  readonly random: Random
  /** The campaign's own line to the witness. */
  readonly log: WitnessClient
}

interface Member {
  readonly life: string
  readonly role: 'server' | 'worker'
  readonly process: ChildProcess
  url: string | null
  ready: boolean
  /** What is being done to it. */
  disrupted: Disruption | null
}

/** The processes of a campaign: each that ends is followed by another one of its role. */
export interface Fleet {
  /** Of the servers that are up, as far as is known. */
  readonly urls: readonly string[]
  readonly lives: number
  /** Ends that nobody ordered. */
  readonly crashes: readonly string[]
  kill(): Promise<boolean>
  freeze(forMs: number): Promise<boolean>
  close(): Promise<boolean>
  untilReady(): Promise<void>
  /** Ends all of them, gracefully. Answers those that would not. */
  end(): Promise<readonly string[]>
}

const CLOSE_WITHIN_MS = 15_000
const CHOOSE_WITHIN_MS = 5_000

export async function startFleet(options: FleetOptions): Promise<Fleet> {
  const { random, log } = options
  const members = new Set<Member>()
  const crashes: string[] = []
  let lives = 0
  let disruptions = 0
  let ending = false

  function spawn(role: Member['role']): void {
    const life = `${role}-${++lives}`
    const skewMs = random.between(-options.skewMs, options.skewMs)
    const { store, witness, seed, trouble, leaseMs } = options
    const orders: ChildOrders = { life, role, store, witness, seed, skewMs, trouble, leaseMs }
    const child = fork(join(import.meta.dirname, 'child.ts'), [JSON.stringify(orders)], {
      execArgv: [],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      // A process that starts often should start fast.
      env: { ...process.env, NODE_COMPILE_CACHE: join(options.directory, 'compile-cache') },
    })
    const output = createWriteStream(join(options.directory, `${life}.log`))
    child.stdout?.pipe(output)
    child.stderr?.pipe(output)
    const member: Member = { life, role, process: child, url: null, ready: false, disrupted: null }
    members.add(member)
    child.on('message', (message) => {
      member.url = (message as ChildIsReady).url // it sends nothing else
      member.ready = true
    })
    child.on('exit', (code, signal) => {
      members.delete(member)
      const expected = member.disrupted === 'kill' || (code === 0 && (ending || member.disrupted === 'close'))
      if (!expected) crashes.push(`${life} ended by itself: code ${code}, signal ${signal}`)
      if (!ending) spawn(role)
    })
  }

  /**
   * One that is up and that nothing is being done to, once there are enough of those: where nobody is left to take runs
   * over, nothing is put to the test.
   */
  async function choose(): Promise<Member | null> {
    const giveUpAt = performance.now() + CHOOSE_WITHIN_MS
    while (!ending && performance.now() < giveUpAt) {
      const candidates = [...members].filter(({ ready, disrupted }) => ready && !disrupted)
      if (candidates.length > members.size / 3) return random.pick(candidates)
      await sleep(50)
    }
    return null
  }

  async function disrupt(what: Disruption, body: (member: Member) => Promise<void>): Promise<boolean> {
    const member = await choose()
    if (!member || member.disrupted) return false
    const id = ++disruptions
    const { life } = member
    member.disrupted = what
    await log.tell({ kind: 'disruption', life, what, phase: 'begin', id })
    await body(member)
    await log.tell({ kind: 'disruption', life, what, phase: 'end', id })
    member.disrupted = null
    return true
  }

  const hasExited = ({ process: child }: Member): boolean => child.exitCode !== null || child.signalCode !== null

  async function exitWithin(member: Member, ms: number): Promise<boolean> {
    if (hasExited(member)) return true
    const controller = new AbortController()
    const exited = once(member.process, 'exit').then(() => true)
    const inTime = await Promise.race([exited, sleep(ms, false, { signal: controller.signal })])
    controller.abort()
    return inTime
  }

  for (let n = 0; n < options.servers; n++) spawn('server')
  for (let n = 0; n < options.workers; n++) spawn('worker')

  return {
    get urls() {
      return [...members].flatMap(({ url }) => (url === null ? [] : [url]))
    },
    get lives() {
      return lives
    },
    crashes,
    kill: () =>
      disrupt('kill', async (member) => {
        const exited = once(member.process, 'exit')
        member.process.kill('SIGKILL')
        await exited
      }),
    freeze: (forMs) =>
      disrupt('freeze', async ({ process: child }) => {
        child.kill('SIGSTOP')
        await sleep(forMs)
        child.kill('SIGCONT')
        // What it does with what it believed before is the freeze's doing as well.
        await sleep(AFTERMATH_MS)
      }),
    close: () =>
      disrupt('close', async (member) => {
        member.process.kill('SIGTERM')
        if (await exitWithin(member, CLOSE_WITHIN_MS)) return
        crashes.push(`${member.life} did not close within ${CLOSE_WITHIN_MS} ms`)
        member.disrupted = 'kill'
        member.process.kill('SIGKILL')
        await exitWithin(member, CLOSE_WITHIN_MS)
      }),
    async untilReady() {
      while ([...members].some(({ ready }) => !ready)) await sleep(20)
    },
    async end() {
      ending = true
      const all = [...members]
      for (const { process: child } of all) child.kill('SIGTERM')
      const inTime = await Promise.all(all.map((member) => exitWithin(member, CLOSE_WITHIN_MS)))
      const left = all.filter((_, index) => !inTime[index])
      for (const { process: child } of left) child.kill('SIGKILL')
      return left.map(({ life }) => life)
    },
  }
}

/** A frozen process is left alone for so long after it was woken. */
const AFTERMATH_MS = 500
