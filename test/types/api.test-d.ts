import { describe, expectTypeOf, it } from 'vitest'
import { createDurable, step } from '../../src/index.ts'
import type { DurableContext, DurableEvent, RunSnapshot } from '../../src/index.ts'
import { memoryStore } from '../../src/memory.ts'
import { useDurable } from '../../plugins/yoga.ts'

interface AppContext {
  readonly user: { readonly id: string; readonly roles: string[] }
}

describe('types of the public API', () => {
  it('infers what a step returns, awaited', () => {
    expectTypeOf(step.run('a', () => 1)).toEqualTypeOf<Promise<number>>()
    expectTypeOf(step.run('a', async () => ({ at: new Date() }))).toEqualTypeOf<Promise<{ at: Date }>>()
    expectTypeOf(step.sleep('a', '1h')).toEqualTypeOf<Promise<void>>()
  })

  it('types an event by what is expected of it', () => {
    const waiting = step.waitForEvent<{ by: string }>('a', { event: 'order/approved', timeout: '3d' })
    expectTypeOf(waiting).toEqualTypeOf<Promise<DurableEvent<{ by: string }> | null>>()
    expectTypeOf(step.waitForEvent('a', { event: 'x' })).toEqualTypeOf<Promise<DurableEvent | null>>()
  })

  it('types captured as what capture returns', () => {
    createDurable({
      store: memoryStore(),
      owner: (context: AppContext) => context.user.id,
      context: {
        capture: (context: AppContext) => ({ userId: context.user.id }),
        restore: (captured) => {
          expectTypeOf(captured).toEqualTypeOf<{ userId: string }>()
          return { user: { id: captured.userId, roles: [] } }
        },
        enter: (captured, run, next) => {
          expectTypeOf(captured).toEqualTypeOf<{ userId: string }>()
          expectTypeOf(run.id).toEqualTypeOf<string>()
          return next()
        },
      },
    })
  })

  it('types the context of owner and authorize', () => {
    createDurable<AppContext>({
      owner: (context) => context.user.id,
      authorize: ({ action, run, context }) => {
        expectTypeOf(action).toEqualTypeOf<'read' | 'list' | 'cancel' | 'retry' | 'send'>()
        expectTypeOf(run).toEqualTypeOf<RunSnapshot | null>()
        return context.user.roles.includes('admin')
      },
    })
  })

  it('gives resolvers their tools', () => {
    const resolver = async (_root: unknown, args: { id: string }, { step: tools }: AppContext & DurableContext) =>
      tools.run(`load ${args.id}`, () => args.id.length)
    expectTypeOf(resolver).returns.toEqualTypeOf<Promise<number>>()
  })

  it('takes options or a durable in the short form of the plugin', () => {
    useDurable({ store: memoryStore(), hold: '2s' })
    useDurable(createDurable({ store: memoryStore() }))
    // @ts-expect-error there is no such option
    useDurable({ holdd: '2s' })
  })

  it('refuses functions of the options that answer what they may not', () => {
    // @ts-expect-error an owner is a text
    createDurable({ owner: () => 7 })
    // @ts-expect-error it is not awaited
    createDurable({ owner: async () => 'ada' })
    // @ts-expect-error it is not awaited
    createDurable({ idempotencyKey: async () => 'key' })
    // @ts-expect-error true or false
    createDurable({ authorize: () => 'yes' })
    // @ts-expect-error it is not awaited
    createDurable({ retryIf: async () => true })
    // @ts-expect-error it is not awaited
    createDurable({ context: { capture: async () => ({ userId: '7' }) } })
    // @ts-expect-error it is not awaited
    createDurable({ context: { request: async () => ({ headers: {} }) } })
    // @ts-expect-error a context is an object
    createDurable({ context: { restore: () => 'ada' } })
    // @ts-expect-error it returns what `next` gave
    createDurable({ context: { enter: (_captured, _run, next) => void next() } })
    // @ts-expect-error an identity is a text or a number
    createDurable({ identify: () => ({ id: 7 }) })
    // @ts-expect-error true or false
    void step.run('a', () => 1, { retryIf: async () => true })
  })
})
