import { mkdtempSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { query, startPostgres } from '../test/support/postgres.ts'
import type { DatabaseServer } from './chaos.ts'
import { FAILOVERS, startPatroni } from './patroni.ts'
import type { Random } from './random.ts'
import type { StoreAddress, StoreName } from './stores.ts'

export interface CampaignDatabase {
  readonly address: StoreAddress
  readonly server: DatabaseServer | null
  /** What is left of the processes after all of them were closed. */
  leftovers(): Promise<readonly string[]>
  dispose(): Promise<void>
}

export async function openDatabase(
  name: StoreName,
  directory: string,
  say: (line: string) => void,
): Promise<CampaignDatabase> {
  if (name === 'sqlite') return openSqlite(directory)
  return name === 'patroni' ? openCluster(say) : openPostgres()
}

function openSqlite(directory: string): CampaignDatabase {
  const home = mkdtempSync(join(directory, 'store-'))
  const path = join(home, 'runs.db')
  return {
    address: { name: 'sqlite', path },
    server: null,
    async leftovers() {
      const database = new DatabaseSync(path)
      const count = (sql: string): number => Number(database.prepare(`select count(*) as n from ${sql}`).get()?.['n'])
      const found = [
        ...readdirSync(home)
          .filter((file) => file.includes('-process-'))
          .map((file) => `a lock file: ${file}`),
        ...some(count('processes'), 'registered processes'),
        ...some(count('runs where holder is not null'), 'runs with a holder'),
      ]
      database.close()
      return found
    },
    dispose: async () => {},
  }
}

const OURS = `application_name like 'graphql-durable%'`

async function openPostgres(): Promise<CampaignDatabase> {
  const postgres = await startPostgres()
  const { url } = postgres
  return {
    address: { name: 'postgres', connectionString: url },
    server: {
      terminateBackends: (random) => terminateSome(url, random),
      async restartImmediately() {
        await postgres.stop('immediate')
        await postgres.start()
      },
      failOver: null,
    },
    leftovers: () => leftoversOf(url),
    dispose: () => postgres.dispose(),
  }
}

/** In turn, so that a short campaign has had each of them. */
async function openCluster(say: (line: string) => void): Promise<CampaignDatabase> {
  const cluster = await startPatroni()
  let turn = 0
  return {
    address: { name: 'postgres', connectionString: cluster.connectionString },
    server: {
      terminateBackends: async (random) => terminateSome(await cluster.leaderUrl(), random),
      restartImmediately: () => cluster.failOver('postgres'),
      async failOver() {
        const what = FAILOVERS[turn++ % FAILOVERS.length] ?? 'switchover'
        const from = performance.now()
        say(`The leader: ${what}`)
        await cluster.failOver(what)
        say(`In order again after ${((performance.now() - from) / 1000).toFixed(1)} s`)
      },
    },
    leftovers: async () => leftoversOf(await cluster.leaderUrl()),
    dispose: () => cluster.dispose(),
  }
}

async function terminateSome(url: string, random: Random): Promise<number> {
  const rows = await query<{ pid: number }>(url, `select pid from pg_stat_activity where ${OURS} order by pid`)
  if (rows.length === 0) return 0
  const pids = Array.from({ length: random.between(1, 3) }, () => random.pick(rows).pid)
  await query(url, 'select pg_terminate_backend(pid) from unnest($1::int[]) as t (pid)', [pids])
  return new Set(pids).size
}

async function leftoversOf(url: string): Promise<readonly string[]> {
  const count = async (sql: string): Promise<number> =>
    Number((await query<{ n: string }>(url, `select count(*) as n from ${sql}`))[0]?.n)
  return [
    ...some(await count(`pg_stat_activity where ${OURS}`), 'connections'),
    ...some(await count(`pg_locks where locktype = 'advisory'`), 'advisory locks'),
    ...some(await count('durable.processes'), 'registered processes'),
    ...some(await count('durable.runs where holder is not null'), 'runs with a holder'),
    ...some(await count('durable.undispatched'), 'events that were not dispatched'),
  ]
}

function some(count: number, what: string): string[] {
  return count > 0 ? [`${count} ${what}`] : []
}
