import { GraphQLError } from 'graphql'
import type { Plugin } from 'graphql-yoga'
import { expect, it } from 'vitest'
import type { Step } from '../../src/index.ts'
import { deferred, oneField, overStores } from './world.ts'

type Context = { step: Step }

overStores('an operation that uses no step', (world) => {
  it('writes nothing, and answers as it always did (I8)', async () => {
    const what: string[] = []
    const server = world().serve({
      typeDefs: 'type Query { a: Int b: String } type Mutation { c: Int @durable d: Int }',
      resolvers: {
        Query: { a: (_s, _a, { step }) => (step ? 1 : 0), b: async () => 'b' },
        Mutation: { c: () => 3, d: async () => 4 },
      },
    })
    await world().settle()
    world().onCommit((_phase, name) => what.push(name))
    expect(await server.ask('{ a b }')).toMatchObject({ status: 200, data: { a: 1, b: 'b' }, extensions: undefined })
    expect(await server.ask('mutation { c d }')).toMatchObject({
      status: 200,
      data: { c: 3, d: 4 },
      extensions: undefined,
    })
    await world().settle()
    expect(server.commits).toEqual([])
    expect(what.filter((name) => name !== 'beat')).toEqual([])
    expect((await world().until(server.durable.runs.list())).runs).toEqual([])
  })
})

overStores('a run', (world) => {
  it('is written with its first outcome, and not before', async () => {
    const gate = deferred()
    const server = world().serve(
      oneField((_source, _args, { step }) => step.run('first', () => gate.promise.then(() => 1))),
    )
    const asked = server.send('{ go }')
    await world().advance('10s')
    expect(server.commits).toEqual([])
    gate.resolve()
    expect(await world().until(asked)).toMatchObject({ status: 200, data: { go: 1 }, extensions: undefined })
    await world().settle()
    const [first] = server.commits
    expect(first).toMatchObject({ epoch: 1, seq: 1, outcomes: [{ key: 'go>first', pos: 0 }] })
    expect(first?.create?.beganAgoMs).toBe(10_000)
    const [run] = (await world().until(server.durable.runs.list())).runs
    expect(run).toMatchObject({ status: 'COMPLETED', result: { data: { go: 1 } } })
  })

  it('is never heard of where the process dies before its first commit (I2, I4)', async () => {
    const options = oneField((_source, _args, { step }) => step.run('first', () => new Promise(() => {})))
    const first = world().serve(options)
    first.send('{ go }').catch(() => {})
    await world().advance('10s')
    first.kill()
    const second = world().serve(options)
    await world().advance('20s')
    expect((await world().until(second.durable.runs.list())).runs).toEqual([])
  })

  it('that answered at once and died before its end was committed ends with what it had', async () => {
    const options = oneField(async (_source, _args, { step }) => {
      const value = await step.run('first', () => world().log.push('first'))
      return { value, again: world().log.push('answered') }
    })
    const first = world().serve(options)
    let commits = 0
    world().onCommit((phase, what) => {
      if (what === 'commit' && phase === 'before' && ++commits > 1) throw new Error('too late')
    })
    const answer = await first.ask('{ go }')
    expect(answer).toMatchObject({ status: 200, data: { go: { value: 1 } } })
    first.kill()
    world().onCommit(null)
    const second = world().serve(options)
    await world().advance('20s')
    const [run] = (await world().until(second.durable.runs.list())).runs
    expect(run).toMatchObject({ status: 'COMPLETED', result: { data: { go: { value: 1 } } } })
    expect(world().log.filter((line) => line === 'first')).toHaveLength(1)
  })
})

overStores('an outcome', (world) => {
  it('is in the store before the code that depends on it goes on (I1)', async () => {
    const committed = new Set<string>()
    const seen: boolean[] = []
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        for (const id of ['a', 'b', 'c']) {
          await step.run(id, () => id)
          seen.push(committed.has(`go>${id}`))
        }
        await step.sleep('nap', '2s')
        seen.push(committed.has('go>nap'))
        await step.sendEvent('tell', { name: 'told' })
        seen.push(committed.has('go>tell'))
        await step.waitForEvent('hear', { event: 'told' })
        seen.push(committed.has('go>hear'))
      }),
    )
    world().onCommit((phase, what) => {
      if (what !== 'commit' || phase !== 'after') return
      for (const { outcomes } of server.commits) for (const { key } of outcomes) committed.add(key)
    })
    const { runId } = await server.ask('{ go }')
    await server.finish(runId)
    expect(seen).toEqual([true, true, true, true, true, true])
  })

  it('is not released while the store is failing (I1)', async () => {
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        await step.run('first', () => 1)
        world().log.push('went on')
        return 'done'
      }),
    )
    const failing = { now: true }
    world().onCommit((phase, what) => {
      if (failing.now && what === 'commit' && phase === 'before') throw new Error('the disk is full')
    })
    const asked = server.send('{ go }')
    await world().advance('500ms')
    expect(world().log).toEqual([])
    failing.now = false
    expect((await world().until(asked)).data).toEqual({ go: 'done' })
    expect(world().log).toEqual(['went on'])
  })

  it('of steps side by side goes into one commit for many (group commit)', async () => {
    const server = world().serve(
      oneField((_source, _args, { step }) =>
        Promise.all(Array.from({ length: 50 }, (_, n) => step.run(`s${n}`, () => n))),
      ),
    )
    expect((await server.ask('{ go }')).data.go).toHaveLength(50)
    await world().settle()
    expect(server.commits.length).toBeLessThanOrEqual(2)
  })
})

/** A resolver that notes each time that it is begun, with a wait of `nap` in it. */
const napping = (log: string[], nap: string) =>
  oneField(async (_source, _args, { step }) => {
    log.push('began')
    const first = await step.run('first', () => log.push('first'))
    await step.sleep('nap', nap)
    const second = await step.run('second', () => log.push('second'))
    return [first, second]
  })

overStores('a run that waits', (world) => {
  it('is parked: its lease is given back, and nothing of it is kept open', async () => {
    const server = world().serve(napping(world().log, '30s'))
    const { runId } = await server.ask('{ go }')
    await world().advance('1s')
    expect(await server.get(runId)).toMatchObject({
      status: 'SUSPENDED',
      waitingOn: [{ step: 'nap', kind: 'SLEEP', path: ['go'] }],
      steps: [
        { step: 'first', status: 'COMPLETED', output: 2, attempts: 1 },
        { step: 'nap', status: 'WAITING' },
      ],
    })
    expect(server.commits.at(-1)?.next).toMatchObject({ kind: 'park' })
  })

  it('goes on hot where it was: the resolver is not called again', async () => {
    const server = world().serve(napping(world().log, '30s'))
    const { runId } = await server.ask('{ go }')
    const run = await server.finish(runId)
    expect(run.result).toEqual({ data: { go: [2, 3] } })
    expect(world().log).toEqual(['began', 'first', 'second'])
  })

  it('goes on cold once it was evicted from memory: the resolver is called again, no committed step is (I2)', async () => {
    const options = napping(world().log, '2m')
    const server = world().serve(options)
    const { runId } = await server.ask('{ go }')
    expect((await server.finish(runId)).result).toEqual({ data: { go: [2, 4] } })
    expect(world().log).toEqual(['began', 'first', 'began', 'second'])
  })

  it('is kept no longer than hot says: the oldest leaves first', async () => {
    const server = world().serve({ ...napping(world().log, '30s'), durable: { hot: { runs: 1 } } })
    const one = await server.ask('{ go }')
    await world().advance('1s')
    const two = await server.ask('{ go }')
    await server.finish(one.runId)
    await server.finish(two.runId)
    // The first one was evicted by the second.
    expect(world().log.filter((line) => line === 'began')).toHaveLength(3)
  })

  it('goes through many steps in one wake-up: the resolver is called once for all of them', async () => {
    const options = oneField(async (_source, _args, { step }) => {
      world().log.push('began')
      await step.sleep('nap', '2m')
      let sum = 0
      for (let n = 0; n < 100; n++) sum += await step.run('add', () => n)
      return sum
    })
    const server = world().serve(options)
    const { runId } = await server.ask('{ go }')
    expect((await server.finish(runId)).result).toEqual({ data: { go: 4950 } })
    expect(world().log).toEqual(['began', 'began'])
  })

  it('is not parked while something of it is in flight: a step, or what is no tool', async () => {
    const work = deferred()
    const other = deferred()
    const server = world().serve({
      typeDefs: 'type Query { nap: Int work: Int other: Int }',
      resolvers: {
        Query: {
          nap: (_s: unknown, _a: unknown, { step }: Context) => step.sleep('nap', '50s').then(() => 1),
          work: (_s: unknown, _a: unknown, { step }: Context) => step.run('work', () => work.promise).then(() => 2),
          other: () => other.promise.then(() => 3),
        },
      },
    })
    const { runId } = await server.ask('{ nap work other }')
    await world().advance('3s')
    expect((await server.get(runId)).status).toBe('RUNNING')
    work.resolve()
    await world().advance('3s')
    expect((await server.get(runId)).status).toBe('RUNNING')
    other.resolve()
    await world().advance('3s')
    expect((await server.get(runId)).status).toBe('SUSPENDED')
    expect((await server.finish(runId)).result).toEqual({ data: { nap: 1, work: 2, other: 3 } })
  })

  it('is claimed again where something else than a wait wants to go on', async () => {
    const outside = deferred<string>()
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        const word = await Promise.race([outside.promise, step.waitForEvent('never', { event: 'never' })])
        return step.run('say', () => word)
      }),
    )
    const { runId } = await server.ask('{ go }')
    await world().advance('3s')
    expect((await server.get(runId)).status).toBe('SUSPENDED')
    outside.resolve('hello')
    expect((await server.finish(runId, '30s')).result).toEqual({ data: { go: 'hello' } })
  })
})

overStores('a cold resume', (world) => {
  it('fails the run with DURABLE_RESUME_FAILED where the operation is not valid any more', async () => {
    const first = world().serve(napping(world().log, '30s'))
    const { runId } = await first.ask('{ go }')
    first.kill()
    const second = world().serve({ typeDefs: 'type Query { gone: Int }', resolvers: {} })
    const run = await second.finish(runId)
    expect(run).toMatchObject({
      status: 'FAILED',
      result: { data: null, errors: [{ extensions: { code: 'DURABLE_RESUME_FAILED', runId } }] },
    })
    expect(run.note).toContain('Cannot query field "go"')
  })

  it('that a context factory refuses is tried again, and is a result never (I4)', async () => {
    let refusals = 0
    let refusing = true
    const context = ({ request }: { request: Request }) => {
      if (refusing && !request.headers.get('x-user')) throw new Error(`no user ${++refusals}`)
      return { user: request.headers.get('x-user') ?? 'nobody' }
    }
    const options = oneField(async (_source, _args, { step, user }) => {
      await step.sleep('nap', '2s')
      return user
    })
    const first = world().serve({ ...options, context })
    const { runId } = await first.ask('{ go }', {}, { 'x-user': 'ada' })
    first.kill()
    const second = world().serve({ ...options, context })
    await world().advance('20s')
    expect(await second.get(runId)).toMatchObject({ status: 'SUSPENDED', note: expect.stringContaining('no user') })
    expect(refusals).toBeGreaterThan(2)
    refusing = false
    expect((await second.finish(runId)).result).toEqual({ data: { go: 'nobody' } })
  })

  it('that a plugin refuses with an answer of its own is a resume failure, never a result (I7)', async () => {
    let refusals = 0
    const limiter: Plugin = {
      onExecute({ args, setResultAndStopExecution }) {
        const { durable } = args.contextValue as { durable?: unknown }
        if (durable && ++refusals <= 3)
          setResultAndStopExecution({ data: null, errors: [new GraphQLError('Too many.')] })
      },
    }
    const options = { ...napping(world().log, '2s'), plugins: [limiter] }
    const server = world().serve(options)
    const { runId } = await server.ask('{ go }')
    await world().advance('2s')
    expect(await server.get(runId)).toMatchObject({ status: 'SUSPENDED', note: expect.stringContaining('Too many.') })
    const run = await server.finish(runId)
    expect(run).toMatchObject({ status: 'COMPLETED', result: { data: { go: [2, 3] } } })
    expect(run.result).not.toHaveProperty('errors')
    expect(refusals).toBeGreaterThan(3)
  })

  it('that is refused ten times in a row ends as DURABLE_RESUME_FAILED, with the cause for operators', async () => {
    const context = ({ request }: { request: Request }) => {
      if (!request.headers.get('x-user')) throw new Error('the database of users is gone')
      return {}
    }
    const options = { ...napping(world().log, '2s'), context }
    const first = world().serve(options)
    const { runId } = await first.ask('{ go }', {}, { 'x-user': 'ada' })
    first.kill()
    const run = await world().serve(options).finish(runId)
    expect(run).toMatchObject({
      status: 'FAILED',
      note: expect.stringContaining('the database of users is gone'),
      result: {
        errors: [{ message: 'The operation could not be carried on.', extensions: { code: 'DURABLE_RESUME_FAILED' } }],
      },
    })
  })
})
