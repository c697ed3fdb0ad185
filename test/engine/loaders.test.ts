import { expect, it } from 'vitest'
import { step as ambient } from '../../src/index.ts'
import { overStores } from './world.ts'
import type { Resolver } from './world.ts'

/*
 * Steps in the batch function of a loader (docs/writing-resolvers.md, "Loaders"): refused where that can be told, and
 * harmless around a load.
 */

/** Gathers keys, and asks for them when the microtasks have drained, in the asynchronous context of the first: as DataLoader does. */
function loaderOf<T>(batch: (keys: readonly string[]) => Promise<readonly T[]>): (key: string) => Promise<T> {
  let waiting: { key: string; resolve(value: T): void; reject(error: unknown): void }[] = []
  const dispatch = (): void => {
    const asked = waiting
    waiting = []
    batch(asked.map(({ key }) => key)).then(
      (values) => asked.forEach(({ resolve }, index) => resolve(values[index] as T)), // one for each key
      (error: unknown) => asked.forEach(({ reject }) => reject(error)),
    )
  }
  return (key) =>
    new Promise((resolve, reject) => {
      if (waiting.push({ key, resolve, reject }) === 1) void Promise.resolve().then(() => process.nextTick(dispatch))
    })
}

const typeDefs = `
  type Item { id: ID! label: String }
  type Query { items: [Item!]! }`

overStores('a loader', (world) => {
  const items: Resolver = () => [{ id: 'a' }, { id: 'b' }]

  it('whose batch function calls a step gets DURABLE_STEP_MISUSED in fields that the step cannot belong to', async () => {
    const load = loaderOf(async (keys) => {
      const all = await ambient.run('batch', () => keys.join())
      return keys.map(() => all)
    })
    const label: Resolver = ({ id }: any) => load(id)
    const server = world().serve({ typeDefs, resolvers: { Query: { items }, Item: { label } } })
    const { errors } = await server.ask('{ items { label } }')
    expect(errors?.map(({ path, extensions }: any) => [path, extensions.code])).toEqual([
      [['items', 0, 'label'], 'DURABLE_STEP_MISUSED'],
      [['items', 1, 'label'], 'DURABLE_STEP_MISUSED'],
    ])
  })

  it('is called in a step, and each entity has its own outcome, however its batches form', async () => {
    const batches: string[] = []
    const load = loaderOf(async (keys) => {
      batches.push(keys.join())
      return keys.map((key) => `label of ${key}`)
    })
    const label: Resolver = async ({ id }: any, _args, { step }) => {
      const found = await step.run('label', () => load(id))
      if (id === 'b') await step.sleep('pause', '10s')
      return found
    }
    const server = world().serve({ typeDefs, resolvers: { Query: { items }, Item: { label } } })
    const { runId } = await server.ask('{ items { id label } }')
    const run = await server.finish(runId)
    expect(run.result?.data).toEqual({
      items: [
        { id: 'a', label: 'label of a' },
        { id: 'b', label: 'label of b' },
      ],
    })
    expect(batches.flatMap((batch) => batch.split(',')).toSorted()).toEqual(['a', 'b'])
  })
})
