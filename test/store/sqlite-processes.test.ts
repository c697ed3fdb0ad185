import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/core/system-clock.ts'
import type { StoreHint, StoreSession } from '../../src/store/store.ts'
import { sqliteStore, type SqliteStoreOptions } from '../../src/sqlite.ts'
import { createTestClock } from '../../src/testing.ts'
import type { Answer, Order } from './fixtures/sqlite-process.ts'

const FIXTURE = new URL('fixtures/sqlite-process.ts', import.meta.url)

let directory: string
let path: string
let children: ChildProcess[]
let sessions: StoreSession[]

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'durable-sqlite-'))
  path = join(directory, 'runs.db')
  children = []
  sessions = []
})

afterEach(async () => {
  for (const session of sessions) await session.close()
  await Promise.all(children.map(kill))
  rmSync(directory, { recursive: true })
})

async function connect(options: Partial<SqliteStoreOptions> = {}, clock = systemClock): Promise<StoreSession> {
  const processId = `here ${sessions.length}`
  const session = await sqliteStore({ path, ...options }).connect({ processId, leaseMs: 1_000, clock })
  sessions.push(session)
  return session
}

async function nextAnswer(child: ChildProcess): Promise<Answer> {
  const [answer] = await once(child, 'message')
  return answer as Answer // the fixture sends nothing else
}

function start(name: string, killAt = '', uid?: number): ChildProcess {
  const child = fork(FIXTURE, [path, name, killAt], { execArgv: [], ...(uid !== undefined && { uid, gid: uid }) })
  children.push(child)
  return child
}

async function started(name: string, killAt?: string): Promise<ChildProcess> {
  const child = start(name, killAt)
  expect(await nextAnswer(child)).toEqual({ kind: 'connected' })
  return child
}

async function ask(child: ChildProcess, order: Order): Promise<Answer> {
  child.send(order)
  return nextAnswer(child)
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}

function processFiles(): string[] {
  return readdirSync(directory).filter((name) => name.includes('-process-'))
}

describe('a process that is killed', () => {
  it('is seen to be dead at once, its runs become due, and its file goes (I4)', async () => {
    const session = await connect({}, createTestClock()) // whose lease never runs out: the clock stands still
    const child = await started('there')
    await ask(child, { kind: 'commit', runIds: ['run'], park: false })
    expect(await session.reap()).toBe(0)
    expect(processFiles()).toHaveLength(2)
    await kill(child)
    const killedAt = performance.now()
    while ((await session.reap()) === 0 && performance.now() - killedAt < 5_000) await session.beat()
    expect(performance.now() - killedAt).toBeLessThan(500)
    expect(await session.read('run')).toMatchObject({ run: { status: 'suspended', holder: null, takeovers: 1 } })
    expect(processFiles()).toHaveLength(1)
  })

  it('is alive while it is merely stopped, however long', async () => {
    const clock = createTestClock({ now: Date.now() })
    const session = await connect({}, clock)
    const child = await started('there')
    await ask(child, { kind: 'commit', runIds: ['run'], park: false })
    child.kill('SIGSTOP')
    await clock.advance('1h')
    expect(await session.reap()).toBe(0)
    expect(await session.read('run')).toMatchObject({ run: { status: 'running', holder: 'there' } })
    await kill(child)
    expect(await session.reap()).toBe(1)
  })

  it('has written nothing if it died right before the commit, and all of it right after (I1)', async () => {
    const session = await connect()
    for (const [name, expected] of [
      ['before', 0],
      ['after', 1],
    ] as const) {
      const child = await started(`killed ${name}`, `${name} commit`)
      child.send({ kind: 'commit', runIds: [name], park: false } satisfies Order)
      const [, signal] = await once(child, 'exit')
      expect(signal).toBe('SIGKILL')
      expect(await session.reap()).toBe(expected)
      expect((await session.read(name)) !== null).toBe(expected === 1)
    }
  })

  it('leaves nothing behind if it died before it was registered', async () => {
    const child = start('killed', 'before connect')
    await once(child, 'exit')
    expect(processFiles()).toHaveLength(1)
    await connect()
    expect(processFiles()).toHaveLength(1)
    await sessions.pop()?.close()
    expect(processFiles()).toHaveLength(0)
  })
})

describe('several processes on one file', () => {
  it('may all be the first to open it', async () => {
    const answers = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((name) => nextAnswer(start(name))))
    expect(answers).toEqual(answers.map(() => ({ kind: 'connected' })))
  })

  it('write at the same time, and claim every run exactly once (I3)', async () => {
    const names = ['a', 'b', 'c']
    const processes = await Promise.all(names.map((name) => started(name)))
    const runIds = names.map((name) => Array.from({ length: 100 }, (_, index) => `${name} ${index}`))
    await Promise.all(
      processes.map((child, index) => ask(child, { kind: 'commit', runIds: runIds[index] ?? [], park: true })),
    )
    const answers = await Promise.all(processes.map((child) => ask(child, { kind: 'claimAll' })))
    const claimed = answers.flatMap((answer) => (answer.kind === 'done' ? answer.runIds : [answer.kind]))
    expect(claimed.toSorted()).toEqual(runIds.flat().toSorted())
  })

  it('hint at what they write to whoever watches', async () => {
    const session = await connect()
    const child = await started('there')
    const hinted = new Promise<StoreHint>((resolve) => session.watch(resolve))
    await ask(child, { kind: 'commit', runIds: ['run'], park: false })
    expect(await hinted).toEqual({ kind: 'changed' })
  })

  it('are not kept alive by watching', async () => {
    const child = await started('there')
    child.send({ kind: 'watchAndLeave' } satisfies Order)
    const [code] = await once(child, 'exit')
    expect(code).toBe(0)
  })
})

describe('a file that somebody else has locked', () => {
  it('is waited for without blocking the event loop', async () => {
    const session = await connect()
    const child = await started('there')
    await ask(child, { kind: 'lock', ms: 300 })
    let turns = 0
    const counter = setInterval(() => turns++, 5)
    const from = performance.now()
    await session.send([{ id: 'evt', name: 'order', data: 'null' }])
    clearInterval(counter)
    expect(performance.now() - from).toBeGreaterThan(100)
    expect(turns).toBeGreaterThan(10)
  })

  it('is given up on after the busy timeout, as a transient error that says what to do', async () => {
    const session = await connect({ busyTimeoutMs: 50 })
    const child = await started('there')
    await ask(child, { kind: 'lock', ms: 400 })
    const sent = session.send([{ id: 'evt', name: 'order', data: 'null' }])
    await expect(sent).rejects.toMatchObject({
      name: 'StoreError',
      kind: 'transient',
      message: expect.stringMatching(/expected the write lock to come free.*\(code 5\).*another program/),
      cause: { errcode: 5 },
    })
    // Reading needs no lock.
    expect(await session.read('run')).toBeNull()
    await kill(child)
    expect(await session.send([{ id: 'evt', name: 'order', data: 'null' }])).toEqual({ signalled: [] })
  })
})

describe('a file that may not be written', () => {
  // Permissions mean nothing to root; then another user tries.
  const uid = process.getuid?.() === 0 ? 65_534 : undefined

  it('is refused with the reason', async () => {
    await connect()
    await sessions.pop()?.close()
    chmodSync(path, 0o444)
    chmodSync(directory, 0o555)
    const answer = await nextAnswer(start('nobody', '', uid))
    chmodSync(directory, 0o755)
    expect(answer).toMatchObject({ kind: 'failed', storeError: 'broken' })
    expect(answer).toMatchObject({ message: expect.stringMatching(/may write to.*permissions/) })
  })
})
