import { expect, it } from 'vitest'
import { decode, encode } from '../../src/core/codec.ts'
import type { DurableOptions } from '../../src/index.ts'
import type { Store } from '../../src/store/store.ts'
import { overStores, wrapped } from './world.ts'
import type { ServerOptions } from './world.ts'

class ObjectId {
  readonly hex: string
  constructor(hex: string) {
    this.hex = hex
  }
  toHexString(): string {
    return this.hex
  }
}

overStores('steps of list items', (world) => {
  /** Each item ships once, and its shipment is its own, though the list comes back in another order. */
  function shop(ids: readonly unknown[], durable: DurableOptions = {}): ServerOptions & { reverse(): void } {
    let list = ids.map((id, index) => ({ id, index }))
    return {
      typeDefs: 'type Item { index: Int ship: String } type Query { items: [Item] }',
      resolvers: {
        Query: { items: () => list },
        Item: {
          ship: async ({ index }, _args, { step }) => {
            const shipped = await step.run('ship', () => (world().log.push(`ship ${index}`), `shipment ${index}`))
            await step.sleep('pause', '10s')
            return shipped
          },
        },
      },
      durable,
      reverse: () => (list = list.toReversed()),
    }
  }

  async function replayed(ids: readonly unknown[], durable: DurableOptions = {}) {
    const options = shop(ids, durable)
    const first = world().serve(options)
    const { runId } = await first.ask('{ items { index ship } }')
    first.kill()
    options.reverse()
    const second = world().serve(options)
    const { result, steps } = await second.finish(runId)
    const data = (result as any).data.items.map(({ index, ship }: any) => `${index}: ${ship}`)
    return { data, steps, warnings: [...first.warnings, ...second.warnings].filter((text) => text.includes('Item')) }
  }
  const own = (count: number) => Array.from({ length: count }, (_, n) => `${n}: shipment ${n}`).toReversed()

  it.each([
    ['bigints', [1n, 2n, 3n]],
    ['ObjectIds', [new ObjectId('a1'), new ObjectId('a2')]],
    ['Buffers', [Buffer.from('a'), Buffer.from('b')]],
    ['Dates', [new Date(1), new Date(2)]],
    ['numbers and texts that read alike', [1, '1', 1n, '=1']],
  ])('follow their items where these are known by %s', async (_title, ids) => {
    const { data, warnings } = await replayed(ids)
    expect(data).toEqual(own(ids.length))
    expect(world().log).toHaveLength(ids.length)
    expect(warnings).toEqual([])
  })

  it('follow their items by whatever identify gives', async () => {
    const ids = [1, '1', new ObjectId('1')]
    const { data } = await replayed(ids, { identify: (source) => (source as { id: ObjectId }).id })
    expect(data).toEqual(own(3))
  })

  it('are named by places where an id is none, and that is said', async () => {
    const options = shop([
      { tenant: 1, id: 1 },
      { tenant: 1, id: 2 },
    ])
    const server = world().serve(options)
    const { runId } = await server.ask('{ items { index ship } }')
    const { steps } = await server.finish(runId)
    expect(steps.map(({ id }) => id)).toContain('items.[1].ship>ship')
    expect(server.warnings.filter((text) => text.includes('the id of Item'))).toHaveLength(1)
  })

  it('are not warned of where an operation has no steps', async () => {
    const server = world().serve(shop([{ no: 'id' }]))
    expect((await server.ask('{ items { index } }')).data).toEqual({ items: [{ index: 0 }] })
    expect(server.warnings).toEqual([])
  })

  it('of runs from before texts and numbers were told apart are still found', async () => {
    const options = shop([7, 'x'])
    const first = world().serve(options)
    const { runId } = await first.ask('{ items { ship } }')
    first.kill()
    expect(world().log.splice(0)).toHaveLength(2)
    const second = world().serve({ ...options, durable: { store: asBefore(world().store) } })
    const { result, steps } = await second.finish(runId)
    expect(result).toEqual({ data: { items: [{ ship: 'shipment 0' }, { ship: 'shipment 1' }] } })
    expect(world().log).toEqual([])
    expect(steps.map(({ id }) => id)).toContain('items.[:7].ship>ship')
  })
})

/** As an earlier version wrote it: numbers without their mark, and an input that says nothing of identities. */
function asBefore(store: Store): Store {
  const plain = (key: string): string => key.replace('[:=', '[:')
  const before = <T extends { input?: string | null; journal?: readonly any[] | null; waits?: readonly any[] }>(
    loaded: T,
  ): T => ({
    ...loaded,
    ...(loaded.input && { input: encode({ ...(decode(loaded.input) as object), identities: undefined }) }),
    ...(loaded.journal && { journal: loaded.journal.map((outcome) => ({ ...outcome, key: plain(outcome.key) })) }),
    ...(loaded.waits && { waits: loaded.waits.map((wait) => ({ ...wait, key: plain(wait.key) })) }),
  })
  return wrapped(store, (session) => ({
    read: async (...args) => {
      const view = await session.read(...args)
      return view && before(view)
    },
    claim: async (...args) => {
      const receipt = await session.claim(...args)
      const claimed = receipt.claimed.map((each) => ({ ...each, loaded: each.loaded && before(each.loaded) }))
      return { ...receipt, claimed }
    },
  }))
}
