import type { Plugin } from 'graphql-yoga'
import { expect, it, onTestFinished } from 'vitest'
import type { Store } from '../../src/store/store.ts'
import { oneField, overStores } from './world.ts'
import type { Resolver, Server, ServerOptions } from './world.ts'

/*
 * Faults that an attacker's programs found. What they did is what a server might do by mistake, or a client on purpose.
 */

const HALF = '\ud800'

const napping: Resolver = async (_source, _args, { step }) => {
  await step.sleep('nap', '10s')
  return 'rested'
}

function unhandledRejections(): unknown[] {
  const seen: unknown[] = []
  const note = (error: unknown): void => void seen.push(error)
  process.on('unhandledRejection', note)
  onTestFinished(() => void process.off('unhandledRejection', note))
  return seen
}

overStores('a context factory that asks the same server', (world) => {
  it('is no pass of the run: the run is one, ends, and each of its steps runs once (I2, I4)', async () => {
    const { log } = world()
    const options = (self: () => Server): ServerOptions => ({
      typeDefs: 'type Query { me: String buy: String }',
      resolvers: {
        Query: {
          me: () => 'Ada',
          async buy(_source, _args, { step, viewer }) {
            await step.run('charge', () => log.push('charge'))
            await step.sleep('nap', '10s')
            await step.run('ship', () => log.push(`ship to ${String(viewer)}`))
            return 'bought'
          },
        },
      },
      async context({ request }) {
        if (request.headers.get('x-internal')) return {}
        const { data } = await self().send('{ me }', {}, { 'x-internal': '1' })
        return { viewer: data.me }
      },
    })
    const before: Server = world().serve(options(() => before))
    const { runId } = await before.ask('{ buy }')
    before.kill()

    const server: Server = world().serve(options(() => server))
    expect(await server.finish(runId)).toMatchObject({ status: 'COMPLETED', result: { data: { buy: 'bought' } } })
    expect(log).toEqual(['charge', 'ship to Ada'])
    expect((await server.durable.runs.list()).runs.map((run) => run.id)).toEqual([runId])
    expect(server.warnings).toEqual([])
  })
})

overStores('an invalid variable', (world) => {
  it('executes nothing of a mutation, one with a @durable root field neither (I7)', async () => {
    const { log } = world()
    const note: Resolver = (_source, _args, _context, { fieldName }) => log.push(fieldName)
    const server = world().serve({
      typeDefs: 'type Query { a: Int } type Mutation { plain(n: Int): Int durable(s: String): Int @durable }',
      resolvers: { Mutation: { plain: note, durable: note } },
    })
    const missing = await server.ask('mutation ($n: Int, $s: String!) { plain(n: $n) durable(s: $s) }', { n: 1 })
    expect(missing.errors).toMatchObject([{ message: expect.stringContaining('$s') }])
    const wrong = await server.ask('mutation ($n: Int!) { plain(n: $n) durable }', { n: 'x' })
    expect(wrong.errors).toMatchObject([{ message: expect.stringContaining('$n') }])
    expect([missing.data ?? null, wrong.data ?? null]).toEqual([null, null])
    expect(log).toEqual([])
    expect(server.commits).toEqual([])
  })
})

overStores('half a surrogate pair', (world) => {
  it('in the ids of steps and items makes no key that the store changes: what is committed is not run again (I2)', async () => {
    const { log } = world()
    const step = (name: string): Resolver =>
      async function run(source, _args, { step: { run: runStep, sleep } }) {
        await Promise.all(
          [HALF, '\ud801'].map((half) => runStep(`s${half}`, () => log.push(`${name} ${source?.id ?? ''}${half}`))),
        )
        await sleep('nap', '10s')
        return name
      }
    const options: ServerOptions = {
      typeDefs: 'type Item { id: ID ship: String } type Query { go: String items: [Item] }',
      resolvers: {
        Query: { go: step('go'), items: () => [{ id: `i${HALF}` }, { id: 'i\ud801' }] },
        Item: { ship: step('ship') },
      },
    }
    const before = world().serve(options)
    const { runId } = await before.ask('{ go items { ship } }')
    before.kill()
    expect(log).toHaveLength(6)

    const server = world().serve(options)
    expect((await server.finish(runId)).result).toEqual({
      data: { go: 'go', items: [{ ship: 'ship' }, { ship: 'ship' }] },
    })
    expect(new Set(log).size).toBe(6)
    expect(log).toHaveLength(6)
  })
})

overStores('a misuse of a tool', (world) => {
  // Written as in JavaScript: the types would not have it.
  const misuses: Record<string, (step: any) => unknown> = {
    'an empty id': (step) => step.run('', () => 1),
    'no duration': (step) => step.sleep('wrong', 'soon'),
    'no function': (step) => step.run('wrong'),
    'no options': (step) => step.waitForEvent('wrong'),
    'an empty event': (step) => step.waitForEvent('wrong', { event: '' }),
    'a tool inside of a tool': (step) => step.run('outer', () => void step.run('inner', () => 1)),
  }

  it.each(Object.keys(misuses))('that nobody awaits does not end the process: %s', async (name) => {
    const unhandled = unhandledRejections()
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        void misuses[name]?.(step)
        await step.run('right', () => 1)
        return 'answered'
      }),
    )
    const { data, runId } = await server.ask('{ go }')
    if (runId) await server.finish(runId)
    else expect(data).toEqual({ go: 'answered' })
    await new Promise((resolve) => setImmediate(resolve)) // when Node has looked for unhandled rejections
    expect(unhandled).toEqual([])
  })
})

overStores("a plugin's onExecuteDone that throws", (world) => {
  it('loses the answer, not the run: it ends, and its step is not run again (I2, I4)', async () => {
    let throwing = true
    const plugin: Plugin = {
      onExecute: () => ({
        onExecuteDone() {
          if (throwing) throw ((throwing = false), new Error('A fault of the plugin.'))
        },
      }),
    }
    const { log } = world()
    const go: Resolver = async (_source, _args, { step }) => step.run('once', () => log.push('once'))
    const server = world().serve({ ...oneField(go, { deferAfter: '1s' }), plugins: [plugin] })
    await server.ask('{ go }')
    await world().advance('5s')
    const [run] = (await server.durable.runs.list()).runs
    expect(run).toMatchObject({ status: 'COMPLETED', result: { data: { go: 1 } } })
    expect(log).toEqual(['once'])
  })
})

overStores('code that catches and tries again beyond limits.steps', (world) => {
  it('is told of no error, so it cannot freeze the process; the run ends with DURABLE_TOO_MANY_STEPS (I12)', async () => {
    let caught = 0
    const server = world().serve(
      oneField(
        async (_source, _args, { step }) => {
          while (caught < 1000) {
            try {
              await step.run('poll', () => false)
            } catch {
              caught++
            }
          }
          return 'given up'
        },
        { limits: { steps: 20 }, deferAfter: '1s' },
      ),
    )
    const answer = await server.ask('{ go }')
    expect(answer.errors).toMatchObject([{ extensions: { code: 'DURABLE_TOO_MANY_STEPS' } }])
    const [run] = (await server.durable.runs.list()).runs
    expect(run).toMatchObject({ status: 'FAILED' })
    expect(caught).toBe(0)
  })
})

overStores('a list of several types', (world) => {
  it('with equal ids that comes back in another order keeps each outcome with its entity', async () => {
    let calls = 0
    const ship: Resolver = async ({ t }, _args, { step }) => {
      const made: string = await step.run('make', () => `made for ${t}`)
      await step.sleep('nap', '10s')
      return `${t}: ${made}`
    }
    const options: ServerOptions = {
      typeDefs: `interface Item { id: ID ship: String } type Query { items: [Item] }
        type User implements Item { id: ID ship: String } type Order implements Item { id: ID ship: String }`,
      resolvers: {
        Item: { __resolveType: ({ t }) => t },
        Query: { items: () => (calls++ === 0 ? ['User', 'Order'] : ['Order', 'User']).map((t) => ({ t, id: 1 })) },
        User: { ship },
        Order: { ship },
      },
    }
    const before = world().serve(options)
    const { runId } = await before.ask('{ items { ship } }')
    before.kill()
    const { result } = await world().serve(options).finish(runId)
    expect(result).toEqual({ data: { items: [{ ship: 'Order: made for Order' }, { ship: 'User: made for User' }] } })
  })
})

overStores('a process that cannot beat', (world) => {
  it('claims no run that it could not keep, and goes on once it is heard of again (I4)', async () => {
    let cut = true
    let claims = 0
    const connect: Store['connect'] = async (options) => {
      const session = await world().store.connect(options)
      return {
        ...session,
        beat: () => (cut ? Promise.reject(new Error('The network is down.')) : session.beat()),
        claim: (query) => (claims++, session.claim(query)),
      }
    }
    const before = world().serve(oneField(napping))
    const { runId } = await before.ask('{ go }')
    before.kill()

    const server = world().serve(oneField(napping, { store: { name: 'cut', connect } }))
    await world().advance('5s')
    claims = 0
    await world().advance('1m')
    expect(claims).toBe(0)
    expect((await server.get(runId)).endedAt).toBeNull()

    cut = false
    expect((await server.finish(runId)).result).toEqual({ data: { go: 'rested' } })
  })
})
