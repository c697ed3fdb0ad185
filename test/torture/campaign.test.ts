import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { runCampaign } from '../../torture/campaign.ts'
import type { StoreAddress } from '../../torture/stores.ts'

/*
 * A bounded share of `npm run torture`: the same processes, clients, witness and checks, for less than half a minute.
 * docs/torture.md says what it does and what a long one gave.
 */

const directory = mkdtempSync(join(tmpdir(), 'durable-campaign-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

describe.each<StoreAddress['name']>(['sqlite', 'postgres'])('a campaign on %s', (store) => {
  it('loses no run, repeats no committed step, and leaves nothing behind (I1–I7, I11)', async () => {
    const summary = await runCampaign({
      store,
      minutes: 0.35,
      seed: `ci ${store}`,
      processes: 4,
      concurrency: 6,
      pauseMs: 100,
      leaseMs: 3_000,
      trouble: 0.01,
      perMinute: { kills: 24, freezes: 3, closes: 6, terminations: 12, restarts: 3, failovers: 0 },
      directory: join(directory, store),
    })
    expect(summary.violations).toEqual([])
    expect(summary.done.kills).toBeGreaterThan(0)
    expect(summary.acknowledged).toBeGreaterThan(5)
  }, 200_000)
})
