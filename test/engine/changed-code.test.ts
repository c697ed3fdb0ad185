import { expect, it } from 'vitest'
import { usePostgres } from '../support/standing-postgres.ts'
import { deferred, oneField, overAllStores, overStores } from './world.ts'
import type { Resolver, Server, ServerOptions, Tools, World } from './world.ts'

usePostgres()

type Code = (tools: Tools & { run(id: string): Promise<unknown>; seen: string[] }) => Promise<unknown>

/** A process that is killed is missed soon. */
const durable = { worker: { lease: '1s' } } as const

/** A field that runs the code, and notes what it ran and in which order it came. */
function coded(world: World, code: Code, lives: string[][] = []): Resolver {
  return async (_source, _args, tools) => {
    const seen: string[] = []
    lives.push(seen)
    const run = async (id: string): Promise<unknown> => {
      const value = await tools.step.run(id, () => (world.log.push(id), id))
      seen.push(id)
      return value
    }
    return code({ ...tools, run, seen })
  }
}

const field = (resolver: Resolver): ServerOptions => oneField(resolver, durable)

/** Lives through the versions of the code, a process each, which is killed while the run sleeps. */
async function deploy(world: World, versions: readonly Code[], lives: string[][] = []) {
  const runsFor = async (server: Server): Promise<number> => {
    const before = world.now()
    while ((await server.get(runId)).status !== 'SUSPENDED' && world.now() - before < 60_000) await world.advance(50)
    return world.now() - before
  }
  let runId = ''
  let server: Server | null = null
  const tookMs: number[] = []
  for (const code of versions) {
    server?.kill()
    server = world.serve(field(coded(world, code, lives)))
    if (runId === '') ({ runId } = await server.ask('{ go }'))
    else {
      await world.until(server.durable.start())
      // The run is woken by what it sleeps for, and comes to its next sleep.
      await world.advance(1000)
    }
    tookMs.push(await runsFor(server))
  }
  if (!server) throw new Error('There was no version.')
  return { server, runId, tookMs }
}

/** What a version does after what is told: sleeps long enough to be killed. */
const nap =
  (code: Code, duration: string): Code =>
  async (tools) => {
    await code(tools)
    await tools.step.sleep('nap', duration)
    return tools.seen
  }

overAllStores('steps that the code does not ask for any more', (world) => {
  it('cost a run ten seconds once, however many outcomes and replays follow', async () => {
    const names = ['old', 'a', 'older', 'b', 'oldest', 'c']
    const before: Code = async ({ run }) => {
      for (const id of names) await run(id)
    }
    const after: Code = async ({ run }) => {
      for (const id of ['a', 'b', 'c']) await run(id)
    }
    const lives: string[][] = []
    const first = world().serve(field(coded(world(), nap(before, '30s'), lives)))
    const { runId } = await first.ask('{ go }')
    first.kill()
    const second = world().serve(
      field(
        coded(
          world(),
          async (tools) => {
            await after(tools)
            await tools.step.sleep('nap', '30s')
            await tools.run('d')
            await tools.run('e')
            await tools.step.sleep('nap 2', '30s')
            return tools.seen
          },
          lives,
        ),
      ),
    )
    await world().until(second.durable.start())
    const dead = world().now()
    while (!world().log.includes('e')) await world().advance(50)
    // The nap is over 30 s after it began; ten seconds for the code's change may come on top, and no more.
    expect(world().now() - dead).toBeLessThan(45_000)
    expect(lives[1]).toEqual(['a', 'b', 'c', 'd', 'e'])
    const { note } = await second.get(runId)
    for (const id of ['old', 'older', 'oldest']) expect(note).toContain(`"go>${id}"`)
    expect(second.warnings.join()).toContain('passed over')
    second.kill()

    const third = world().serve(
      field(
        coded(
          world(),
          async (tools) => {
            await after(tools)
            await tools.step.sleep('nap', '30s')
            await tools.run('d')
            await tools.run('e')
            await tools.step.sleep('nap 2', '30s')
            return tools.seen
          },
          lives,
        ),
      ),
    )
    await world().until(third.durable.start())
    const again = world().now()
    const run = await third.finish(runId)
    expect(world().now() - again).toBeLessThan(36_000)
    expect(run).toMatchObject({ status: 'COMPLETED', result: { data: { go: ['a', 'b', 'c', 'd', 'e'] } } })
    expect(run.steps.map(({ step }) => step)).toEqual([...names, 'nap', 'd', 'e', 'nap 2'])
    expect(world().log).toEqual([...names, 'd', 'e'])
  })
})

overStores('a step that was removed', (world) => {
  it('in one field holds no other field up for longer', async () => {
    const fieldOf = (names: readonly string[]): Resolver =>
      coded(
        world(),
        nap(async ({ run }) => {
          for (const id of names) await run(id)
        }, '5s'),
      )
    const types = 'scalar Any type Query { one: Any two: Any }'
    const first = world().serve({
      typeDefs: types,
      resolvers: { Query: { one: fieldOf(['old', 'a', 'b']), two: fieldOf(['c', 'd', 'e']) } },
      durable,
    })
    const { runId } = await first.ask('{ one two }')
    first.kill()
    const second = world().serve({
      typeDefs: types,
      resolvers: { Query: { one: fieldOf(['a', 'b']), two: fieldOf(['c', 'd', 'e']) } },
      durable,
    })
    const before = world().now()
    const run = await second.finish(runId)
    expect(world().now() - before).toBeLessThan(15_000)
    expect(run.result).toEqual({ data: { one: ['a', 'b'], two: ['c', 'd', 'e'] } })
    expect(run.note).toContain('"one>old"')
  })

  it('and had been called side by side with others costs ten seconds once', async () => {
    const all = (names: readonly string[]): Code => nap(({ run }) => Promise.all(names.map(run)), '2s')
    const { server, runId } = await deploy(world(), [all(['old', 'a', 'older', 'b', 'oldest', 'c'])])
    server.kill()
    const second = world().serve(field(coded(world(), all(['a', 'b', 'c']))))
    const before = world().now()
    const run = await second.finish(runId)
    expect(world().now() - before).toBeLessThan(13_000)
    expect(run.result).toEqual({ data: { go: ['a', 'b', 'c'] } })
  })

  it('and is asked for after all is given, and the note is taken back', async () => {
    const slow = (ms: number): Code =>
      nap(
        async ({ run }) =>
          Promise.all([
            new Promise<void>((resolve) => current.clock.setTimeout(resolve, ms)).then(() => run('late')),
            run('quick'),
          ]),
        '40s',
      )
    let current = world().serve(field(coded(world(), slow(0))))
    const { runId } = await current.ask('{ go }')
    const first = current
    await world().advance('1s')
    first.kill()
    current = world().serve(field(coded(world(), slow(20_000))))
    const run = await current.finish(runId)
    expect(run).toMatchObject({ status: 'COMPLETED', result: { data: { go: ['quick', 'late'] } }, note: null })
    expect(world().log.toSorted()).toEqual(['late', 'quick'])
  })

  it('and renamed is a step that is new, and one that is passed over', async () => {
    const named = (id: string): Code =>
      nap(async ({ run }) => {
        await run('a')
        await run(id)
        await run('b')
      }, '2s')
    const { server, runId } = await deploy(world(), [named('old')])
    server.kill()
    const second = world().serve(field(coded(world(), named('new'))))
    const before = world().now()
    const run = await second.finish(runId)
    expect(world().now() - before).toBeLessThan(13_000)
    expect(run).toMatchObject({ status: 'COMPLETED', result: { data: { go: ['a', 'new', 'b'] } } })
    expect(run.note).toContain('"go>old"')
    expect(world().log).toEqual(['a', 'old', 'b', 'new'])
  })

  it('as the last of them is noted, too', async () => {
    const named = (id: string): Code =>
      nap(async ({ run }) => {
        await run('a')
        await run(id)
      }, '2s')
    const { server, runId } = await deploy(world(), [named('old')])
    server.kill()
    const run = await world()
      .serve(field(coded(world(), named('new'))))
      .finish(runId)
    expect(run).toMatchObject({ status: 'COMPLETED', result: { data: { go: ['a', 'new'] } } })
    expect(run.note).toContain('"go>old"')
  })

  it('as a wait was, which nothing waits for any more', async () => {
    const before: Code = nap(async ({ step, run }) => {
      const closing = new AbortController()
      await Promise.race([run('a'), step.waitForEvent('gone', { event: 'gone', signal: closing.signal })])
      await run('b')
    }, '2s')
    const after: Code = nap(async ({ run }) => {
      await run('a')
      await run('b')
    }, '2s')
    const { server, runId } = await deploy(world(), [before])
    server.kill()
    const second = world().serve(field(coded(world(), after)))
    const start = world().now()
    const run = await second.finish(runId)
    expect(world().now() - start).toBeLessThan(13_000)
    expect(run).toMatchObject({ status: 'COMPLETED', result: { data: { go: ['a', 'b'] } } })
  })
})

const insertions: [string, Code, Code][] = [
  [
    'in front of all others',
    async ({ run }) => {
      await run('a')
      await run('b')
    },
    async ({ run }) => {
      await run('new')
      await run('a')
      await run('b')
    },
  ],
  [
    'between others',
    async ({ run }) => {
      await run('a')
      await run('b')
    },
    async ({ run }) => {
      await run('a')
      await run('new')
      await run('newer')
      await run('b')
    },
  ],
  [
    'in front of steps side by side',
    async ({ run }) => {
      await Promise.all(['a', 'b', 'c'].map(run))
    },
    async ({ run }) => {
      await run('new')
      await Promise.all(['a', 'b', 'c'].map(run))
    },
  ],
  [
    'beside a wait that is open',
    async ({ step, run }) => {
      void step.sleep('patience', '1h')
      await run('a')
      await run('b')
    },
    async ({ step, run }) => {
      await run('new')
      void step.sleep('patience', '1h')
      await run('a')
      await run('b')
    },
  ],
  [
    'in both of two branches',
    async ({ run }) => {
      await Promise.all([run('a').then(() => run('a2')), run('b').then(() => run('b2'))])
    },
    async ({ run }) => {
      await Promise.all([
        run('new a')
          .then(() => run('a'))
          .then(() => run('a2')),
        run('new b')
          .then(() => run('b'))
          .then(() => run('b2')),
      ])
    },
  ],
  [
    'as a sleep',
    async ({ run }) => {
      await run('a')
    },
    async ({ step, run }) => {
      await step.sleep('new', '300ms')
      await run('a')
    },
  ],
  [
    'as a send',
    async ({ run }) => {
      await run('a')
    },
    async ({ step, run }) => {
      await step.sendEvent('new', { name: 'new' })
      await run('a')
    },
  ],
]

overAllStores('a step that is added', (world) => {
  it.each(insertions)('%s runs when it is reached, and stalls no replay', async (_where, before, after) => {
    const lives: string[][] = []
    const { server, runId, tookMs } = await deploy(
      world(),
      [nap(before, '4s'), nap(after, '4s'), nap(after, '4s')],
      lives,
    )
    expect(Math.max(...tookMs)).toBeLessThan(5000)
    expect(lives[2]).toEqual(lives[1])
    const run = await server.finish(runId)
    expect(run).toMatchObject({ status: 'COMPLETED', result: { data: { go: lives[1] } }, note: null })
    expect(server.warnings.join()).not.toContain('passed over')
    expect(new Set(world().log).size).toBe(world().log.length) // nothing ran twice
  })
})

overStores('a step that is added', (world) => {
  it('at the end of a field goes before the outcomes of what that field is followed by', async () => {
    const first =
      (added: boolean): Code =>
      async ({ run }) => {
        await run('a')
        if (added) await run('new')
        return 'first'
      }
    const second: Code = nap(async ({ run }) => run('b'), '2s')
    const types = 'scalar Any type Query { x: Any } type Mutation { first: Any second: Any }'
    const resolvers = (added: boolean) => ({
      Mutation: { first: coded(world(), first(added)), second: coded(world(), second) },
    })
    const one = world().serve({ typeDefs: types, resolvers: resolvers(false), durable })
    const { runId } = await one.ask('mutation { first second }')
    one.kill()
    const two = world().serve({ typeDefs: types, resolvers: resolvers(true), durable })
    const before = world().now()
    const run = await two.finish(runId)
    expect(world().now() - before).toBeLessThan(5000)
    expect(run).toMatchObject({ result: { data: { first: 'first', second: ['b'] } }, note: null })
    expect(world().log).toEqual(['a', 'b', 'new'])
  })

  it('and takes long keeps what is behind it for no longer than it takes', async () => {
    const done = deferred<void>()
    const before: Code = nap(async ({ run }) => run('a'), '2s')
    const after: Code = nap(async ({ step, run }) => {
      await step.run('new', () => done.promise)
      await run('a')
    }, '1s')
    const { server, runId } = await deploy(world(), [before])
    server.kill()
    const second = world().serve(field(coded(world(), after)))
    await world().until(second.durable.start())
    await world().advance('5m')
    done.resolve()
    const start = world().now()
    const run = await second.finish(runId)
    expect(world().now() - start).toBeLessThan(3000)
    expect(run).toMatchObject({ status: 'COMPLETED', result: { data: { go: ['a'] } }, note: null })
  })

  it('does not win a race that an earlier life has decided', async () => {
    const gate = deferred<void>()
    const code =
      (isAdded: boolean): Code =>
      async ({ step, run, seen }) => {
        if (isAdded) await run('new')
        const winner = await Promise.race([
          step.run('slow', () => gate.promise.then(() => 'slow')),
          step.run('fast', () => 'fast'),
        ])
        await run(`after ${winner}`)
        await step.sleep('nap', '4s')
        return [...seen, winner]
      }
    const first = world().serve(field(coded(world(), code(false))))
    const { runId } = await first.ask('{ go }')
    first.kill()
    gate.resolve()
    const run = await world()
      .serve(field(coded(world(), code(true))))
      .finish(runId)
    expect(run.result).toEqual({ data: { go: ['new', 'after fast', 'fast'] } })
  })
})

overAllStores('a wait that is open when the code changes', (world) => {
  it.each([
    ['event', { event: 'a' }, { event: 'b' }, { name: 'a' }, { name: 'b' }],
    [
      'match',
      { event: 'a', match: { n: 1 } },
      { event: 'a', match: { n: 2 } },
      { name: 'a', data: { n: 1 } },
      { name: 'a', data: { n: 2 } },
    ],
  ] as const)('for an event is over by what the code asks for now: another %s', async (_what, old, now, unfit, fit) => {
    const code =
      (options: { event: string; match?: object }): Resolver =>
      async (_s, _a, { step }) =>
        (await step.waitForEvent('approval', options as never))?.name
    const first = world().serve(field(code(old)))
    const { runId } = await first.ask('{ go }')
    first.kill()
    const second = world().serve(field(code(now)))
    await world().until(second.durable.start())
    await world().until(second.durable.send(unfit))
    await world().advance('2s')
    expect((await second.get(runId)).status).toBe('SUSPENDED')
    expect((await second.get(runId)).waitingOn).toMatchObject([{ event: now.event }])
    await world().until(second.durable.send(fit))
    const run = await second.finish(runId)
    expect(run).toMatchObject({ status: 'COMPLETED', result: { data: { go: fit.name } } })
    expect(run.note).toContain('"go>approval"')
    expect(second.warnings.join()).toContain('replaced')
  })

  it('keeps its end, and since when it waits', async () => {
    const code =
      (event: string): Resolver =>
      async (_s, _a, { step }) =>
        step.waitForEvent('approval', { event, timeout: '10m' })
    const first = world().serve(field(code('a')))
    const start = world().now()
    const { runId } = await first.ask('{ go }')
    await world().advance('8m')
    first.kill()
    const second = world().serve(field(code('b')))
    await world().until(second.durable.start())
    await world().advance('1m')
    await world().until(second.durable.send({ name: 'unrelated' }))
    await world().until(second.durable.send({ name: 'a' }))
    await world().advance('5s')
    const [waiting] = (await second.get(runId)).waitingOn
    expect(Number(waiting?.since) - start).toBeLessThan(5000)
    expect(Number(waiting?.until) - start).toBeLessThan(605_000)
    const run = await second.finish(runId)
    expect(run.result).toEqual({ data: { go: null } })
    expect(world().now() - start).toBeLessThan(620_000)
  })

  it('gets a timeout that is added', async () => {
    const code =
      (options: object): Resolver =>
      async (_s, _a, { step }) =>
        step.waitForEvent('approval', { event: 'a', ...options })
    const first = world().serve(field(code({})))
    const { runId } = await first.ask('{ go }')
    first.kill()
    const second = world().serve(field(code({ timeout: '1m' })))
    await world().until(second.durable.start())
    await world().until(second.durable.send({ name: 'a', data: 1 }))
    expect((await second.finish(runId)).result).toMatchObject({ data: { go: { name: 'a' } } })
  })

  it('and whose match is written in another order is the same', async () => {
    const code =
      (match: object): Resolver =>
      async (_s, _a, { step }) =>
        (await step.waitForEvent('approval', { event: 'a', match: match as never }))?.name
    const first = world().serve(field(code({ x: 1, y: { z: 2, w: [3] } })))
    const { runId } = await first.ask('{ go }')
    first.kill()
    const second = world().serve(field(code({ y: { w: [3], z: 2 }, x: 1 })))
    await world().until(second.durable.start())
    await world().until(second.durable.send({ name: 'a', data: { x: 1, y: { z: 2, w: [3] } } }))
    expect(await second.finish(runId)).toMatchObject({ result: { data: { go: 'a' } }, note: null })
  })

  const kinds: Record<string, Code> = {
    sleep: ({ step }) => step.sleep('x', '1m'),
    event: ({ step }) => step.waitForEvent('x', { event: 'e', timeout: '1m' }),
    retry: ({ step }) =>
      step.run('x', () => Promise.reject(new Error('no')), { retries: 5, backoff: { initial: '1m', jitter: 'none' } }),
  }
  const changes = Object.keys(kinds).flatMap((from) =>
    Object.keys(kinds)
      .filter((to) => to !== from)
      .map((to) => [from, to] as const),
  )
  it.each(changes)('is not silently another kind: a %s that has become a %s', async (from, to) => {
    const first = world().serve(field(coded(world(), kinds[from] as Code)))
    const { runId } = await first.ask('{ go }')
    first.kill()
    const second = world().serve(field(coded(world(), kinds[to] as Code)))
    await world().until(second.durable.start())
    await world().until(second.durable.send({ name: 'e' })) // wakes what waits for events
    const run = await second.finish(runId, '3h')
    expect(run.status).toBe('FAILED')
    expect(run.result?.errors).toMatchObject([{ extensions: { code: 'DURABLE_NONDETERMINISM' } }])
    expect(run.note).toContain('"go>x"')
  })
})
