import { afterEach, describe, expect, it } from 'vitest'
import { arm, expectNoStepTwice, findRun, report, runErrand } from './client.ts'
import type { Done, Errand } from './client.ts'
import { World } from './world.ts'

// A server that is killed right before and right after every commit that it makes (I1, I2, I4).

const worlds: World[] = []
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close()
})

const open = (): World => {
  const world = new World()
  worlds.push(world)
  return world
}

/** A restart on the same host is through with a run in two seconds; a machine under load gets more. */
const RECOVERY_MS = 6_000

/**
 * The first kill is at the first commit, the second at the second, and so on, until an errand is done before its kill
 * has come.
 */
async function killAtEveryCommit(
  phase: 'before' | 'after',
  errandOf: (cart: string) => Errand,
  check: (done: Done, cart: string, world: World) => void,
  { from = 1, stride = 1 } = {},
): Promise<number> {
  const world = open()
  const recoveries: number[] = []
  let kills = 0
  for (let nth = from; ; nth += stride) {
    const cart = String(nth)
    await arm(world, `${phase}:${nth}`)
    const done = await runErrand(world, errandOf(cart))
    check(done, cart, world)
    kills += done.deaths
    if (done.deaths === 0) break
    recoveries.push(done.recoveryMs)
  }
  expectNoStepTwice(world)
  expect(Math.max(...recoveries)).toBeLessThan(RECOVERY_MS)
  report(`killed ${phase} each commit of ${errandOf('').name}: from listening to the result`, recoveries)
  return kills
}

describe.each(['before', 'after'] as const)('a server that is killed %s the n-th commit, for every n,', (phase) => {
  it('gives every checkout the same result, and repeats no committed step', { timeout: 180_000 }, async () => {
    const kills = await killAtEveryCommit(
      phase,
      (cart) => ({ name: `Checkout${cart}`, cart, query: `mutation Checkout${cart} { checkout(cart: "${cart}") }` }),
      ({ body }, cart) =>
        expect(body).toEqual({
          data: { checkout: `order ${cart}, 0, charged, reserved, Bob, shipped, mailed` },
        }),
    )
    expect(kills).toBeGreaterThan(8)
  })

  it('does not execute a finished root field of a mutation again (I10)', { timeout: 180_000 }, async () => {
    const kills = await killAtEveryCommit(
      phase,
      (cart) => ({
        name: `Several${cart}`,
        cart,
        query: `mutation Several${cart} {
          first: note(text: "first ${cart}") checkout(cart: "${cart}") last: note(text: "last ${cart}")
        }`,
      }),
      ({ body, runId }, cart, world) => {
        expect(body).toEqual({
          data: {
            first: `first ${cart}`,
            checkout: `order ${cart}, 0, charged, reserved, Bob, shipped, mailed`,
            last: `last ${cart}`,
          },
        })
        const effects = world.effects()
        const isCalled = (field: string) => (effect: { note?: string }) => effect.note === `${field} ${cart}`
        expect(effects.findIndex(isCalled('first'))).toBeLessThan(effects.findIndex(isCalled('last')))
        for (const death of world.deaths) {
          for (const field of ['first', 'last']) {
            if (!death.committed.get(runId ?? '')?.has(`${field}>`)) continue
            expect(effects.slice(death.effects).some(isCalled(field)), `${field} ${cart} again`).toBe(false)
          }
        }
      },
      { from: phase === 'before' ? 1 : 2, stride: 2 },
    )
    expect(kills).toBeGreaterThan(5)
  })

  it('stores the result of an operation that was answered at once', { timeout: 120_000 }, async () => {
    const world = open()
    let isOver = false
    for (let nth = 1; !isOver; nth++) {
      const cart = String(nth)
      const errand = { name: `Quick${cart}`, cart, query: `mutation Quick${cart} { quick(cart: "${cart}") }` }
      await arm(world, `${phase}:${nth}`)
      const { body, deaths } = await runErrand(world, errand)
      const data = { quick: `order ${cart}, charged` }
      expect(body).toEqual({ data })
      // The answer does not wait for its commit: what was left undone is found and done by the next server.
      const run = await findRun(world, errand.name)
      expect(run).toEqual({ status: 'COMPLETED', result: { data } })
      isOver = deaths === 0 && world.life !== null && world.deaths.length < nth
    }
    expectNoStepTwice(world)
    expect(world.deaths.length).toBeGreaterThanOrEqual(3)
  })
})
