import { expect, it } from 'vitest'
import { deferred, oneField, overStores } from './world.ts'

const napping = (durable = {}) =>
  oneField(async (_source, { n }, { step }) => {
    await step.run('first', () => n)
    await step.sleep('nap', '30s')
    return n
  }, durable)

overStores('runs.get', (world) => {
  it('gives a run as it is: its steps, what it waits for, and in the end its result', async () => {
    const work = deferred<string>()
    const server = world().serve(
      oneField(
        async (_source, _args, { step }) => {
          await step.run('first', () => ({ n: 1 }))
          await step.run('broken', () => Promise.reject(new Error('secret')), { retries: 0 }).catch(() => {})
          await Promise.all([
            step.waitForEvent('hear', { event: 'told', timeout: '1m' }),
            step.run('work', () => work.promise),
          ])
          return 'done'
        },
        { version: 'v7', owner: () => 'ada' },
      ),
    )
    const began = world().now()
    const { runId } = await server.ask('query Name { go }')
    const running = await server.get(runId)
    expect(running).toMatchObject({
      id: runId,
      status: 'RUNNING',
      operationName: 'Name',
      owner: 'ada',
      version: 'v7',
      result: null,
      endedAt: null,
      note: null,
      waitingOn: [{ path: ['go'], step: 'hear', kind: 'EVENT', event: 'told', until: new Date(began + 60_000) }],
    })
    expect(running.steps).toMatchObject([
      { id: 'go>first', path: ['go'], step: 'first', kind: 'RUN', status: 'COMPLETED', output: { n: 1 }, error: null },
      { step: 'broken', status: 'FAILED', attempts: 1, output: null, error: { message: 'Unexpected error.' } },
      { step: 'hear', kind: 'EVENT', status: 'WAITING' },
      { step: 'work', kind: 'RUN', status: 'RUNNING', attempts: 1 },
    ])
    work.resolve('worked')
    const run = await server.finish(runId)
    expect(run).toMatchObject({
      status: 'COMPLETED',
      waitingOn: [],
      retryAfterMs: null,
      result: { data: { go: 'done' } },
    })
    expect(run.endedAt?.getTime()).toBeGreaterThanOrEqual(began + 60_000)
    expect(run.steps.find(({ step }) => step === 'work')?.output).toBe('worked')
  })

  it('gives null where there is no such run', async () => {
    const server = world().serve(napping())
    expect(await world().until(server.durable.runs.get('run_00000000000000000000000000000000'))).toBeNull()
    expect(await world().until(server.durable.runs.wait('run_00000000000000000000000000000000'))).toBeNull()
  })
})

overStores('runs.list', (world) => {
  it('gives the newest first, page by page, filtered by status, name and owner', async () => {
    let user = 'ada'
    const server = world().serve(napping({ owner: () => user }))
    const ids: string[] = []
    for (let n = 0; n < 5; n++) {
      user = n === 2 ? 'bob' : 'ada'
      ids.unshift((await server.ask(`query ${n < 3 ? 'Early' : 'Late'} { go(n: ${n}) }`)).runId)
      await world().advance('2s')
    }
    await server.finish(ids.at(-1) ?? '')
    const { list } = server.durable.runs
    const idsOf = async (filter: Parameters<typeof list>[0]) =>
      (await world().until(list(filter))).runs.map(({ id }) => id)
    expect(await idsOf({})).toEqual(ids)
    expect(await idsOf({ operationName: 'Late' })).toEqual(ids.slice(0, 2))
    expect(await idsOf({ owner: 'bob' })).toEqual([ids[2]])
    expect(await idsOf({ status: 'COMPLETED' })).toEqual([ids[4]])
    expect(await idsOf({ status: 'SUSPENDED', owner: 'ada' })).toEqual([ids[0], ids[1], ids[3]])
    const first = await world().until(list({ first: 2 }))
    const second = await world().until(list({ first: 2, after: first.endCursor ?? '' }))
    const third = await world().until(list({ first: 2, after: second.endCursor ?? '' }))
    expect([first, second, third].map(({ runs }) => runs.map(({ id }) => id))).toEqual([
      ids.slice(0, 2),
      ids.slice(2, 4),
      ids.slice(4),
    ])
    expect(third.endCursor).toBeNull()
    expect((await world().until(list({ first: 5 }))).endCursor).toBeNull()
    await expect(list({ first: 0 })).rejects.toThrow('first')
    await expect(list({ after: 'nonsense' })).rejects.toThrow('endCursor')
  })
})

overStores('runs.wait', (world) => {
  it('resolves as soon as the run has ended', async () => {
    const server = world().serve(napping())
    const { runId } = await server.ask('{ go(n: 1) }')
    const began = world().now()
    const run = await world().until(server.durable.runs.wait(runId))
    expect(run?.status).toBe('COMPLETED')
    expect(world().now() - began).toBeLessThan(31_500)
  })

  it('gives the run as it is after its timeout, or when its signal aborts', async () => {
    const server = world().serve(napping())
    const { runId } = await server.ask('{ go(n: 1) }')
    const began = world().now()
    expect((await world().until(server.durable.runs.wait(runId, { timeout: '3s' })))?.status).toBe('SUSPENDED')
    expect(world().now() - began).toBe(3000)
    const controller = new AbortController()
    const waiting = server.durable.runs.wait(runId, { signal: controller.signal })
    await world().advance('500ms')
    controller.abort()
    expect((await world().until(waiting))?.status).toBe('SUSPENDED')
    expect(world().now() - began).toBe(3500)
  })

  it('sees the end that another process made', async () => {
    const server = world().serve(napping())
    const other = world().serve(napping({ worker: false }))
    const { runId } = await server.ask('{ go(n: 1) }')
    expect((await other.finish(runId)).result).toEqual({ data: { go: 1 } })
  })
})

overStores('worker: false', (world) => {
  it('advances nothing by itself; polling alone carries a run to its end', async () => {
    const options = oneField(
      async (_source, _args, { step }) => {
        for (let n = 0; n < 3; n++) {
          await step.sleep(`nap ${n}`, '10s')
          await step.run(`work ${n}`, () => world().log.push(`work ${n}`))
        }
        return 'done'
      },
      { worker: false },
    )
    const server = world().serve(options)
    const { runId } = await server.ask('{ go }')
    await world().advance('5m')
    expect(world().log).toEqual([])
    let polls = 0
    for (; (await server.get(runId)).status !== 'COMPLETED' && polls < 20; polls++) {
      await world().until(server.durable.runs.wait(runId, { timeout: '1s' }))
      await world().advance('10s')
    }
    expect(world().log).toEqual(['work 0', 'work 1', 'work 2'])
    expect(polls).toBeLessThan(6)
  })

  it('takes over what a dead process left, when it is asked for', async () => {
    const first = world().serve(napping())
    const { runId } = await first.ask('{ go(n: 5) }')
    first.kill()
    const second = world().serve(napping({ worker: false }))
    await world().advance('1m')
    expect((await second.get(runId)).status).not.toBe('COMPLETED')
    expect((await second.finish(runId)).result).toEqual({ data: { go: 5 } })
  })
})

overStores('runs.cancel', (world) => {
  it('ends a parked run: it never goes on, and later events change nothing', async () => {
    const server = world().serve(
      oneField(async (_source, _args, { step }) => {
        await step.waitForEvent('hear', { event: 'told' })
        world().log.push('went on')
      }),
    )
    const { runId } = await server.ask('{ go }')
    await world().advance('2s')
    const cancelled = await world().until(server.durable.runs.cancel(runId))
    expect(cancelled).toMatchObject({ status: 'CANCELLED', waitingOn: [], retryAfterMs: null })
    await world().until(server.durable.send({ name: 'told' }))
    await world().advance('2m')
    expect(world().log).toEqual([])
    expect(await server.get(runId)).toEqual(cancelled)
  })

  it('leaves a run that has ended as it is, and refuses one that does not exist', async () => {
    const server = world().serve(napping())
    const { runId } = await server.ask('{ go(n: 1) }')
    const run = await server.finish(runId)
    expect(await world().until(server.durable.runs.cancel(runId))).toEqual(run)
    await expect(world().until(server.durable.runs.cancel('run_none'))).rejects.toMatchObject({
      code: 'DURABLE_FORBIDDEN',
    })
  })
})

overStores('runs.delete and retention', (world) => {
  it('delete removes an ended run, and no other', async () => {
    const server = world().serve(napping())
    const { runId } = await server.ask('{ go(n: 1) }')
    expect(await world().until(server.durable.runs.delete(runId))).toBe(false)
    await server.finish(runId)
    expect(await world().until(server.durable.runs.delete(runId))).toBe(true)
    expect(await world().until(server.durable.runs.get(runId))).toBeNull()
  })

  it('delete leaves a run alone that goes on, whatever it is doing', async () => {
    const gate = deferred()
    const server = world().serve(
      oneField(
        async (_source, _args, { step }) => {
          await step.run('first', () => 1)
          await step.run('work', () => gate.promise)
          await step.sleep('nap', '10s')
          return 'done'
        },
        { deferAfter: '1s' },
      ),
    )
    const remove = (id: string) => world().until(server.durable.runs.delete(id))
    const { runId } = await server.ask('{ go }')
    expect((await server.get(runId)).status).toBe('RUNNING')
    expect(await remove(runId)).toBe(false)
    gate.resolve()
    await world().advance('3s')
    expect((await server.get(runId)).status).toBe('SUSPENDED')
    expect(await remove(runId)).toBe(false)
    expect((await server.finish(runId)).result).toEqual({ data: { go: 'done' } })
    expect(await remove(runId)).toBe(true)
    expect(await remove(runId)).toBe(false)
    expect(await remove('run_unknown')).toBe(false)
  })

  it('ended runs are kept for as long as retention says, and pruned after that', async () => {
    const server = world().serve(napping({ retention: '15m' }))
    const { runId } = await server.ask('{ go(n: 1) }')
    await server.finish(runId)
    await world().advance('14m')
    expect((await server.get(runId)).status).toBe('COMPLETED')
    await world().advance('11m')
    expect(await world().until(server.durable.runs.get(runId))).toBeNull()
  })
})
