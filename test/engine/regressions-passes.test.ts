import { createSchema, createYoga } from 'graphql-yoga'
import type { Plugin } from 'graphql-yoga'
import { describe, expect, it } from 'vitest'
import { useDurable } from '../../plugins/yoga.ts'
import { durableTypeDefs } from '../../schema/index.ts'
import { createDurable } from '../../src/index.ts'
import type { Durable, DurableOptions } from '../../src/index.ts'
import { deferred, oneField, overStores } from './world.ts'
import type { Resolver, Server, ServerOptions, World } from './world.ts'

/*
 * Faults that a review found in passes: refused ones, evicted ones, and ones for runs of other servers.
 */

const napping: Resolver = async (_source, _args, { step }) => {
  await step.sleep('nap', '10s')
  return 'rested'
}

interface Neighbour {
  readonly durable: Durable
  readonly warnings: string[]
  close(): Promise<void>
}

/** A process beside a server, on its clock and store, where a test needs another name or another order of plugins. */
async function beside(
  { server, world }: { server: Server; world: World },
  { typeDefs, resolvers, context }: ServerOptions,
  { name, after = [] }: { name?: string; after?: Plugin[] },
): Promise<Neighbour> {
  const warnings: string[] = []
  const options: DurableOptions = { onWarning: (message) => void warnings.push(message) }
  const durable = createDurable({ store: world.store, clock: server.clock, ...options })
  createYoga({
    schema: createSchema({ typeDefs: [durableTypeDefs, typeDefs], resolvers: resolvers as never }),
    plugins: [useDurable(durable, name === undefined ? undefined : { name }), ...after],
    logging: false,
    ...(context && { context }),
  })
  await durable.start()
  return { durable, warnings, close: () => world.until(durable.close()) }
}

/** Answers background passes in the executor's place for as long as `refuses` says so. */
function refusing(refuses: (context: { n?: number }) => boolean): Plugin {
  return {
    onExecute({ args, setResultAndStopExecution }) {
      const context = args.contextValue as { durable?: { resuming: boolean }; n?: number }
      if (context.durable?.resuming && refuses(context)) setResultAndStopExecution({ errors: [] })
    },
  }
}

overStores('a refused pass', (world) => {
  it('loses no attempt that ends meanwhile: its outcome is committed, and it is not run again (I2, I4)', async () => {
    const gate = deferred<string>()
    let isRefusing = true
    let attempts = 0
    const server = world().serve({
      ...oneField(async (_source, _args, { step }) => step.run('slow', () => (attempts++, gate.promise))),
      plugins: [refusing(() => isRefusing)],
      durable: { deferAfter: '1s' },
    })
    const { runId } = await server.ask('{ go }')
    await world().settle()
    expect(server.warnings.filter((warning) => warning.includes('could not be resumed'))).toHaveLength(1)

    gate.resolve('done')
    await world().settle()
    expect((await server.get(runId)).steps).toMatchObject([{ id: 'go>slow', status: 'COMPLETED', attempts: 1 }])
    isRefusing = false
    expect((await server.finish(runId, '5m')).result).toEqual({ data: { go: 'done' } })
    expect(attempts).toBe(1)
  })

  it('that was cold is tried again with a context of its own, not with that of the refused one', async () => {
    let made = 0
    const contexts: number[] = []
    const options: ServerOptions = { ...oneField(napping), context: () => ({ n: ++made }) }
    const before = world().serve(options)
    const { runId } = await before.ask('{ go }')
    before.kill()

    const server = world().serve({ ...options, durable: { worker: false } })
    const plugin = refusing(({ n = 0 }) => contexts.push(n) <= 2)
    const neighbour = await beside({ server, world: world() }, options, { after: [plugin] })
    const run = await world().until(neighbour.durable.runs.wait(runId), '5m')
    expect(run?.status).toBe('COMPLETED')
    expect(contexts).toEqual([2, 3, 4])
    await neighbour.close()
  })
})

overStores('an evicted run', (world) => {
  it('whose code wants to run a step goes on in a cold pass, at once (I4)', async () => {
    const fetched = deferred<string>()
    const { log } = world()
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        log.push('called')
        const [event, b] = await Promise.all([
          step.waitForEvent('never', { event: 'e' }),
          fetched.promise.then(() => step.run('b', () => log.push('b'))),
        ])
        return [event?.name, b]
      }),
    )
    const { runId } = await server.ask('{ go }')
    await world().advance('3m')
    expect(log).toEqual(['called'])
    expect((await server.get(runId)).status).toBe('SUSPENDED')

    fetched.resolve('x')
    await world().advance('1s')
    expect(log).toEqual(['called', 'called', 'b'])
    expect((await server.get(runId)).steps.map((step) => step.step)).toContain('b')
    await server.durable.send({ name: 'e' })
    expect((await server.finish(runId)).result).toEqual({ data: { go: ['e', 3] } })
    expect(log).toHaveLength(3)
  })
})

overStores('a run of another server on a shared store', (world) => {
  it('is left alone by a process without that server, and carried on by one that has it (I4)', async () => {
    const before = world().serve(oneField(napping))
    const { runId } = await before.ask('{ go }')
    before.kill()

    const server = world().serve({ ...oneField(napping), durable: { worker: false } })
    const other = { typeDefs: 'type Query { other: Int }', resolvers: {} }
    const neighbour = await beside({ server, world: world() }, other, { name: 'other' })
    await world().advance('2m')
    expect(await server.get(runId)).toMatchObject({ status: 'SUSPENDED', note: null, result: null })
    expect(neighbour.warnings).toEqual([])

    const own = world().serve(oneField(napping))
    await world().advance('5s')
    expect(await server.get(runId)).toMatchObject({ status: 'COMPLETED', result: { data: { go: 'rested' } } })
    expect(own.warnings).toEqual([])
    await neighbour.close()
  })
})

overStores('a field whose promise somebody else waits for', (world) => {
  const sharing = (durable: DurableOptions): ServerOptions => {
    let shared: Promise<unknown> | null = null
    return {
      typeDefs: 'type Query { a: String b: String nap: String }',
      durable,
      resolvers: {
        Query: {
          a: (_source, _args, { step }) => (shared = step.sleep('long', '10m').then(() => 'x')),
          async b() {
            await Promise.resolve()
            return shared
          },
          nap: napping,
        },
      },
    }
  }

  it('is parked after 30 seconds in which nothing else happens, and ends in time', async () => {
    const server = world().serve(sharing({ deferAfter: '1s' }))
    const { runId } = await server.ask('{ a b }')
    const parks = () => server.commits.filter((commit) => commit.next.kind === 'park').length
    await world().advance('25s')
    expect(parks()).toBe(0)
    await world().advance('10s')
    expect(parks()).toBe(1)
    expect((await server.finish(runId, '15m')).result).toEqual({ data: { a: 'x', b: 'x' } })
  })

  it('does not take up a worker for as long as it waits (I4)', async () => {
    const before = world().serve(sharing({}))
    const { runId } = await before.ask('{ a b }')
    before.kill()
    const server = world().serve(sharing({ worker: { concurrency: 1 } }))
    await world().advance('2s')
    const nap = await server.ask('{ nap }')
    await world().advance('2m')
    expect((await server.get(nap.runId)).status).toBe('COMPLETED')
    expect((await server.get(runId)).status).toBe('SUSPENDED')
  })
})

describe('the context of a cold pass', () => {
  overStores('made by the context functions', (world) => {
    it("of a run of another version: they get the run's own", async () => {
      const seen: unknown[] = []
      const before = world().serve(oneField(napping, { version: 'v1' }))
      const { runId } = await before.ask('query Nap { go }')
      before.kill()
      const restore = (_captured: unknown, run: unknown) => ({ seen: seen.push(run) })
      const server = world().serve(oneField(napping, { version: 'v2', context: { restore } }))
      expect((await server.finish(runId)).version).toBe('v1')
      expect(seen).toEqual([{ id: runId, operationName: 'Nap', owner: null, version: 'v1' }])
    })

    it('is what context.create made, with its prototype, also where it is frozen', async () => {
      class Session {
        readonly user = 'me'
        who() {
          return this.user
        }
      }
      for (const create of [() => new Session(), () => Object.freeze(new Session())]) {
        const go: Resolver = async (_source, _args, context) => {
          await context.step.sleep('nap', '10s')
          return (context as unknown as Session).who()
        }
        const before = world().serve(oneField(go))
        const { runId } = await before.ask('{ go }')
        before.kill()
        const server = world().serve(oneField(go, { context: { create } }))
        expect((await server.finish(runId)).result).toEqual({ data: { go: 'me' } })
        await server.close()
      }
    })
  })
})
