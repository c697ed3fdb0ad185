import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { freePort, query, sleep } from './postgres.ts'

/** A pooler in front of a server, on loopback. */
export interface Pooler {
  readonly url: string
  dispose(): Promise<void>
}

export interface PoolerOptions {
  readonly mode: 'session' | 'transaction'
  /** Connections to the server. Default 20. */
  readonly size?: number
}

/** PgBouncer refuses to run as root: then it runs as `nobody`. */
const NOBODY = 65_534
const isRoot = process.getuid?.() === 0
const PATIENCE_MS = 10_000
/** Where distributions put it, which is not on everybody's PATH. */
const PATH = [process.env['PATH'], '/usr/sbin'].join(delimiter)

export function hasPgbouncer(): boolean {
  return spawnSync('pgbouncer', ['--version'], { env: { ...process.env, PATH } }).status === 0
}

export async function startPooler(serverUrl: string, { mode, size = 20 }: PoolerOptions): Promise<Pooler> {
  const directory = mkdtempSync(join(tmpdir(), 'durable-pgbouncer-'))
  const { hostname, port: serverPort } = new URL(serverUrl)
  const port = await freePort()
  const settings = {
    listen_addr: '127.0.0.1',
    listen_port: port,
    unix_socket_dir: '',
    auth_type: 'any',
    pool_mode: mode,
    default_pool_size: size,
    max_client_conn: 200,
  }
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`)
  const config = join(directory, 'pgbouncer.ini')
  const databases = `[databases]\n* = host=${hostname} port=${serverPort} user=postgres\n`
  writeFileSync(config, `${databases}[pgbouncer]\n${lines.join('\n')}\n`)
  if (isRoot) for (const path of [directory, config]) chownSync(path, NOBODY, NOBODY)

  // The shell lives as long as its standard input: a test that is killed leaves no pooler behind.
  const script = 'exec 3<&0; "$0" "$@" 3<&- & pid=$!; (read -r _ <&3; kill -TERM $pid) & wait $pid'
  const child = spawn('sh', ['-c', script, 'pgbouncer', '-q', config], {
    stdio: ['pipe', 'ignore', 'pipe'],
    env: { ...process.env, PATH },
    cwd: tmpdir(),
    ...(isRoot && { uid: NOBODY, gid: NOBODY }),
  })
  let log = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (log += text))
  const exited = once(child, 'exit')
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`
  await untilReady(url, () => log)
  return {
    url,
    async dispose() {
      child.stdin.destroy()
      await exited
      rmSync(directory, { recursive: true })
    },
  }
}

async function untilReady(url: string, log: () => string): Promise<void> {
  const giveUpAt = performance.now() + PATIENCE_MS
  for (;;) {
    try {
      await query(url, 'select 1')
      return
    } catch (cause) {
      if (performance.now() > giveUpAt) throw new Error(`PgBouncer did not come up:\n${log()}`, { cause })
      await sleep(20)
    }
  }
}
