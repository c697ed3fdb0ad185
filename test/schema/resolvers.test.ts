import { buildSchema, GraphQLError } from 'graphql'
import { describe, expect, it } from 'vitest'
import type { AuthorizeRequest, RunSnapshot } from '../../src/types.ts'
import { createCursorSeal } from '../../src/engine/cursor-seal.ts'
import { aRun, ask, runId, START, stubDurable, stubResolvers } from './stub.ts'

const schema = buildSchema('type Query { hello: String }')
const owner = (context: unknown) => (context as { user?: string }).user // as the tests make it
const ada = { context: { user: 'ada' } }

describe('durableRun', () => {
  it('answers all of a run, in JSON', async () => {
    const run = aRun('a', {
      version: 'v1',
      waitingOn: [
        {
          path: ['orders', '7', 'checkout'],
          responsePath: ['orders', 0, 'checkout'],
          step: 'approval',
          kind: 'EVENT',
          event: 'order/approved',
          since: START,
          until: null,
        },
      ],
      steps: [
        {
          id: 'checkout>charge',
          path: ['checkout'],
          step: 'charge',
          kind: 'RUN',
          status: 'COMPLETED',
          attempts: 2,
          output: { at: START, amount: 10n },
          error: null,
          startedAt: START,
          endedAt: START,
        },
        {
          id: 'checkout>ratio',
          path: ['checkout'],
          step: 'ratio',
          kind: 'RUN',
          status: 'FAILED',
          attempts: 1,
          output: Number.NaN,
          error: { message: 'no', extensions: { code: 'NO' } },
          startedAt: null,
          endedAt: null,
        },
      ],
    })
    const result = await ask(
      schema,
      stubDurable([run]),
      {},
      `{ durableRun(id: "${run.id}") {
        id status operationName version data errors result retryAfterMs createdAt updatedAt endedAt
        waitingOn { path responsePath step kind event since until }
        steps { id path step kind status attempts output error startedAt endedAt }
      } }`,
    )
    const instant = START.toISOString()
    expect(result).toEqual({
      data: {
        durableRun: {
          id: run.id,
          status: 'SUSPENDED',
          operationName: 'Checkout',
          version: 'v1',
          data: null,
          errors: null,
          result: null,
          retryAfterMs: 1000,
          createdAt: instant,
          updatedAt: instant,
          endedAt: null,
          waitingOn: [{ ...run.waitingOn[0], since: instant }],
          steps: [
            { ...run.steps[0], output: { at: instant, amount: '10' }, startedAt: instant, endedAt: instant },
            { ...run.steps[1], output: null },
          ],
        },
      },
    })
  })

  it('answers the result that a synchronous client would have got, with data and errors out of it', async () => {
    const error = new GraphQLError('masked', { path: ['b'], extensions: { code: 'X' } })
    const run = aRun('a', {
      status: 'FAILED',
      endedAt: START,
      result: { data: { a: 1, b: null }, errors: [error], extensions: { trace: 1 } },
    })
    const durable = stubDurable([run])
    const result = await ask(schema, durable, {}, `{ durableRun(id: "${run.id}", wait: 9) { data errors result } }`)
    const errors = [{ message: 'masked', path: ['b'], extensions: { code: 'X' } }]
    const data = { a: 1, b: null }
    expect(result).toEqual({
      data: { durableRun: { data, errors, result: { data, errors, extensions: { trace: 1 } } } },
    })
    expect(durable.calls).toEqual([['get', run.id]]) // it has ended: nothing to wait for
  })

  it.each([
    ['', 0],
    [', wait: null', 0],
    [', wait: 30', 30_000],
    [', wait: 3000', 60_000],
  ])('resumes the run, and waits as long as maxHold allows: %s', async (argument, timeout) => {
    const run = aRun('a')
    const durable = stubDurable([run])
    await ask(schema, durable, { maxHold: '1m' }, `{ durableRun(id: "${run.id}"${argument}) { id } }`)
    expect(durable.calls).toEqual([
      ['get', run.id],
      ['wait', run.id, { timeout, summary: true, waits: true }],
    ])
  })

  it('refuses a negative wait, whether the run is there or not', async () => {
    const run = aRun('a')
    for (const id of [run.id, runId('f')]) {
      const { errors } = await ask(schema, stubDurable([run]), {}, `{ durableRun(id: "${id}", wait: -1) { id } }`)
      expect(errors).toEqual([
        expect.objectContaining({
          message: 'Expected durableRun(wait:) to be 0 or more, but got -1.',
          extensions: { code: 'BAD_USER_INPUT' },
        }),
      ])
    }
  })

  it('ends its wait with the request, where the context has one', async () => {
    const run = aRun('a')
    const durable = stubDurable([run])
    const request = new Request('http://localhost')
    await ask(schema, durable, {}, `{ durableRun(id: "${run.id}", wait: 1) { id } }`, { context: { request } })
    expect(durable.calls[1]).toEqual([
      'wait',
      run.id,
      { timeout: 1000, signal: request.signal, summary: true, waits: true },
    ])
  })

  it.each([runId('f'), runId('b'), 'nonsense'])('is null for %s, without waiting', async (id) => {
    const durable = stubDurable([aRun('b', { owner: 'bob' })])
    const result = await ask(schema, durable, { owner }, `{ durableRun(id: "${id}", wait: 30) { id } }`, ada)
    expect(result).toEqual({ data: { durableRun: null } })
    expect(durable.calls.filter(([method]) => method === 'wait')).toEqual([])
  })

  it('decides again on what the run has become', async () => {
    const authorize = ({ run }: AuthorizeRequest<unknown>) => run?.status !== 'COMPLETED'
    const durable = stubDurable([aRun('a')])
    const { Query } = stubResolvers(
      { ...durable, runs: { ...durable.runs, wait: async () => aRun('a', { status: 'COMPLETED', endedAt: START }) } },
      { authorize },
    )
    expect(await Query.durableRun(null, { id: runId('a'), wait: 1 }, {})).toBeNull()
  })

  it('never answers the note for operators', async () => {
    const { errors } = await ask(schema, stubDurable([]), {}, `{ durableRun(id: "x") { note } }`)
    expect(errors?.[0]?.message).toContain('Cannot query field "note"')
  })
})

describe('durableRuns', () => {
  const many = [...'9876543210'].map((digit) => aRun(digit, { owner: Number(digit) % 2 ? 'ada' : 'bob' }))
  const query = `query ($first: Int, $after: String) {
    durableRuns(first: $first, after: $after) {
      nodes { id } edges { cursor node { id } } pageInfo { hasNextPage endCursor }
    }
  }`
  interface Page {
    nodes: { id: string }[]
    edges: { cursor: string; node: { id: string } }[]
    pageInfo: { hasNextPage: boolean; endCursor: string | null }
  }

  async function walk(options: Parameters<typeof ask>[2], first: number): Promise<{ ids: string[]; pages: Page[] }> {
    const pages: Page[] = []
    let after: string | null = null
    do {
      const { data } = await ask(schema, stubDurable(many), options, query, { ...ada, variables: { first, after } })
      const page = data!['durableRuns'] as Page
      pages.push(page)
      after = page.pageInfo.hasNextPage ? page.pageInfo.endCursor : null
    } while (after !== null)
    return { ids: pages.flatMap((page) => page.nodes.map(({ id }) => id.at(-1)!)), pages }
  }

  it('lists the runs of the owner, page by page', async () => {
    const { ids, pages } = await walk({ owner }, 2)
    expect(ids.join('')).toBe('97531')
    expect(pages.map((page) => page.nodes.length)).toEqual([2, 2, 1])
    expect(pages[0]!.edges.map(({ node }) => node)).toEqual(pages[0]!.nodes)
    expect(pages[0]!.edges.at(-1)!.cursor).toBe(pages[0]!.pageInfo.endCursor)
  })

  it('goes on after any edge', async () => {
    const { pages } = await walk({ owner }, 5)
    const after = pages[0]!.edges[1]!.cursor
    const { data } = await ask(schema, stubDurable(many), { owner }, query, { ...ada, variables: { first: 9, after } })
    expect((data!['durableRuns'] as Page).nodes.map(({ id }) => id.at(-1)).join('')).toBe('531')
  })

  it('leaves no gap for what authorize hides, and no cursor that names it', async () => {
    const authorize = ({ run }: AuthorizeRequest<unknown>) => run === null || run.owner === 'ada'
    const { ids, pages } = await walk({ authorize }, 2)
    expect(ids.join('')).toBe('97531')
    expect(pages[0]!.nodes).toHaveLength(2)
    const hidden = many.filter((run) => run.owner === 'bob').map((run) => run.id)
    expect(hidden.filter((id) => JSON.stringify(pages).includes(id))).toEqual([])
  })

  it('is the same with runs that the caller may not see as without them, to the last page (I9)', async () => {
    const authorize = ({ run }: AuthorizeRequest<unknown>) => run === null || run.owner === 'ada'
    const own = many.filter((run) => run.owner === 'ada')
    const hidden = [...'abcdef'].map((digit) => aRun(digit, { owner: 'bob' }))
    for (const runs of [[...hidden, ...own], [...own, ...hidden], own.flatMap((run) => [run, ...hidden]), hidden]) {
      const alone = runs.filter((run) => run.owner === 'ada')
      for (const first of [1, 2, 4, 5, 6, 100]) {
        const variables = { first }
        const [page, expected] = await Promise.all(
          [runs, alone].map((each) => ask(schema, stubDurable(each), { authorize }, query, { variables })),
        )
        expect(page, `${runs.length}, ${first}`).toEqual(expected)
      }
    }
  })

  it('bounds the search for visible runs, and can be gone on with', async () => {
    const authorize = ({ run }: AuthorizeRequest<unknown>) => run === null || run.id === runId('0')
    const hidden = Array.from({ length: 1_500 }, (_, index) => ({ ...aRun('1'), id: `${runId('1')}${index}` }))
    const durable = stubDurable([...hidden, aRun('0')])
    const first = await ask(schema, durable, { authorize }, query, { variables: { first: 1 } })
    expect(durable.calls).toHaveLength(11)
    const page = first.data!['durableRuns'] as Page
    expect(page).toMatchObject({ nodes: [], pageInfo: { hasNextPage: true } })
    // It is the place of a run that the caller may not see.
    expect(Buffer.from(page.pageInfo.endCursor!, 'base64url').toString()).not.toMatch(/run_|after/)

    const after = page.pageInfo.endCursor
    const { data } = await ask(schema, durable, { authorize }, query, { variables: { first: 1, after } })
    expect(data!['durableRuns']).toMatchObject({ nodes: [{ id: runId('0') }], pageInfo: { hasNextPage: false } })
  })

  it.each(['', 'nonsense', 'after run_1', Buffer.from(`1767225600000 ${runId('1')}`).toString('base64url'), '🙂'])(
    'refuses %j as a cursor: places are not for clients to make up (I9)',
    async (after) => {
      const { data, errors } = await ask(schema, stubDurable(many), { owner }, query, { ...ada, variables: { after } })
      expect(data).toBeNull()
      expect(errors).toMatchObject([
        { message: expect.stringContaining('Expected durableRuns(after:)'), extensions: { code: 'BAD_USER_INPUT' } },
      ])
    },
  )

  it('refuses a cursor that was changed, and one of another store', async () => {
    const { pages } = await walk({ owner }, 2)
    const good = pages[0]!.pageInfo.endCursor!
    const changed = `${good.slice(0, -2)}${good.endsWith('AA') ? 'BB' : 'AA'}`
    const written = [`${good}=`, ` ${good}`, `${good}\n`]
    for (const after of [changed, ...written, createCursorSeal('another').seal(`after ${runId('7')}`)]) {
      const { errors } = await ask(schema, stubDurable(many), { owner }, query, { ...ada, variables: { after } })
      expect(errors?.[0]?.extensions).toEqual({ code: 'BAD_USER_INPUT' })
    }
  })

  it('passes its filters on, with a page of at most 100', async () => {
    const durable = stubDurable([])
    await ask(
      schema,
      durable,
      { owner },
      `{ durableRuns(status: FAILED, operationName: "A", first: 500) { nodes { id } } }`,
      ada,
    )
    await ask(schema, durable, { owner }, `{ durableRuns(first: null, status: null) { nodes { id } } }`, ada)
    expect(durable.calls).toEqual([
      ['list', { owner: 'ada', status: 'FAILED', operationName: 'A', first: 100 }],
      ['list', { owner: 'ada', first: 21 }],
    ])
  })

  it('refuses a page of none, and callers who may not list', async () => {
    const none = await ask(schema, stubDurable([]), { owner }, `{ durableRuns(first: 0) { nodes { id } } }`, ada)
    expect(none.errors?.[0]?.message).toBe('Expected durableRuns(first:) to be 1 or more, but got 0.')
    for (const options of [{}, { owner }] as const) {
      const { errors } = await ask(schema, stubDurable([]), options, `{ durableRuns { nodes { id } } }`)
      expect(errors?.[0]?.extensions).toEqual({ code: 'DURABLE_FORBIDDEN' })
    }
  })
})

describe('cancelDurableRun', () => {
  const run: RunSnapshot = aRun('a', { owner: 'ada' })

  it('cancels with the reason, and answers the run', async () => {
    const durable = stubDurable([run])
    const source = `mutation { cancelDurableRun(id: "${run.id}", reason: "changed my mind") { id status } }`
    const result = await ask(schema, durable, { owner }, source, ada)
    expect(result).toEqual({ data: { cancelDurableRun: { id: run.id, status: 'CANCELLED' } } })
    expect(durable.calls).toEqual([
      ['get', run.id],
      ['cancel', run.id, 'changed my mind'],
    ])
  })

  it('refuses what is not the caller’s, and cancels nothing', async () => {
    const durable = stubDurable([run])
    const source = `mutation { cancelDurableRun(id: "${run.id}") { id } }`
    const { errors } = await ask(schema, durable, { owner }, source, { context: { user: 'bob' } })
    expect(errors?.[0]?.extensions).toEqual({ code: 'DURABLE_FORBIDDEN' })
    expect(durable.calls).toEqual([['get', run.id]])
  })
})

describe('sendDurableEvent', () => {
  it('is refused without authorize, and sends nothing', async () => {
    const durable = stubDurable([])
    const { errors } = await ask(schema, durable, { owner }, `mutation { sendDurableEvent(name: "a") }`, ada)
    expect(errors?.[0]?.extensions).toEqual({ code: 'DURABLE_FORBIDDEN' })
    expect(durable.calls).toEqual([])
  })
})
