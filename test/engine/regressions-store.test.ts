import { afterEach, expect, it, vi } from 'vitest'
import { StoreError } from '../../src/store/store.ts'
import type { Claimed, LoadedRun, Store, StoreSession } from '../../src/store/store.ts'
import { deferred, oneField, overStores } from './world.ts'
import type { Resolver } from './world.ts'

/*
 * Faults that a review found where a store fails, hangs, or has what cannot be read.
 */

/** The store, with some of what its sessions do done otherwise. */
function altered(store: Store, change: (session: StoreSession) => Partial<StoreSession>): Store {
  return {
    name: store.name,
    async connect(options) {
      const session = await store.connect(options)
      return { ...session, ...change(session) }
    },
  }
}

/** What a claim loads is changed on its way. */
function claimingWith(session: StoreSession, change: (run: LoadedRun, claimed: Claimed) => LoadedRun): StoreSession {
  return {
    ...session,
    async claim(request) {
      const receipt = await session.claim(request)
      const claimed = receipt.claimed.map((each) =>
        each.loaded ? { ...each, loaded: change(each.loaded, each) } : each,
      )
      return { ...receipt, claimed }
    },
  }
}

const napping: Resolver = async (_source, _args, { step }) => {
  await step.sleep('nap', '10s')
  return 'rested'
}

/** Of a version that is newer than this one. */
const UNREADABLE = '[["FromTheFuture",1],2]'

afterEach(() => void vi.restoreAllMocks())

overStores('an outcome that the store rejects', (world) => {
  it('ends the run with DURABLE_RESUME_FAILED; the step is not run again and again (I4)', async () => {
    let ran = 0
    const store = altered(world().store, (session) => ({
      async commit(batch) {
        const isPoison = batch.some((part) => part.outcomes.some(({ key }) => key.includes('poison')))
        if (isPoison) throw new StoreError('rejected', 'It has a NUL byte.')
        return session.commit(batch)
      },
    }))
    const go: Resolver = async (_source, { n }, { step }) => {
      await step.run('ok', () => 1)
      return step.run(n === 1 ? 'poison' : 'fine', () => ++ran)
    }
    const server = world().serve(oneField(go, { store }))
    const [bad, good] = await world().until(Promise.all([server.send('{ go(n: 1) }'), server.send('{ go(n: 2) }')]))
    expect(bad.errors).toMatchObject([{ extensions: { code: 'DURABLE_RESUME_FAILED' } }])
    expect(good.errors).toBeUndefined()
    await world().advance('2m')
    expect(ran).toBe(2)
    const { runs } = await world().until(server.durable.runs.list({ status: 'FAILED' }))
    expect(runs).toMatchObject([{ id: bad.runId, note: 'It has a NUL byte.' }])
  })
})

overStores('what cannot be read', (world) => {
  it('of a run: it takes up no worker, is tried again, and says why (I4)', async () => {
    const before = world().serve(oneField(napping))
    const bad = (await before.ask('{ go }')).runId
    const good = (await before.ask('{ go }')).runId
    before.kill()
    const store = altered(world().store, (session) =>
      claimingWith(session, (loaded, { run }) => (run.id === bad ? { ...loaded, input: UNREADABLE } : loaded)),
    )
    const server = world().serve(oneField(napping, { store, worker: { concurrency: 1 } }))
    await world().advance('5m')
    expect((await server.get(good)).status).toBe('COMPLETED')
    expect((await server.get(bad)).note).toContain('FromTheFuture')
    expect(server.warnings.filter((warning) => warning.includes('could not be read')).length).toBeGreaterThan(2)
  })

  it('of an outcome: the run ends, no catch of the resolver learns of it (I12), and operators see why (I4)', async () => {
    const caught: unknown[] = []
    const go: Resolver = async (_source, _args, { step }) => {
      try {
        await step.run('x', () => 1)
        await step.sleep('nap', '10s')
      } catch (error) {
        caught.push(error)
      }
      return 'refunded'
    }
    const before = world().serve(oneField(go))
    const { runId } = await before.ask('{ go }')
    before.kill()
    const unreadable = (journal: LoadedRun['journal']) => journal.map((each) => ({ ...each, body: UNREADABLE }))
    const store = altered(world().store, (session) => ({
      claim: claimingWith(session, (run) => ({ ...run, journal: unreadable(run.journal) })).claim,
      async read(runId, parts) {
        const view = await session.read(runId, parts)
        return view && { ...view, journal: view.journal && unreadable(view.journal) }
      },
    }))
    const server = world().serve(oneField(go, { store }))
    await world().advance('30s')
    expect(caught).toEqual([])
    const run = await server.get(runId)
    expect(run.status).toBe('FAILED')
    expect(run.note).toContain('go>x')
    expect(run.result?.errors).toMatchObject([{ extensions: { code: 'DURABLE_RESUME_FAILED' } }])
    expect(run.steps).toMatchObject([{ id: 'go>x', output: null }])
  })
})

overStores('a claim that fails for code that wants to go on', (world) => {
  function serve() {
    const fetched = deferred<void>()
    const { log } = world()
    const claims = { fail: false }
    const store = altered(world().store, (session) => ({
      async claim(request) {
        if (claims.fail && request.runId !== undefined) throw new StoreError('transient', 'Not now.')
        return session.claim(request)
      },
    }))
    const go: Resolver = (_source, _args, { step }) =>
      Promise.all([
        step.waitForEvent('never', { event: 'e' }).then(() => 'e'),
        fetched.promise.then(() => step.run('b', () => log.push('b'))),
      ])
    return { server: world().serve(oneField(go, { store, hot: { ttl: '10s' } })), fetched, claims, log }
  }

  it('after its eviction is tried again (I4)', async () => {
    const { server, fetched, claims, log } = serve()
    const { runId } = await server.ask('{ go }')
    await world().advance('1m')
    claims.fail = true
    fetched.resolve()
    await world().advance('5s')
    claims.fail = false
    await world().advance('1s')
    expect(log).toEqual(['b'])
    expect((await server.get(runId)).steps.map(({ step }) => step)).toContain('b')
  })

  it('before its eviction is tried again after it (I4)', async () => {
    const { server, fetched, claims, log } = serve()
    const { runId } = await server.ask('{ go }')
    while ((await server.get(runId)).status !== 'SUSPENDED') await world().advance('1s')
    claims.fail = true
    fetched.resolve()
    await world().advance('1m')
    expect(log).toEqual([])
    claims.fail = false
    await world().advance('1s')
    expect(log).toEqual(['b'])
  })
})

overStores('a logger that throws', (world) => {
  it('breaks nothing of what it is told about: every request of a failed batch is answered (I4)', async () => {
    const said = vi.spyOn(console, 'warn').mockImplementation(() => {})
    let isBroken = false
    const store = altered(world().store, (session) => ({
      async commit(batch) {
        if (isBroken) throw new StoreError('broken', 'No.')
        return session.commit(batch)
      },
    }))
    const onWarning = () => {
      throw new Error('The logger is down.')
    }
    const server = world().serve(oneField((_source, _args, { step }) => step.run('x', () => 1), { store, onWarning }))
    isBroken = true
    const answers = await world().until(Promise.all([server.send('{ go }'), server.send('{ go }')]), '1m')
    const codes = answers.map(({ errors }) => errors?.[0]?.extensions.code)
    expect(codes).toEqual(['DURABLE_STORE_UNAVAILABLE', 'DURABLE_STORE_UNAVAILABLE'])
    isBroken = false
    expect((await server.ask('{ go }')).data).toEqual({ go: 1 })
    expect(said).toHaveBeenCalled()
  })

  it('later, being asynchronous, does not end the process', async () => {
    const said = vi.spyOn(console, 'warn').mockImplementation(() => {})
    const unhandled = vi.fn()
    process.on('unhandledRejection', unhandled)
    const onWarning = async () => {
      throw new Error('The logger is down.')
    }
    const fails: Resolver = (_source, _args, { step }) =>
      step.run('x', () => Promise.reject(new Error('no')), { retries: 0 })
    const server = world().serve(oneField(fails, { onWarning }))
    await server.ask('{ go }')
    await world().settle()
    process.off('unhandledRejection', unhandled)
    expect(unhandled).not.toHaveBeenCalled()
    expect(said).toHaveBeenCalledWith('[graphql-durable] onWarning threw.', expect.any(Error))
  })
})

overStores('close', (world) => {
  it('takes its timeout once, where a step does not end', async () => {
    const go: Resolver = (_source, _args, { step }) => step.run('slow', () => new Promise(() => {}))
    const server = world().serve(oneField(go, { deferAfter: '1s' }))
    await server.ask('{ go }')
    const before = world().now()
    await world().until(server.durable.close({ timeout: '10s' }))
    expect(world().now() - before).toBeGreaterThanOrEqual(10_000)
    expect(world().now() - before).toBeLessThan(11_000)
  })

  it('takes its timeout once, where the store hangs; a client is not told of what was never stored (I4)', async () => {
    let hangs = false
    const store = altered(world().store, (session) => ({
      commit: (batch) => (hangs ? new Promise(() => {}) : session.commit(batch)),
    }))
    const server = world().serve(oneField((_source, _args, { step }) => step.run('x', () => 1), { store }))
    await server.ask('{ go }')
    hangs = true
    const answer = server.send('{ go }')
    await world().settle()
    const before = world().now()
    const closed = server.durable.close({ timeout: '10s' })
    const { errors, extensions, runId } = await world().until(answer)
    expect(errors).toMatchObject([{ extensions: { code: 'DURABLE_STORE_UNAVAILABLE' } }])
    expect([runId, extensions]).toEqual([undefined, undefined])
    await world().until(closed)
    expect(world().now() - before).toBeLessThan(11_000)
  })

  it('carries on nothing whose claim answers too late, and leaves no timer', async () => {
    const before = world().serve(oneField(napping))
    const { runId } = await before.ask('{ go }')
    before.kill()
    const { log } = world()
    const answered = deferred<void>()
    const store = altered(world().store, (session) => ({
      async claim(request) {
        const receipt = await session.claim(request)
        if (receipt.claimed.length > 0) await answered.promise
        return receipt
      },
    }))
    const go: Resolver = async (...args) => (log.push('called'), napping(...args))
    const server = world().serve(oneField(go, { store }))
    await world().advance('20s')
    await world().until(server.durable.close({ timeout: '1s' }))
    answered.resolve()
    await world().settle()
    await world().settle()
    expect([log, server.clock.pending]).toEqual([[], 0])
    const next = world().serve(oneField(napping))
    expect((await next.finish(runId)).status).toBe('COMPLETED')
  })
})
