import { Client } from 'pg'
import { afterAll, beforeAll, expect, vi } from 'vitest'
import { toMs } from '../../src/core/duration.ts'
import { postgresStore } from '../../src/postgres.ts'
import type { PostgresSession } from '../../src/postgres.ts'
import { createTestClock } from '../../src/testing.ts'
import type { TestClock, TestClockOptions } from '../../src/testing.ts'
import { nextSchema, startDatabase } from './postgres.ts'
import type { TestStore, TestStoreOptions } from './stores.ts'

/*
 * PostgreSQL where time stands still until a test moves it.
 *
 * The server's clock decides, and the store's SQL asks it by `statement_timestamp()`. Here the store's connections look
 * for functions in a schema of the test's own before they look in pg_catalog, and find one of that name, which reads a
 * table of one row. That row is set to the test's time before each call of the store. What the store measures by
 * `performance.now()` stands still along with it: the one is compared with the other.
 *
 * A call is answered over a socket, of which a test clock knows nothing. So a clock of such a store rests only once no
 * call is under way, and moves from timer to timer with a rest at each. Only hints from one session to another are not
 * waited for, as everywhere: they may be lost.
 */

/** A call takes milliseconds. */
const PATIENCE_MS = 15_000
/** Of calls that lead to calls. What goes on for longer may be waiting for a timer that is due in this very instant. */
const MAX_ROUNDS = 100

let server: { readonly url: string; readonly admin: Client; readonly sockets: number } | null = null

/** One server for a test file. */
export function usePostgres(): void {
  let dispose = async (): Promise<void> => {}
  beforeAll(async () => {
    // Nothing here asks what survives a crash of the server.
    const database = await startDatabase({ settings: { fsync: 'off' } })
    dispose = database.dispose
    const admin = new Client({ connectionString: database.url })
    await admin.connect()
    await admin.query("set synchronous_commit = off; set client_min_messages = 'warning'")
    server = { url: database.url, admin, sockets: openSockets() }
  }, 60_000)
  afterAll(async () => {
    await server?.admin.end()
    server = null
    await dispose()
  }, 60_000)
}

let clockSchemas = 0

export async function openStandingPostgres({ onCommit }: TestStoreOptions): Promise<TestStore> {
  if (!server) throw new Error('Expected usePostgres() at the top of the test file.')
  const { url, admin, sockets } = server
  const schema = nextSchema()
  const clockSchema = `test_clock_${process.pid}_${++clockSchemas}` // nothing in it that `options` would have to quote
  const calls = new Calls()
  const clocks: TestClock[] = []
  const now = (): number => Math.max(0, ...clocks.map((clock) => clock.now()))
  let told: number | null = null

  await admin.query(`
    create schema ${clockSchema};
    create unlogged table ${clockSchema}.instant (at timestamptz not null);
    insert into ${clockSchema}.instant values (to_timestamp(0));
    create function ${clockSchema}.statement_timestamp() returns timestamptz stable language sql
      as 'select at from ${clockSchema}.instant'`)
  standStill(now)

  /** Calls of one instant queue up behind its telling, on the one connection. */
  async function tellTime(): Promise<void> {
    const at = now()
    if (told === at) return telling
    told = at
    telling = admin.query(`update ${clockSchema}.instant set at = to_timestamp(${at} / 1000.0)`).then(() => {})
    return telling
  }
  let telling: Promise<void> = Promise.resolve()

  const inner = postgresStore({
    pool: { options: { connectionString: url, options: `-c search_path=${clockSchema},pg_catalog` } },
    schema,
    onWarning: () => {}, // that fsync is off
    ...(onCommit && { onCommit }),
  })
  return {
    store: {
      name: inner.name,
      async connect(options) {
        const connecting = calls.ofOneSession(tellTime)
        return counted(await connecting.through(() => inner.connect(options)), calls.ofOneSession(tellTime))
      },
    },
    createClock(options) {
      const clock = createRestingClock(calls, options)
      clocks.push(clock)
      return clock
    },
    async dispose() {
      moveAgain(now)
      await admin.query(`drop schema if exists "${schema}" cascade; drop schema ${clockSchema} cascade`)
      if (standing.size > 0) return // the others have connections
      await expect.poll(openSockets, { message: 'connections left behind', timeout: PATIENCE_MS }).toBe(sockets)
    },
  }
}

function openSockets(): number {
  return process.getActiveResourcesInfo().filter((resource) => resource === 'TCPSocketWrap').length
}

const standing = new Set<() => number>()

function standStill(now: () => number): void {
  standing.add(now)
  vi.spyOn(performance, 'now').mockImplementation(() => Math.max(...[...standing].map((now) => now())))
}

function moveAgain(now: () => number): void {
  standing.delete(now)
  if (standing.size === 0) vi.mocked(performance.now).mockRestore()
}

interface SessionCalls {
  through<T>(call: () => Promise<T>): Promise<T>
  /** Its calls do not settle any more. */
  crash(): void
}

/** The calls of the store that are under way. */
class Calls {
  #started = 0
  readonly #open = new Set<object>()
  #whenOver: PromiseWithResolvers<void> | null = null

  get started(): number {
    return this.#started
  }

  get areOver(): boolean {
    return this.#open.size === 0
  }

  ofOneSession(before: () => Promise<void>): SessionCalls {
    const own = new Set<object>()
    let crashed = false
    return {
      through: async (call) => {
        const token = {}
        this.#started++
        if (!crashed) this.#open.add(token)
        own.add(token)
        try {
          await before()
          return await call()
        } finally {
          own.delete(token)
          this.#close(token)
        }
      },
      crash: () => {
        crashed = true
        for (const token of own) this.#close(token)
      },
    }
  }

  async over(): Promise<void> {
    if (this.areOver) return
    this.#whenOver ??= Promise.withResolvers()
    const { promise, reject } = this.#whenOver
    const timer = setTimeout(() => {
      reject(new Error(`Of the store's calls, ${this.#open.size} had no answer for ${PATIENCE_MS} ms.`))
    }, PATIENCE_MS)
    await promise.finally(() => clearTimeout(timer))
  }

  #close(token: object): void {
    this.#open.delete(token)
    if (!this.areOver) return
    this.#whenOver?.resolve()
    this.#whenOver = null
  }
}

function counted(session: PostgresSession, calls: SessionCalls): PostgresSession {
  const counting =
    <Args extends unknown[], T>(method: (...args: Args) => Promise<T>) =>
    (...args: Args): Promise<T> =>
      calls.through(() => method(...args))
  return {
    ...session,
    commit: counting(session.commit),
    claim: counting(session.claim),
    end: counting(session.end),
    send: counting(session.send),
    findEvents: counting(session.findEvents),
    beat: counting(session.beat),
    reap: counting(session.reap),
    read: counting(session.read),
    peek: counting(session.peek),
    list: counting(session.list),
    secret: counting(session.secret),
    delete: counting(session.delete),
    prune: counting(session.prune),
    close: counting(session.close),
    crash() {
      session.crash()
      calls.crash()
    },
  }
}

/** A test clock that also waits for the store's answers. */
function createRestingClock(calls: Calls, options?: TestClockOptions): TestClock {
  const clock = createTestClock(options)
  let moving: Promise<void> = Promise.resolve()

  async function rest(): Promise<void> {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      await calls.over()
      const { started } = calls
      await clock.settle()
      if (calls.areOver && calls.started === started) return
    }
  }

  async function moveTo(target: number): Promise<void> {
    await rest()
    while (clock.nextAt !== null && clock.nextAt <= target) {
      await clock.advance(Math.max(0, clock.nextAt - clock.now()))
      await rest()
    }
    await clock.advance(target - clock.now())
  }

  /** One movement at a time, as of any test clock. */
  function move(movement: () => Promise<void>): Promise<void> {
    const moved = moving.then(movement)
    moving = moved.catch(() => {}) // the caller is told
    return moved
  }

  return {
    now: () => clock.now(),
    setTimeout: (callback, delayMs) => clock.setTimeout(callback, delayMs),
    random: () => clock.random(),
    randomId: () => clock.randomId(),
    get pending() {
      return clock.pending
    },
    get nextAt() {
      return clock.nextAt
    },
    advance: (duration) => move(() => moveTo(clock.now() + toMs(duration, 'the time to advance'))),
    runAll(max = '1d') {
      return move(async () => {
        const target = clock.now() + toMs(max, 'the time to advance at most')
        await rest()
        while (clock.nextAt !== null && clock.now() < target) await moveTo(Math.min(target, clock.nextAt))
      })
    },
    settle: () => move(rest),
  }
}
