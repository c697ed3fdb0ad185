import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { runCampaign } from './campaign.ts'
import type { Summary } from './campaign.ts'
import { whyNoPatroni } from './patroni.ts'

/*
 * npm run torture -- --store=postgres --minutes=15 --processes=5 --seed=1
 *
 * Each flag may come from the environment as well: TORTURE_MINUTES and so on. Exits with 1 on a violation; what the
 * witness and the processes wrote is kept then, and with --keep.
 */

const { values } = parseArgs({
  options: {
    store: { type: 'string', default: process.env['TORTURE_STORE'] ?? 'postgres' },
    minutes: { type: 'string', default: process.env['TORTURE_MINUTES'] ?? '1' },
    processes: { type: 'string', default: process.env['TORTURE_PROCESSES'] ?? '5' },
    seed: { type: 'string', default: process.env['TORTURE_SEED'] ?? String(Date.now() % 1_000_000) },
    clients: { type: 'string', default: process.env['TORTURE_CLIENTS'] ?? '10' },
    kills: { type: 'string', default: process.env['TORTURE_KILLS'] ?? '38' },
    freezes: { type: 'string', default: process.env['TORTURE_FREEZES'] ?? '4' },
    failovers: { type: 'string', default: process.env['TORTURE_FAILOVERS'] ?? '1' },
    keep: { type: 'boolean', default: false },
  },
})
const { store } = values
if (store !== 'sqlite' && store !== 'postgres' && store !== 'patroni') {
  throw new TypeError(`Expected --store to be sqlite, postgres or patroni, but got ${store}.`)
}
const reason = store === 'patroni' ? whyNoPatroni() : null
if (reason !== null) {
  say(`Skipped: a cluster cannot be set up here, ${reason}.`)
  process.exit()
}

const directory = mkdtempSync(join(tmpdir(), 'durable-torture-'))
say(`Store ${store}, seed ${values.seed}, ${values.minutes} minutes; logs in ${directory}`)
const interrupted = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => interrupted.abort())
const summary = await runCampaign({
  store,
  minutes: Number(values.minutes),
  seed: values.seed,
  processes: Number(values.processes),
  concurrency: Number(values.clients),
  pauseMs: 200,
  leaseMs: 3_000,
  trouble: 0.01,
  perMinute: {
    kills: Number(values.kills),
    freezes: Number(values.freezes),
    closes: 4,
    terminations: 8,
    restarts: store === 'postgres' ? 0.6 : 0,
    failovers: store === 'patroni' ? Number(values.failovers) : 0,
  },
  directory,
  onProgress: say,
  signal: interrupted.signal,
})
for (const line of table(summary)) say(line)
for (const violation of summary.violations.slice(0, 50)) say(`VIOLATION: ${violation}`)
if (summary.violations.length > 0) process.exitCode = 1
else if (!values.keep) rmSync(directory, { recursive: true })

function table({ done, afterKills, afterFreezes, pauses, ...all }: Summary): string[] {
  const ms = (value: number): string => `${(value / 1000).toFixed(2)} s`
  const rows: [string, string | number][] = [
    ['operations', all.operations],
    ['  acknowledged', all.acknowledged],
    ['requests', all.requests],
    ['side effects begun', all.effects],
    ['processes started', all.lives],
    ['kills', done.kills],
    ['freezes', done.freezes],
    ['graceful closes', done.closes],
    ['connections cut', done.terminations],
    ['database restarts', done.restarts],
    ['calls of the store made to fail', all.faults],
    ['given up after 5 deaths in a row', all.givenUp],
    ['takeovers after kills', afterKills.count],
    ['  p50', ms(afterKills.p50)],
    ['  p99', ms(afterKills.p99)],
    ['  max', ms(afterKills.max)],
    ['takeovers after freezes', afterFreezes.count],
    ['  p50', ms(afterFreezes.p50)],
    ['  max', ms(afterFreezes.max)],
    ['failovers', done.failovers],
    ['  without a commit: p50', ms(pauses.p50)],
    ['  max', ms(pauses.max)],
    ['violations', all.violations.length],
  ]
  return ['', ...rows.map(([name, value]) => `| ${name.padEnd(32)} | ${String(value).padStart(9)} |`), '']
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
