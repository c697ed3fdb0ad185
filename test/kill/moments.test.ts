import { afterEach, describe, expect, it } from 'vitest'
import { arm, expectNoStepTwice, report, runErrand } from './client.ts'
import type { Errand } from './client.ts'
import { World } from './world.ts'

// Kills in between commits: within a step, around the deferred payload, several in a row.

const worlds: World[] = []
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close()
})

const open = (env?: Record<string, string>): World => {
  const world = new World(env)
  worlds.push(world)
  return world
}

const checkout = (cart: string): Errand => ({
  name: `Checkout${cart}`,
  cart,
  query: `mutation Checkout${cart} { checkout(cart: "${cart}") }`,
})
const result = (cart: string) => ({ data: { checkout: `order ${cart}, 0, charged, reserved, Bob, shipped, mailed` } })
const STEPS = ['create', 'charge', 'reserve', 'ship', 'mail']

/** As in every-commit.test.ts. */
const RECOVERY_MS = 6_000

it(
  'a server that is killed within a step runs that step again, with the same idempotencyKey (I2)',
  { timeout: 120_000 },
  async () => {
    const world = open()
    const recoveries: number[] = []
    for (const step of STEPS) {
      for (const place of ['start', 'end'] as const) {
        const cart = `${step}-${place}`.replace('-', '_')
        await arm(world, `${place}:${step}`)
        const { body, deaths, recoveryMs, runId } = await runErrand(world, checkout(cart))
        expect(body).toEqual(result(cart))
        expect(deaths, cart).toBe(1)
        recoveries.push(recoveryMs)
        const effects = world.effects().filter((effect) => effect.runId === runId && effect.step === step)
        // The first step of a run that was never committed belongs to no run.
        const expected = place === 'end' && step !== 'create' ? 2 : 1
        expect(effects, cart).toHaveLength(expected)
        expect(new Set(effects.map((effect) => effect.idempotencyKey)).size).toBe(1)
        expect(new Set(effects.map((effect) => effect.pid)).size).toBe(expected)
      }
    }
    expectNoStepTwice(world)
    expect(Math.max(...recoveries)).toBeLessThan(RECOVERY_MS)
    report('killed within a step: from listening to the result', recoveries)
  },
)

describe('a server that is killed', () => {
  it.each(['payload', 'sent'])(
    'around the deferred payload (%s) has lost nothing, and told of nothing that is not there (I4)',
    async (moment) => {
      const world = open()
      await arm(world, moment)
      const { body, deaths } = await runErrand(world, checkout('1'))
      expect(body).toEqual(result('1'))
      expect(deaths).toBe(1)
      expectNoStepTwice(world)
      expect([...(world.deaths[0]?.committed.values() ?? [])][0]).toContain('checkout>create')
      expect(
        world
          .effects()
          .map(({ step }) => step)
          .toSorted(),
      ).toEqual(STEPS.toSorted())
    },
  )

  it('and comes back without a worker carries a run on when it is asked for', async () => {
    const world = open({ WORKER: 'off' })
    await arm(world, 'end:reserve')
    const { body, deaths } = await runErrand(world, checkout('1'))
    expect(body).toEqual(result('1'))
    expect(deaths).toBe(1)
    expectNoStepTwice(world)
  })

  it('by one of its steps, again and again, gives the run up in the end (I4)', { timeout: 60_000 }, async () => {
    const world = open()
    await arm(world, 'start:reserve')
    const { body, deaths, runId } = await runErrand(
      world,
      checkout('1'),
      Array.from({ length: 9 }, () => 'start:reserve'),
    )
    expect(body).toMatchObject({ data: null, errors: [{ extensions: { code: 'DURABLE_RESUME_FAILED', runId } }] })
    expect(deaths).toBe(5)
    expect(world.life).not.toBeNull()
  })

  it('while it starts is none the worse for it', { timeout: 60_000 }, async () => {
    const world = open()
    await arm(world, 'end:charge')
    const { body } = await runErrand(world, checkout('1'), ['before:1', 'after:1', 'before:2', 'after:2'])
    expect(body).toEqual(result('1'))
    expect(world.deaths.length).toBeGreaterThan(2)
    expectNoStepTwice(world)
  })
})

/** Mulberry32, as in the test clock: a seed is easy to quote. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const SEQUENCES = Number(process.env['DURABLE_KILLS'] ?? 4)
const FIRST_SEED = Number(process.env['DURABLE_SEED'] ?? 1)

describe('a server that is killed several times in a row, at moments drawn from a seed', () => {
  it.each(Array.from({ length: SEQUENCES }, (_, index) => FIRST_SEED + index))(
    'brings every run to the same end (seed %i; more with DURABLE_KILLS)',
    { timeout: 90_000 },
    async (seed) => {
      const draw = random(seed)
      const pick = <T>(from: readonly T[]): T => from[Math.floor(draw() * from.length)] as T
      const moment = (): string =>
        pick([
          () => `before:${1 + Math.floor(draw() * 9)}`,
          () => `after:${1 + Math.floor(draw() * 9)}`,
          () => `${pick(['start', 'end'])}:${pick(STEPS)}`,
        ])()
      const kills = Array.from({ length: 2 + Math.floor(draw() * 3) }, moment)
      const world = open()
      const { body } = await runErrand(world, checkout(`s${seed}`), kills)
      expect(body, kills.join(' ')).toEqual(result(`s${seed}`))
      expectNoStepTwice(world)
    },
  )
})

describe('two servers over one SQLite file', () => {
  it('one of which is killed: the other takes its runs over, in about two seconds', { timeout: 60_000 }, async () => {
    const world = open()
    const first = await world.start()
    const second = await world.start()
    const takeovers: number[] = []
    // Alternately: whoever is killed comes back before the next turn.
    let [victim, heir] = [first, second]
    for (let turn = 0; turn < 3; turn++) {
      if (!victim || !heir) throw new Error('A server did not start.')
      const cart = `t${turn}`
      const armed = await fetch(`${victim.url}/arm/${encodeURIComponent('end:reserve')}`, { method: 'POST' })
      expect(armed.ok).toBe(true)
      const response = await fetch(`${victim.url}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ query: checkout(cart).query }),
      })
      const { runId } = ((await response.json()) as any).extensions
      await victim.exit
      const diedAt = performance.now()
      await fetch(`${heir.url}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          query: `mutation { sendDurableEvent(name: "approved", data: { cart: "${cart}", by: "Bob" }) }`,
        }),
      })
      const ended = await fetch(`${heir.url}/graphql/runs/${runId}?wait=15`)
      expect(await ended.json()).toEqual(result(cart))
      takeovers.push(performance.now() - diedAt)
      const effects = world.effects().filter((effect) => effect.runId === runId)
      expect(effects.map(({ step }) => step)).toEqual(['create', 'charge', 'reserve', 'reserve', 'ship', 'mail'])
      expect(effects.map(({ pid }) => pid === heir?.child.pid)).toEqual([false, false, false, true, true, true])
      ;[victim, heir] = [heir, await world.start()]
    }
    expect(Math.max(...takeovers)).toBeLessThan(RECOVERY_MS)
    report('taken over by another process: from the death to the result', takeovers)
  })
})
