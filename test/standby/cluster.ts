import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, cpSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { Client } from 'pg'
import { freePort, query, sleep, startPostgres } from '../support/postgres.ts'

/** The primary has to be one that a test may kill, and whose processes it can see: on this machine, on Linux. */
export const reason =
  process.platform !== 'linux'
    ? 'it takes the processes of a server from /proc'
    : process.env['DATABASE_URL'] !== undefined
      ? 'DATABASE_URL names a server, and this test has to kill its own'
      : null

/** A primary, and a standby that has every commit before it is answered, or, asynchronous, a moment later. */
export interface Cluster {
  /** Names both. */
  readonly connectionString: string
  readonly standbyUrl: string
  /** The standby hears nothing more of the primary. */
  cutReplication(): Promise<void>
  /** What a power failure of its host does: the primary and all of its processes are gone at once. */
  killPrimary(): Promise<void>
  /** What a hung disk or a paused machine does: the primary and all of its processes stand still, and refuse nothing. */
  freezePrimary(): void
  thawPrimary(): void
  promote(): Promise<void>
  dispose(): Promise<void>
}

/** PostgreSQL refuses to run as root: then it runs as `nobody`. */
const NOBODY = 65_534
const isRoot = process.getuid?.() === 0

export async function startCluster({ synchronous }: { readonly synchronous: boolean }): Promise<Cluster> {
  const primary = await startPostgres({
    settings: { wal_level: 'replica', max_wal_senders: 5, wal_keep_size: '256MB' },
  })
  const [settings] = await query<{ data: string }>(primary.url, `select current_setting('data_directory') as data`)
  const data = settings?.data ?? ''
  const pid = Number(readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')[0])
  const binary = readlinkSync(`/proc/${pid}/exe`)
  const directory = mkdtempSync(join(tmpdir(), 'durable-standby-'))
  const copy = join(directory, 'data')
  await backUp(primary.url, data, copy)
  const conninfo = `host=127.0.0.1 port=${primary.port} user=postgres application_name=standby`
  writeFileSync(join(copy, 'postgresql.auto.conf'), `primary_conninfo = '${conninfo}'\n`)
  writeFileSync(join(copy, 'standby.signal'), '')
  if (isRoot) giveToNobody(directory)

  const port = await freePort()
  const standbyUrl = `postgres://postgres@127.0.0.1:${port}/postgres`
  const flags = { port, listen_addresses: '127.0.0.1', unix_socket_directories: '', max_connections: 200 }
  const standby = spawn(
    binary,
    ['-D', copy, ...Object.entries(flags).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
    { stdio: 'ignore', cwd: tmpdir(), ...(isRoot && { uid: NOBODY, gid: NOBODY }) },
  )
  await until(async () => (await query(standbyUrl, 'select 1')).length === 1)
  // From here on a commit is answered once the standby has it on its disk.
  if (synchronous) await query(primary.url, `alter system set synchronous_standby_names = 'standby'`)
  await query(primary.url, 'select pg_reload_conf()')
  await until(async () => {
    const rows = await query<{ state: string }>(primary.url, 'select sync_state as state from pg_stat_replication')
    return rows[0]?.state === (synchronous ? 'sync' : 'async')
  })

  return {
    connectionString: `postgres://postgres@127.0.0.1:${primary.port},127.0.0.1:${port}/postgres`,
    standbyUrl,
    async cutReplication() {
      await query(standbyUrl, `alter system set primary_conninfo = ''`)
      await query(standbyUrl, 'select pg_reload_conf()')
      await until(async () => (await query(standbyUrl, 'select pid from pg_stat_wal_receiver')).length === 0)
    },
    async killPrimary() {
      for (const each of processesOf(pid)) signal(each, 'SIGKILL')
    },
    freezePrimary() {
      for (const each of processesOf(pid)) signal(each, 'SIGSTOP')
      // Those that it forked while the list was made.
      for (const each of processesOf(pid)) signal(each, 'SIGSTOP')
    },
    thawPrimary() {
      for (const each of processesOf(pid).toReversed()) signal(each, 'SIGCONT')
    },
    async promote() {
      await query(standbyUrl, 'select pg_promote()')
    },
    async dispose() {
      for (const each of processesOf(pid)) signal(each, 'SIGCONT')
      await end(standby)
      // It was killed, perhaps, and then there is nothing to stop.
      await primary.dispose().catch(() => rmSync(dirname(data), { recursive: true, force: true }))
      rmSync(directory, { recursive: true })
    },
  }
}

/** An online base backup, by the server's own functions: no tool for it comes with the package. */
async function backUp(url: string, from: string, to: string): Promise<void> {
  const client = new Client({ connectionString: url })
  await client.connect()
  await client.query(`select pg_backup_start('standby', true)`)
  cpSync(from, to, {
    recursive: true,
    filter: (path) =>
      !/^(postmaster\.(pid|opts)|pg_wal\/.+|pg_replslot\/.+|pg_stat_tmp\/.+)$/.test(relative(from, path)),
  })
  const { rows } = await client.query<{ labelfile: string }>('select labelfile from pg_backup_stop(false)')
  writeFileSync(join(to, 'backup_label'), rows[0]?.labelfile ?? '')
  await client.end()
}

function giveToNobody(path: string): void {
  chownSync(path, NOBODY, NOBODY)
  for (const entry of readdirSync(path, { recursive: true, encoding: 'utf8' })) {
    chownSync(join(path, entry), NOBODY, NOBODY)
  }
}

/** A server's own process first, then those that it has forked. */
function processesOf(server: number): number[] {
  const { stdout } = spawnSync('ps', ['-o', 'pid=', '--ppid', String(server)], { encoding: 'utf8' })
  return [server, ...stdout.trim().split(/\s+/).filter(Boolean).map(Number)]
}

function signal(pid: number, name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void {
  try {
    process.kill(pid, name)
  } catch {
    // It has ended, perhaps with its parent.
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGINT')
  await once(child, 'exit')
}

async function until(look: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    if (await look().catch(() => false)) return
    await sleep(50)
  }
  throw new Error('The standby did not come up.')
}
