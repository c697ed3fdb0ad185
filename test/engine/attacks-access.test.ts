import { expect, it } from 'vitest'
import type { ReadParts, Store } from '../../src/store/store.ts'
import { oneField, overStores } from './world.ts'
import type { Resolver, Server, ServerOptions } from './world.ts'

/*
 * What an attacker could learn of runs that are not his, from what is answered and from how long it takes.
 */

const napping: Resolver = async (_source, _args, { step }) => {
  await step.sleep('nap', '10s')
  return 'rested'
}

/** Who sends a request says so himself. */
const byUser: Pick<ServerOptions, 'context'> = { context: ({ request }) => ({ user: request.headers.get('x-user') }) }
const owner = ({ user }: { user: string | null }): string | null => user

/** The store, with each of the parts noted that are read of a run. */
function readsOf(store: Store): { readonly store: Store; readonly reads: (ReadParts | undefined)[] } {
  const reads: (ReadParts | undefined)[] = []
  const connect: Store['connect'] = async (options) => {
    const session = await store.connect(options)
    return { ...session, read: (runId, parts) => (reads.push(parts), session.read(runId, parts)) }
  }
  return { store: { name: store.name, connect }, reads }
}

const readsMuch = (parts: ReadParts | undefined): boolean =>
  Boolean(parts?.journal || parts?.result || parts?.input) || parts?.waits !== false

function getRun({ durable }: Server, runId: string, user: string): Promise<Response> {
  return durable.fetch(new Request(`http://test/graphql/runs/${runId}`), { user })
}

overStores("a stranger who sends another's Idempotency-Key", (world) => {
  it('gets 422, as for another operation, and not the response: authorize holds without owner, too (I9)', async () => {
    const server = world().serve({
      ...byUser,
      typeDefs: 'type Query { a: Int } type Mutation { pay(n: Int): String @durable }',
      resolvers: {
        Mutation: { pay: (_source, _args, { step, user }) => step.run('pay', () => `secret of ${String(user)}`) },
      },
      durable: { authorize: ({ context }) => context.user === 'alice' },
    })
    const pay = (user: string, n: number) =>
      server.ask(`mutation { pay(n: ${n}) }`, {}, { 'x-user': user, 'idempotency-key': 'k' })
    const own = await pay('alice', 1)
    expect(own.data).toEqual({ pay: 'secret of alice' })
    expect((await pay('alice', 1)).data).toEqual(own.data)

    const [joined, probed] = [await pay('mallory', 1), await pay('mallory', 2)]
    expect([joined.status, probed.status]).toEqual([422, 422])
    expect(JSON.stringify(joined)).not.toContain('secret')
    expect(joined.errors).toEqual(probed.errors)
  })
})

overStores('reading runs', (world) => {
  it('that are not yours reads neither journal nor result nor waits, as for what does not exist (I9)', async () => {
    const { store, reads } = readsOf(world().store)
    const server = world().serve({ ...oneField(napping, { store, owner }), ...byUser })
    const { runId } = await server.ask('{ go }', {}, { 'x-user': 'alice' })
    await server.finish(runId)
    reads.length = 0

    const query = 'query ($id: ID!) { durableRun(id: $id) { id result steps { id } } }'
    expect((await server.ask(query, { id: runId }, { 'x-user': 'mallory' })).data).toEqual({ durableRun: null })
    expect((await getRun(server, runId, 'mallory')).status).toBe(404)
    expect(reads).not.toHaveLength(0)
    expect(reads.filter(readsMuch)).toEqual([])

    expect((await server.ask(query, { id: runId }, { 'x-user': 'alice' })).data.durableRun.id).toBe(runId)
    expect((await getRun(server, runId, 'alice')).status).toBe(200)
    expect(reads.filter(readsMuch)).not.toEqual([])
  })

  it('loads of a list no more than is asked for', async () => {
    const { store, reads } = readsOf(world().store)
    const server = world().serve({ ...oneField(napping, { store, owner }), ...byUser })
    const { runId } = await server.ask('{ go }', {}, { 'x-user': 'alice' })
    await server.finish(runId)
    reads.length = 0

    const list = (fields: string) => server.ask(`{ durableRuns { nodes { ${fields} } } }`, {}, { 'x-user': 'alice' })
    expect((await list('id status')).data.durableRuns.nodes).toEqual([{ id: runId, status: 'COMPLETED' }])
    expect(reads.filter(readsMuch)).toEqual([])
    expect((await list('result')).data.durableRuns.nodes).toEqual([{ result: { data: { go: 'rested' } } }])
    expect(reads.filter(readsMuch)).not.toEqual([])
  })
})
