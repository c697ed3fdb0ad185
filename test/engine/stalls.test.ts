import { expect, it } from 'vitest'
import type { Store, StoreSession } from '../../src/store/store.ts'
import { StoreError } from '../../src/store/store.ts'
import { deferred, oneField, overStores, wrapped } from './world.ts'
import type { Server, World } from './world.ts'

/** A store whose commits do not come back while it is told so: as where the only synchronous standby is away. */
function hanging(store: Store): { readonly store: Store; hang(): void; release(): void } {
  let gate: ReturnType<typeof deferred<void>> | null = null
  return {
    hang: () => void (gate = deferred<void>()),
    release() {
      gate?.resolve()
      gate = null
    },
    store: {
      name: store.name,
      async connect(options) {
        const session: StoreSession = await store.connect(options)
        return {
          ...session,
          async commit(batch) {
            await gate?.promise
            return session.commit(batch)
          },
        }
      },
    },
  }
}

overStores('a commit that does not come back', (world) => {
  function serve(world: World): { server: Server; hang(): void; release(): void } {
    const { store, hang, release } = hanging(world.store)
    const server = world.serve({
      typeDefs: 'type Query { ok: Boolean } type Mutation { pay: String }',
      resolvers: {
        Mutation: {
          async pay(_source, _args, { step }) {
            await step.run('charge', () => world.log.push('charge'))
            if (world.log.includes('hang later')) hang()
            return step.run('receipt', () => (world.log.push('receipt'), 'paid'))
          },
        },
      },
      durable: { store, authorize: () => true },
    })
    return { server, hang, release }
  }

  const onlyRun = async ({ durable }: Server): Promise<string> => (await durable.runs.list()).runs[0]?.id ?? ''

  it('keeps nobody waiting, and tells of no run; when it does come back, the run goes on (I2, I4)', async () => {
    const { server, hang, release } = serve(world())
    await server.ask('{ ok }')
    hang()
    const before = world().now()
    const answer = await server.ask('mutation { pay }')
    expect(world().now() - before).toBeLessThan(3_000)
    expect(answer.data).toEqual({ pay: null })
    expect(answer.errors).toMatchObject([{ path: ['pay'], extensions: { code: 'DURABLE_STORE_UNAVAILABLE' } }])
    expect(answer.runId).toBeUndefined()
    release()
    await world().advance('1m')
    expect((await server.get(await onlyRun(server))).result).toEqual({ data: { pay: 'paid' } })
    expect(world().log).toEqual(['charge', 'receipt'])
  })

  it('of a run that is there already has the client follow it', async () => {
    const { server, release } = serve(world())
    world().log.push('hang later')
    const before = world().now()
    const answer = await server.ask('mutation { pay }')
    expect(world().now() - before).toBeLessThan(3_000)
    expect(answer.status).toBe(202)
    expect(answer.errors).toMatchObject([{ path: ['pay'], extensions: { code: 'DURABLE_DEFERRED' } }])
    world().log.length = 0
    release()
    expect((await server.finish(answer.runId)).result).toEqual({ data: { pay: 'paid' } })
    expect(world().log).toEqual([])
  })

  it('keeps nobody waiting who came while it was under way, with a key or without, and executes what it may (I2, I4)', async () => {
    const { server, hang, release } = serve(world())
    await server.ask('{ ok }')
    hang()
    const first = server.ask('mutation { pay }')
    for (const [waits, headers] of [
      ['1s', {}],
      ['1s', { 'idempotency-key': '"two"' }],
      ['20s', {}],
      ['1m', { 'idempotency-key': '"four"' }],
    ] as const) {
      await world().advance(waits)
      const before = world().now()
      const answer = await server.ask('mutation { pay }', {}, headers)
      expect(world().now() - before).toBeLessThanOrEqual(3_000) // half a second of it may be for the next beat
      expect(answer.errors).toMatchObject([{ extensions: { code: 'DURABLE_STORE_UNAVAILABLE' } }])
    }
    expect((await first).errors).toMatchObject([{ extensions: { code: 'DURABLE_STORE_UNAVAILABLE' } }])
    release()
    await world().advance('1m')
    expect((await server.ask('mutation { pay }')).data).toEqual({ pay: 'paid' })
  })

  it('under an idempotency key executes nothing before it is known whose the key is', async () => {
    const { server, hang, release } = serve(world())
    await server.ask('{ ok }')
    hang()
    const headers = { 'idempotency-key': '"one"' }
    const answer = await server.ask('mutation { pay }', {}, headers)
    expect(answer.errors).toMatchObject([{ extensions: { code: 'DURABLE_STORE_UNAVAILABLE' } }])
    await world().advance('1m')
    expect(world().log).toEqual([])
    release()
    expect((await server.ask('mutation { pay }', {}, headers)).data).toEqual({ pay: 'paid' })
    expect(world().log).toEqual(['charge', 'receipt'])
  })
})

overStores('a store that is away', (world) => {
  it('is told to whoever asks for a run over HTTP, and nothing internal is (I9)', async () => {
    const store = wrapped(world().store, () => ({
      read: () => Promise.reject(new StoreError('transient', 'connect ECONNREFUSED 10.0.0.7 as user secret')),
    }))
    const server = world().serve(oneField(() => 'hello', { store, authorize: () => true }))
    const request = new Request(`http://test/graphql/runs/run_${'0'.repeat(32)}`)
    const response = await world().until(server.durable.fetch(request))
    expect(response.status).toBe(503)
    expect(response.headers.get('retry-after')).toBe('1')
    expect(response.headers.get('cache-control')).toBe('no-store')
    const body = await response.text()
    expect(JSON.parse(body)).toMatchObject({ errors: [{ extensions: { code: 'DURABLE_STORE_UNAVAILABLE' } }] })
    expect(body).not.toMatch(/ECONNREFUSED|secret|\.ts|\.js/)
  })

  it('from the start on has no step begin whose outcome nobody would keep (I2)', async () => {
    let isAway = true
    const { store } = world()
    const server = world().serve(
      oneField((_source, _args, { step }) => step.run('charge', () => (world().log.push('charge'), 'charged')), {
        store: {
          name: store.name,
          connect: (options) =>
            isAway ? Promise.reject(new StoreError('transient', 'no such host')) : store.connect(options),
        },
      }),
    )
    const answer = await server.ask('{ go }')
    expect(answer.errors).toMatchObject([{ extensions: { code: 'DURABLE_STORE_UNAVAILABLE' } }])
    expect(world().log).toEqual([])
    isAway = false
    await world().advance('10s')
    expect((await server.ask('{ go }')).data).toEqual({ go: 'charged' })
    expect(world().log).toEqual(['charge'])
  })
})
