import { describe, expect, it } from 'vitest'
import { createApp, runIdOf, STACKS, useApps, YOGA_STACKS } from './harness.ts'
import type { App, AppSpec } from './harness.ts'

// Where a wait stands in the response (`responsePath`, as in `errors[].path`), and which it is whatever the order of a
// list (`path`).

useApps()

const ship = async (_: unknown, __: unknown, { step }: any) => {
  await step.waitForEvent('handover', { event: 'never' })
}

const spec: AppSpec = {
  typeDefs: `
    type Query { orders: [Order] places: [[Place]] one: Order @durable(id: "renamed") }
    type Order { id: ID ship: String }
    type Place { ship: String }`,
  resolvers: {
    Query: { orders: () => [{ id: 'b7' }, { id: 'a3' }], places: () => [[{}], [{}, {}]], one: () => ({ id: 'x' }) },
    Order: { ship },
    Place: { ship },
  },
  durable: { context: { capture: () => null }, hold: 0 },
}

interface Wait {
  readonly path: readonly string[]
  readonly responsePath: readonly (string | number)[] | null
}

async function waitsOf(app: App, runId: string): Promise<Wait[]> {
  const { body } = await app.ask(`{ durableRun(id: "${runId}") { waitingOn { path responsePath } } }`)
  return (body.data as any).durableRun.waitingOn
}

const byPath = (waits: readonly Wait[]) => waits.toSorted((a, b) => a.path.join().localeCompare(b.path.join()))

describe.each(STACKS)('with $server over $store, what a run waits for', (stack) => {
  it('has the paths of the entries in errors beside those by identity', async () => {
    const app = await createApp(stack, spec)
    const { body } = await app.ask('{ mine: orders { ship } }')
    const waits: Wait[] = body.extensions?.['durable'].waitingOn
    expect(waits.map(({ path }) => path)).toEqual([
      ['mine', 'b7', 'ship'],
      ['mine', 'a3', 'ship'],
    ])
    expect(waits.map(({ responsePath }) => responsePath)).toEqual(body.errors?.map(({ path }) => path))
    expect(waits[0]?.responsePath).toEqual(['mine', 0, 'ship'])

    const asked = await waitsOf(app, body.extensions?.['runId'])
    expect(byPath(asked)).toEqual(byPath(waits.map(({ path, responsePath }) => ({ path, responsePath }))))
    const own = await app.durable.runs.get(body.extensions?.['runId'])
    expect(byPath(own?.waitingOn ?? []).map(({ responsePath }) => responsePath)).toEqual([
      ['mine', 1, 'ship'],
      ['mine', 0, 'ship'],
    ])
  })

  it('has them in a process that does not know the run as far as they can be told, else null', async () => {
    const app = await createApp(stack, spec)
    const runId = runIdOf(await app.ask('{ places { ship } orders { ship } one { ship } }'))
    await app.restart({ durable: { ...spec.durable, worker: false } })
    const waits = byPath((await app.durable.runs.get(runId))?.waitingOn ?? [])
    expect(waits.map(({ path, responsePath }) => [path.join('.'), responsePath])).toEqual([
      ['orders.a3.ship', null],
      ['orders.b7.ship', null],
      ['places.0.0.ship', ['places', 0, 0, 'ship']],
      ['places.1.0.ship', ['places', 1, 0, 'ship']],
      ['places.1.1.ship', ['places', 1, 1, 'ship']],
      ['renamed.ship', null],
    ])
  })
})

describe.each(YOGA_STACKS)('over $store, GET {path}/{runId}', (stack) => {
  it('has both paths, too', async () => {
    const app = await createApp(stack, spec)
    const { body } = await app.ask('{ orders { ship } }')
    const pending = (await (await app.fetch(`/graphql/runs/${body.extensions?.['runId']}`)).json()) as any
    expect(byPath(pending.extensions.durable.waitingOn)).toEqual(byPath(body.extensions?.['durable'].waitingOn))
  })
})
