import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import { systemClock } from '../../src/core/system-clock.ts'
import { sqliteStore } from '../../src/sqlite.ts'

const SERVER = fileURLToPath(new URL('fixtures/server.ts', import.meta.url))

/** A side effect that reached the disk. */
export interface Effect {
  readonly step?: string
  readonly note?: string
  readonly runId?: string
  readonly attempt?: number
  readonly idempotencyKey?: string
  readonly pid: number
}

/** What a kill left behind: which steps were committed, and how many effects there had been. */
export interface Death {
  readonly effects: number
  readonly committed: ReadonlyMap<string, ReadonlySet<string>>
}

interface Life {
  readonly child: ChildProcess
  readonly url: string
  readonly readyAt: number
  readonly bootMs: number
  readonly exit: Promise<string | null>
  dead: boolean
  /** What it left behind has been looked at. */
  noted: boolean
}

/** One database, its witness, and the servers that live and die over it. */
export class World {
  readonly #dir = mkdtempSync(join(tmpdir(), 'graphql-durable-kill-'))
  readonly #lives: Life[] = []
  readonly deaths: Death[] = []
  readonly bootsMs: number[] = []
  readonly #env: Readonly<Record<string, string>>

  constructor(env: Readonly<Record<string, string>> = {}) {
    this.#env = env
  }

  get db(): string {
    return join(this.#dir, 'runs.db')
  }

  effects(): Effect[] {
    try {
      return readFileSync(join(this.#dir, 'witness'), 'utf8')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Effect)
    } catch {
      return []
    }
  }

  /** The latest server, if it lives. */
  get life(): Life | null {
    const last = this.#lives.at(-1)
    return last && !last.dead ? last : null
  }

  /** Starts a server, armed or not. Null where it died before it listened. */
  async start(kill = ''): Promise<Life | null> {
    await this.#noteDeath()
    const startedAt = performance.now()
    const child = spawn(process.execPath, [SERVER], {
      env: {
        ...process.env,
        DB: this.db,
        WITNESS: join(this.#dir, 'witness'),
        KILL: kill,
        NODE_NO_WARNINGS: '1',
        NODE_COMPILE_CACHE: join(this.#dir, 'cache'),
        ...this.#env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let errors = ''
    child.stderr?.on('data', (chunk: Buffer) => (errors += chunk.toString()))
    const exit = new Promise<string | null>((resolve) => child.once('exit', (_code, signal) => resolve(signal)))
    const listening = new Promise<number>((resolve) => {
      let output = ''
      child.stdout?.on('data', (chunk: Buffer) => {
        output += chunk.toString()
        const line = output.split('\n')[0]
        if (output.includes('\n') && line) resolve((JSON.parse(line) as { port: number }).port)
      })
    })
    const port = await Promise.race([listening, exit.then(() => null)])
    if (port === null) {
      expect(await exit, errors).toBe('SIGKILL')
      await this.#onDeath()
      return null
    }
    const readyAt = performance.now()
    const life: Life = {
      child,
      url: `http://127.0.0.1:${port}`,
      readyAt,
      bootMs: readyAt - startedAt,
      exit,
      dead: false,
      noted: false,
    }
    this.bootsMs.push(life.bootMs)
    child.once('exit', () => (life.dead = true))
    this.#lives.push(life)
    return life
  }

  /** A request failed: either the server died, which is noted, or something is wrong. */
  async diedOr(thrown: unknown, life: Life): Promise<void> {
    const signal = await Promise.race([life.exit, stillAlive(3000)])
    if (signal === 'alive') throw thrown
    expect(signal).toBe('SIGKILL')
    life.dead = true
    await this.#noteDeath()
  }

  kill(life: Life): Promise<unknown> {
    life.dead = true
    life.child.kill('SIGKILL')
    return life.exit
  }

  /** What is committed at this moment, by run: the keys of its steps. */
  async committed(): Promise<Map<string, Set<string>>> {
    const session = await sqliteStore(this.db).connect({
      processId: `observer ${systemClock.randomId()}`,
      leaseMs: 1000,
      clock: systemClock,
    })
    try {
      const found = new Map<string, Set<string>>()
      for (const run of await session.list({ first: 100 })) {
        const view = await session.read(run.id, { journal: true })
        found.set(run.id, new Set(view?.journal?.map(({ key }) => key)))
      }
      return found
    } finally {
      await session.close()
    }
  }

  async #onDeath(): Promise<void> {
    this.deaths.push({ effects: this.effects().length, committed: await this.committed() })
  }

  /** Before another server goes on: the latest one's death, however it was noticed. */
  async #noteDeath(): Promise<void> {
    const last = this.#lives.at(-1)
    if (!last?.dead || last.noted) return
    last.noted = true
    await this.#onDeath()
  }

  /** Ends every server that is left, and removes the files. */
  async close(): Promise<void> {
    for (const life of this.#lives) if (!life.dead) await this.kill(life)
    rmSync(this.#dir, { recursive: true, force: true })
  }
}

async function stillAlive(ms: number): Promise<'alive'> {
  await sleep(ms)
  return 'alive'
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
