import { AsyncLocalStorage } from 'node:async_hooks'
import { createHmac } from 'node:crypto'
import { createInlineSigningKeyProvider, extractFromHeader, useJWT } from '@graphql-yoga/plugin-jwt'
import { GraphQLError } from 'graphql'
import type { Plugin } from 'graphql-yoga'
import { describe, expect, it } from 'vitest'
import { createApp, runIdOf, STACKS, useApps } from './harness.ts'
import type { App, AppSpec } from './harness.ts'

// Resuming without a request (DESIGN.md): what a cold pass's context is made of.

useApps()

/** A resolver that uses its context before the wait and after it. */
const whoami = (read: (context: any) => unknown): AppSpec => ({
  typeDefs: 'type Query { whoami: String }',
  resolvers: {
    Query: {
      whoami: async (_: unknown, __: unknown, context: any) => {
        const { step } = context
        await step.waitForEvent('go', { event: 'go' })
        return String(await read(context))
      },
    },
  },
})

async function resumeCold(app: App, headers: Record<string, string>): Promise<unknown> {
  const runId = runIdOf(await app.ask('{ whoami }', { headers }))
  await app.restart()
  await app.durable.send({ name: 'go' })
  const run = await app.ended(runId, '30s')
  return run.result?.data?.['whoami'] ?? run.result
}

const ada = { 'x-user': 'ada' }
const refused = { errors: [{ extensions: { code: 'DURABLE_RESUME_FAILED' } }] }

describe.each(STACKS)('a context factory of $server that throws without a user over $store', (stack) => {
  const factory: AppSpec = {
    ...whoami(({ user }) => user),
    context: ({ request, user }: any) => {
      if (!request) throw new Error('There is no request')
      const name = user ?? request.headers.get('x-user')
      if (!name) throw new GraphQLError('Sign in')
      return { user: name }
    },
  }

  it('refuses a cold pass that has nothing to show for itself: a resume failure, never a result', async () => {
    const app = await createApp(stack, factory)
    expect(await resumeCold(app, ada)).toMatchObject(refused)
    expect(app.warnings.map(({ message }) => message)).toContainEqual(
      expect.stringContaining('the option `context` is not set'),
    )
  })

  it('is taken at its word, without a warning, where `context` is there and empty', async () => {
    const app = await createApp(stack, { ...whoami(() => 'anybody'), durable: { context: {} } })
    expect(await resumeCold(app, ada)).toBe('anybody')
    expect(app.warnings).toEqual([])
  })

  it('is satisfied with the headers that the run kept', async () => {
    const app = await createApp(stack, { ...factory, durable: { context: { headers: ['X-User'] } } })
    expect(await resumeCold(app, ada)).toBe('ada')
  })

  it('is satisfied with what restore gives to it', async () => {
    const context = {
      capture: ({ user }: any) => ({ user }),
      restore: ({ user }: any) => ({ user: `${user} again` }),
    }
    const app = await createApp(stack, { ...factory, durable: { context } as any })
    expect(await resumeCold(app, ada)).toBe('ada again')
  })

  it('is satisfied with the request that is made for it', async () => {
    const context = {
      capture: ({ user }: any) => user,
      request: (user: string, run: any) => ({ headers: { 'x-user': `${user} of ${run.id.slice(0, 4)}` } }),
    }
    const app = await createApp(stack, { ...factory, durable: { context } as any })
    expect(await resumeCold(app, ada)).toBe('ada of run_')
  })

  it('is not asked where create makes the whole context', async () => {
    const context = {
      capture: ({ user }: any) => user,
      create: async (user: string) => ({ user: `created ${user}` }),
    }
    const app = await createApp(stack, { ...factory, durable: { context } as any })
    expect(await resumeCold(app, ada)).toBe('created ada')
  })

  it('never finds credentials that nobody named', async () => {
    const seen: string[] = []
    const app = await createApp(stack, {
      ...whoami(() => 'somebody'),
      context: ({ request }: any) => {
        for (const [name] of request.headers) seen.push(name)
        return {}
      },
      durable: { context: { headers: ['x-user'] } },
    })
    const secrets = { authorization: 'Bearer secret', cookie: 'session=secret' }
    const runId = runIdOf(await app.ask('{ whoami }', { headers: { ...ada, ...secrets } }))
    seen.length = 0
    await app.restart()
    await app.durable.send({ name: 'go' })
    await app.ended(runId)
    expect(new Set(seen)).toEqual(new Set(['content-type', 'accept', 'x-user']))
  })
})

describe.each(STACKS)('a context factory of $server that derives a loader from the user over $store', (stack) => {
  const factory: AppSpec = {
    ...whoami(({ user, loader }) => `${user} ${loader()}`),
    context: ({ request, user = request.headers.get('x-user') }: any) => ({
      user,
      loader: () => `orders of ${user}`,
    }),
  }
  const capture = ({ user }: any): unknown => ({ user })

  it('derives it from what restore gave, which also wins over what the factory made', async () => {
    const context = { capture, restore: async ({ user }: any) => ({ user }) }
    const app = await createApp(stack, { ...factory, durable: { context } as any })
    expect(await resumeCold(app, ada)).toBe('ada orders of ada')
    const overruled = await createApp(stack, {
      ...whoami(({ user, loader }) => `${user} ${loader()}`),
      context: ({ user = 'nobody' }: any) => ({ user: 'from the factory', loader: () => `orders of ${user}` }),
      durable: { context: { capture: () => 0, restore: () => ({ user: 'restored' }) } },
    })
    expect(await resumeCold(overruled, ada)).toBe('restored orders of restored')
  })

  it('keeps the values of what capture returned, with their types (I11)', async () => {
    const context = {
      capture: () => ({ since: new Date(0), ids: new Set([1n]) }),
      restore: ({ since, ids }: any) => ({ user: `${since instanceof Date} ${ids.has(1n)}` }),
    }
    const app = await createApp(stack, { ...factory, durable: { context } as any })
    expect(await resumeCold(app, ada)).toBe('true true orders of true true')
  })

  it('tells an operation at once that what capture returned cannot be kept', async () => {
    const app = await createApp(stack, { ...factory, durable: { context: { capture: () => ({ user: () => 1 }) } } })
    const { body } = await app.ask('{ whoami }')
    expect(body).toMatchObject({
      data: { whoami: null },
      errors: [{ path: ['whoami'], extensions: { code: 'DURABLE_NOT_SERIALIZABLE' } }],
    })
    expect(body.extensions).toBeUndefined()
  })

  it('is refused while restore rejects, and carries on once it does not', async () => {
    let down = true
    const context = {
      capture,
      restore: async ({ user }: any) => {
        if (down) throw new Error('The directory is down')
        return { user }
      },
    }
    const app = await createApp(stack, { ...factory, durable: { context } as any })
    const runId = runIdOf(await app.ask('{ whoami }', { headers: ada }))
    await app.restart()
    await app.durable.send({ name: 'go' })
    await app.clock.advance('10s')
    expect(await app.durable.runs.get(runId)).toMatchObject({ status: 'SUSPENDED', note: 'The directory is down' })
    down = false
    expect((await app.ended(runId)).result).toEqual({ data: { whoami: 'ada orders of ada' } })
  })
})

describe.each(STACKS)("a pass of $server within the user's own AsyncLocalStorage over $store", (stack) => {
  it.each(['hot', 'cold'] as const)('is entered by `enter`, %s', async (how) => {
    const tenant = new AsyncLocalStorage<string>()
    const spec = whoami(() => tenant.getStore())
    const context = {
      capture: () => tenant.getStore() ?? 'nobody',
      enter: (captured: string, _run: unknown, next: () => any) => tenant.run(captured, next),
    }
    const app = await createApp(stack, { ...spec, durable: { context } as any })
    const runId = runIdOf(await tenant.run('acme', () => app.ask('{ whoami }')))
    if (how === 'cold') await app.restart()
    await tenant.run('not this one', () => app.durable.send({ name: 'go' }))
    expect((await app.ended(runId)).result).toEqual({ data: { whoami: 'acme' } })
  })

  it.each(['hot', 'cold'] as const)('knows that it is one by context.durable, %s', async (how) => {
    const seen: unknown[] = []
    const spec = whoami(({ durable }) => JSON.stringify(durable))
    const app = await createApp(stack, {
      ...spec,
      before: [{ onExecute: ({ args }: any) => void seen.push(args.contextValue.durable) }],
      durable: { context: { capture: () => 'kept' } },
    })
    const runId = runIdOf(await app.ask('{ whoami }'))
    if (how === 'cold') await app.restart()
    await app.durable.send({ name: 'go' })
    await app.ended(runId)
    const pass = { runId, resuming: true, captured: 'kept' }
    expect(seen).toEqual(how === 'hot' ? [undefined, pass] : [undefined, pass, pass])
  })
})

const SECRET = 'a test secret'

/** HS256, as small as it gets. */
function mint(sub: string): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const content = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub })}`
  return `${content}.${createHmac('sha256', SECRET).update(content).digest('base64url')}`
}

// Over memory alone: what a token is worth does not depend on where the run is.
describe('the JWT plugin of Yoga', () => {
  const spec = (): AppSpec => ({
    ...whoami(({ jwt }) => jwt.payload.sub),
    before: [
      useJWT({
        signingKeyProviders: [createInlineSigningKeyProvider(SECRET)],
        tokenLookupLocations: [extractFromHeader({ name: 'authorization', prefix: 'Bearer' })],
        tokenVerification: { algorithms: ['HS256'] },
        reject: { missingToken: true, invalidToken: true },
      }) as Plugin,
    ],
  })
  const headers = { authorization: `Bearer ${mint('ada')}` }
  const capture = ({ jwt }: any): unknown => jwt.payload.sub

  it('refuses a pass without a token', async () => {
    const app = await createApp('Yoga', spec())
    expect(await resumeCold(app, headers)).toMatchObject(refused)
  })

  it('takes a token that is minted for the pass', async () => {
    const context = {
      capture,
      request: (sub: string) => ({ headers: { authorization: `Bearer ${mint(`${sub}, resumed`)}` } }),
    }
    const app = await createApp('Yoga', { ...spec(), durable: { context } as any })
    expect(await resumeCold(app, headers)).toBe('ada, resumed')
  })

  it('refuses a token of somebody else', async () => {
    const context = {
      capture,
      request: () => ({ headers: { authorization: `Bearer ${mint('eve').slice(0, -3)}abc` } }),
    }
    const app = await createApp('Yoga', { ...spec(), durable: { context } as any })
    expect(await resumeCold(app, headers)).toMatchObject(refused)
  })

  it('takes the token of the request where that is named, and kept', async () => {
    const app = await createApp('Yoga', { ...spec(), durable: { context: { headers: ['authorization'] } } })
    expect(await resumeCold(app, headers)).toBe('ada')
  })

  it('is not asked where restore gives what it would have made', async () => {
    const context = { capture: ({ jwt }: any) => jwt.payload, restore: (payload: unknown) => ({ jwt: { payload } }) }
    const app = await createApp('Yoga', { ...spec(), durable: { context } as any })
    expect(await resumeCold(app, headers)).toBe('ada')
  })
})
