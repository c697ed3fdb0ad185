import { expect, it } from 'vitest'
import { oneField, overStores } from './world.ts'
import type { ServerOptions } from './world.ts'

const owned: ServerOptions = {
  ...oneField(
    async (_source, { n }, { step }) => {
      await step.sleep('nap', '10s')
      return n
    },
    { owner: (context: { user: string | null }) => context.user },
  ),
  context: ({ request }) => ({ user: request.headers.get('x-user') }),
}
const ada = { 'x-user': 'ada' }
const bob = { 'x-user': 'bob' }
const nobody = 'run_00000000000000000000000000000000'
const durableRun = 'query ($id: ID!) { durableRun(id: $id, wait: 60) { id status result } }'

overStores('a run of somebody else’s (I9)', (world) => {
  it('looks exactly like one that does not exist, suspended and ended, and is not advanced by looking', async () => {
    const server = world().serve(owned)
    const { runId } = await server.ask('{ go(n: 1) }', {}, ada)
    for (const moment of ['suspended', 'ended']) {
      const before = world().now()
      const theirs = await server.ask(durableRun, { id: runId }, bob)
      const none = await server.ask(durableRun, { id: nobody }, bob)
      expect(theirs, moment).toMatchObject({ status: 200, data: { durableRun: null } })
      expect({ ...theirs, headers: [...theirs.headers] }, moment).toEqual({ ...none, headers: [...none.headers] })
      expect(world().now(), moment).toBe(before)
      const cancel = (id: string) => server.ask('mutation ($id: ID!) { cancelDurableRun(id: $id) { id } }', { id }, bob)
      const [theirError, noError] = [await cancel(runId), await cancel(nobody)].map(({ errors }) =>
        JSON.stringify(errors).replaceAll(runId, '…').replaceAll(nobody, '…'),
      )
      expect(theirError, moment).toBe(noError)
      await server.finish(runId)
    }
    expect((await server.ask(durableRun, { id: runId }, ada)).data).toEqual({
      durableRun: { id: runId, status: 'COMPLETED', result: { data: { go: 1 } } },
    })
  })
})

overStores('a list of runs', (world) => {
  it('gives a cursor that is good in every process, and tells nothing of runs that the caller may not see (I9)', async () => {
    const options: ServerOptions = {
      ...oneField(async (_source, { n }, { step }) => step.run('work', () => n), {
        authorize: ({ run, context }) => run === null || context.user === 'ada' || run.operationName === 'Mine',
      }),
      context: ({ request }) => ({ user: request.headers.get('x-user') }),
    }
    const [one, other] = [world().serve(options), world().serve(options)]
    await one.ask('query Mine { go(n: 1) }', {}, bob)
    for (let n = 0; n < 12; n++) {
      await world().advance('1s')
      await one.ask('query Theirs { go(n: 2) }', {}, ada)
    }
    await world().advance('1s')
    await one.ask('query Mine { go(n: 3) }', {}, bob)
    await world().settle()
    const list =
      'query ($after: String) { durableRuns(first: 1, after: $after) { nodes { id operationName } pageInfo { hasNextPage endCursor } } }'
    const first = (await one.ask(list, {}, bob)).data.durableRuns
    expect(first).toMatchObject({ nodes: [{ operationName: 'Mine' }], pageInfo: { hasNextPage: true } })
    const second = (await other.ask(list, { after: first.pageInfo.endCursor }, bob)).data.durableRuns
    expect(second).toMatchObject({ nodes: [{ operationName: 'Mine' }], pageInfo: { hasNextPage: false } })
    expect(second.nodes[0].id).not.toBe(first.nodes[0].id)

    const all = (await one.ask('{ durableRuns { nodes { id operationName createdAt } } }', {}, ada)).data.durableRuns
    const theirs = all.nodes.filter(({ operationName }: { operationName: string }) => operationName === 'Theirs')
    expect(theirs).toHaveLength(12)
    const told = Buffer.from(first.pageInfo.endCursor, 'base64url').toString('latin1')
    for (const { id, createdAt } of theirs) {
      expect(told).not.toContain(id)
      expect(told).not.toContain(String(Date.parse(createdAt)))
    }
  })
})

overStores('durableRun', (world) => {
  it('with wait carries a run to its end where there is no worker', async () => {
    const server = world().serve({ ...owned, durable: { ...owned.durable, worker: false } })
    const { runId } = await server.ask('{ go(n: 7) }', {}, ada)
    const before = world().now()
    const answer = await server.ask(durableRun, { id: runId }, ada)
    expect(answer.data).toEqual({ durableRun: { id: runId, status: 'COMPLETED', result: { data: { go: 7 } } } })
    expect(world().now() - before).toBeLessThan(12_000)
  })
})

overStores('durable.send', (world) => {
  it('takes the same id twice for one event (I6)', async () => {
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        const got: unknown[] = []
        for (let n = 0; n < 3; n++)
          got.push((await step.waitForEvent('tick', { event: 'tick', timeout: '20s' }))?.data ?? null)
        return got
      }),
    )
    const { runId } = await server.ask('{ go }')
    const { send } = server.durable
    expect(await world().until(send({ name: 'tick', data: 1, id: 'one' }))).toEqual({ ids: ['one'] })
    await world().advance('2s')
    await world().until(send({ name: 'tick', data: 'again', id: 'one' }))
    await world().until(send([{ name: 'tick', data: 2 }]))
    expect((await server.finish(runId)).result).toEqual({ data: { go: [1, 2, null] } })
  })

  it('refuses what is no event, before anything is written', async () => {
    const server = world().serve(oneField(() => 1))
    await expect(server.durable.send({ name: '' })).rejects.toThrow('name')
    await expect(server.durable.send({ name: 'x', data: 1n })).rejects.toMatchObject({
      code: 'DURABLE_NOT_SERIALIZABLE',
    })
    await expect(server.durable.send({ name: 'x', data: () => 1 })).rejects.toMatchObject({
      code: 'DURABLE_NOT_SERIALIZABLE',
    })
  })
})
