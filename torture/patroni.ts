import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chownSync,
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort, query } from '../test/support/postgres.ts'

/*
 * A cluster as it is run: on each of three "hosts" a PostgreSQL, the Patroni that looks after it, and a member of etcd,
 * all on loopback. Commits are answered once a synchronous standby has them. Needs Debian's packages `patroni`,
 * `etcd-server` and `postgresql`.
 */

const HOSTS = 3
/** What the figures in docs/postgres-production.md were made with. Patroni wants ttl >= loop_wait + 2 * retry_timeout. */
const PATRONI_SETTINGS = { ttl: 20, loop_wait: 5, retry_timeout: 5, synchronous_mode: true }
const PATIENCE_MS = 120_000
/** PostgreSQL refuses to run as root: then all of it runs as `nobody`. */
const NOBODY = 65_534
const isRoot = process.getuid?.() === 0

export type Failover = 'host' | 'host and etcd' | 'postgres' | 'switchover' | 'freeze'
export const FAILOVERS: readonly Failover[] = ['host', 'host and etcd', 'postgres', 'switchover', 'freeze']

export interface PatroniCluster {
  /** Names all hosts. */
  readonly connectionString: string
  /** Does it to the leader, and resolves once all hosts are in good order again. */
  failOver(what: Failover): Promise<void>
  /** Of the present leader. */
  leaderUrl(): Promise<string>
  dispose(): Promise<void>
}

/** Why there can be no cluster on this machine; null: there can. */
export function whyNoPatroni(): string | null {
  if (process.platform !== 'linux') return 'it freezes processes that it finds in /proc'
  const missing = ['patroni', 'etcd'].filter((command) => spawnSync(command, ['--version']).error !== undefined)
  if (missing.length > 0) return `there is no ${missing.join(' and no ')} (Debian: patroni, etcd-server)`
  return binaries() === null ? 'there is no /usr/lib/postgresql (Debian: postgresql)' : null
}

function binaries(): string | null {
  const home = '/usr/lib/postgresql'
  const [latest] = existsSync(home) ? readdirSync(home).toSorted((a, b) => Number(b) - Number(a)) : []
  return latest === undefined ? null : join(home, latest, 'bin')
}

interface Host {
  readonly name: string
  readonly directory: string
  readonly ports: { readonly postgres: number; readonly rest: number; readonly client: number; readonly peer: number }
  etcd: ChildProcess | null
  patroni: ChildProcess | null
}

interface Member {
  readonly name: string
  readonly role: string
  readonly state: string
  readonly timeline?: number
}

export async function startPatroni(): Promise<PatroniCluster> {
  const directory = mkdtempSync(join(tmpdir(), 'durable-patroni-'))
  if (isRoot) chownSync(directory, NOBODY, NOBODY)
  const hosts: Host[] = []
  for (let n = 1; n <= HOSTS; n++) hosts.push(await makeHost(directory, `host${n}`))
  for (const host of hosts) startEtcd(host, hosts)
  for (const host of hosts) {
    writeFileSync(join(host.directory, 'patroni.json'), JSON.stringify(configOf(host, hosts)))
    startPatroniOn(host)
  }

  const urlOf = ({ ports }: Host): string => `postgres://postgres@127.0.0.1:${ports.postgres}/postgres`

  async function members(): Promise<readonly Member[]> {
    for (const { ports } of hosts) {
      try {
        const signal = AbortSignal.timeout(2_000)
        const response = await fetch(`http://127.0.0.1:${ports.rest}/cluster`, { signal })
        return ((await response.json()) as { members: Member[] }).members // Patroni's REST API
      } catch {
        // This one is frozen, or gone.
      }
    }
    return []
  }

  /** A leader, a synchronous standby, and everybody else following. */
  async function inOrder(): Promise<boolean> {
    const all = await members()
    const leader = all.find(({ role }) => role === 'leader')
    const host = hosts.find(({ name }) => name === leader?.name)
    return (
      host !== undefined &&
      all.length === HOSTS &&
      all.every(({ state, timeline }) => /^(running|streaming)$/.test(state) && timeline === leader?.timeline) &&
      all.some(({ role }) => role === 'sync_standby') &&
      // What Patroni says of it may be a moment old.
      (await query(urlOf(host), 'select 1').then(
        () => true,
        () => false,
      ))
    )
  }

  async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
    const giveUpAt = performance.now() + PATIENCE_MS
    while (performance.now() < giveUpAt) {
      if (await holds()) return
      await sleep(250)
    }
    throw new Error(`The cluster was not ${what} after ${PATIENCE_MS} ms: ${JSON.stringify(await members())}`)
  }

  async function leader(): Promise<Host> {
    const name = (await members()).find(({ role }) => role === 'leader')?.name
    const host = hosts.find((each) => each.name === name)
    if (host) return host
    throw new Error('The cluster has no leader.')
  }

  const untilLedByAnother = (than: Host): Promise<void> =>
    until('led by another host', async () => {
      const others = (await members()).filter(({ name }) => name !== than.name)
      return others.some(({ role, state }) => role === 'leader' && state === 'running')
    })

  const acts: Readonly<Record<Failover, (host: Host) => Promise<void>>> = {
    async host(host) {
      for (const pid of processesOf(host.patroni, host)) signalTo(pid, 'SIGKILL')
      await untilLedByAnother(host)
      startPatroniOn(host)
    },
    async 'host and etcd'(host) {
      for (const pid of [...processesOf(host.patroni, host), ...processesOf(host.etcd, null)]) signalTo(pid, 'SIGKILL')
      await untilLedByAnother(host)
      startEtcd(host, hosts)
      startPatroniOn(host)
    },
    async postgres(host) {
      for (const pid of serverProcesses(host)) signalTo(pid, 'SIGKILL')
      await sleep(1_000) // until Patroni has noticed: it starts it again, or hands over
    },
    async switchover(host) {
      const candidate = (await members()).find(({ role }) => role === 'sync_standby')?.name
      await fetch(`http://127.0.0.1:${host.ports.rest}/switchover`, {
        method: 'POST',
        body: JSON.stringify({ leader: host.name, candidate }),
      })
      await untilLedByAnother(host)
    },
    async freeze(host) {
      // Twice: those that were forked while the first list was made.
      for (let round = 0; round < 2; round++) {
        for (const pid of processesOf(host.patroni, host)) signalTo(pid, 'SIGSTOP')
      }
      await untilLedByAnother(host)
      await sleep(3_000) // the others are at work for a while before the old leader comes back
      // The server first: Patroni, which would take it out of service, is a moment behind, as it may well be.
      for (const pid of serverProcesses(host)) signalTo(pid, 'SIGCONT')
      await sleep(1_000)
      for (const pid of processesOf(host.patroni, host)) signalTo(pid, 'SIGCONT')
    },
  }

  try {
    await until('ready', inOrder)
  } catch (error) {
    await stopAll(hosts)
    throw error
  }
  return {
    connectionString: `postgres://postgres@${hosts.map(({ ports }) => `127.0.0.1:${ports.postgres}`).join(',')}/postgres`,
    async failOver(what) {
      await acts[what](await leader())
      await until('in order again', inOrder)
    },
    leaderUrl: async () => urlOf(await leader()),
    async dispose() {
      await stopAll(hosts)
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

async function makeHost(parent: string, name: string): Promise<Host> {
  const directory = join(parent, name)
  mkdirSync(directory)
  if (isRoot) chownSync(directory, NOBODY, NOBODY)
  const ports = {
    postgres: await freePort(),
    rest: await freePort(),
    client: await freePort(),
    peer: await freePort(),
  }
  return { name, directory, ports, etcd: null, patroni: null }
}

function startEtcd(host: Host, hosts: readonly Host[]): void {
  const { name, ports, directory } = host
  const isNew = !existsSync(join(directory, 'etcd'))
  const flags = {
    name,
    'data-dir': join(directory, 'etcd'),
    'listen-client-urls': `http://127.0.0.1:${ports.client}`,
    'advertise-client-urls': `http://127.0.0.1:${ports.client}`,
    'listen-peer-urls': `http://127.0.0.1:${ports.peer}`,
    'initial-advertise-peer-urls': `http://127.0.0.1:${ports.peer}`,
    'initial-cluster': hosts.map((each) => `${each.name}=http://127.0.0.1:${each.ports.peer}`).join(','),
    'enable-v2': true,
    'initial-cluster-state': isNew ? 'new' : 'existing',
  }
  host.etcd = start(
    host,
    'etcd',
    Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`),
  )
}

function startPatroniOn(host: Host): void {
  host.patroni = start(host, 'patroni', [join(host.directory, 'patroni.json')])
}

function start(host: Host, command: string, args: readonly string[]): ChildProcess {
  const child = spawn(command, args, {
    cwd: host.directory,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, HOME: host.directory },
    ...(isRoot && { uid: NOBODY, gid: NOBODY }),
  })
  const log = createWriteStream(join(host.directory, `${command}.log`), { flags: 'a' })
  child.stdout.pipe(log)
  child.stderr.pipe(log)
  return child
}

function configOf({ name, directory, ports }: Host, hosts: readonly Host[]): object {
  const address = `127.0.0.1:${ports.postgres}`
  return {
    scope: 'durable',
    name,
    restapi: { listen: `127.0.0.1:${ports.rest}`, connect_address: `127.0.0.1:${ports.rest}` },
    // Not its third API: through that, Patroni 3.0 writes its name over another leader's after it was frozen.
    etcd: { hosts: hosts.map((each) => `127.0.0.1:${each.ports.client}`) },
    bootstrap: {
      dcs: {
        ...PATRONI_SETTINGS,
        postgresql: { use_pg_rewind: true, parameters: { max_connections: 200, wal_keep_size: '256MB' } },
      },
      initdb: [{ encoding: 'UTF8' }, { locale: 'C' }, 'data-checksums'],
    },
    postgresql: {
      listen: address,
      connect_address: address,
      data_dir: join(directory, 'data'),
      bin_dir: binaries(),
      pgpass: join(directory, 'pgpass'),
      authentication: {
        superuser: { username: 'postgres', password: 'x' },
        replication: { username: 'replicator', password: 'x' },
        rewind: { username: 'rewinder', password: 'x' },
      },
      parameters: { unix_socket_directories: directory },
      pg_hba: ['local all all trust', 'host all all 127.0.0.1/32 trust', 'host replication all 127.0.0.1/32 trust'],
      // A leader that is killed while another rewinds from it leaves that one with half a copy.
      remove_data_directory_on_rewind_failure: true,
      remove_data_directory_on_diverged_timelines: true,
    },
  }
}

interface Process {
  readonly pid: number
  readonly parent: number
  readonly command: string
}

function allProcesses(): Process[] {
  const { stdout } = spawnSync('ps', ['-eo', 'pid=,ppid=,args='], { encoding: 'utf8' })
  return stdout.split('\n').flatMap((line) => {
    const [, pid, parent, command = ''] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? []
    return pid === undefined ? [] : [{ pid: Number(pid), parent: Number(parent), command }]
  })
}

/** A process with all that came of it; of a host also its server, which outlives the Patroni that started it. */
function processesOf(child: ChildProcess | null, host: Host | null): number[] {
  const all = allProcesses()
  const found = new Set<number>(host ? serverProcesses(host, all) : [])
  if (child?.pid !== undefined && child.exitCode === null && child.signalCode === null) found.add(child.pid)
  return [...withDescendants(found, all)]
}

/** The server is known by its data directory; its other processes are its children. */
function serverProcesses({ directory }: Host, all: readonly Process[] = allProcesses()): number[] {
  const servers = all.filter(
    ({ command }) => /(^|\/)postgres /.test(command) && command.includes(`${join(directory, 'data')} `),
  )
  return [...withDescendants(new Set(servers.map(({ pid }) => pid)), all)]
}

function withDescendants(found: Set<number>, all: readonly Process[]): Set<number> {
  for (let before = -1; before !== found.size;) {
    before = found.size
    for (const { pid, parent } of all) if (found.has(parent)) found.add(pid)
  }
  return found
}

function signalTo(pid: number, name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void {
  try {
    process.kill(pid, name)
  } catch {
    // It has ended, perhaps with its parent.
  }
}

async function stopAll(hosts: readonly Host[]): Promise<void> {
  const children = hosts.flatMap(({ patroni, etcd }) => [patroni, etcd]).filter((child) => child !== null)
  const isRunning = (child: ChildProcess): boolean => child.exitCode === null && child.signalCode === null
  const exits = children.filter(isRunning).map((child) => once(child, 'exit'))
  for (const host of hosts) {
    const pids = [...processesOf(host.patroni, host), ...processesOf(host.etcd, null)]
    for (const pid of pids) signalTo(pid, 'SIGKILL')
  }
  await Promise.all(exits)
}
