import { describe, expect, it, vi } from 'vitest'
import { createAccess, isRunId } from '../../schema/access.ts'
import type { AccessOptions } from '../../schema/access.ts'
import type { RunSnapshot } from '../../src/types.ts'
import { aRun, runId, stubDurable } from './stub.ts'

interface Context {
  readonly user: string | null
}

const adas = aRun('a', { owner: 'ada' })
const bobs = aRun('b', { owner: 'bob' })
const nobodys = aRun('c')
const ada: Context = { user: 'ada' }
const anonymous: Context = { user: null }

const owner = (context: Context) => context.user
const yes = () => true
const no = () => false

/** Whether it was allowed. Refusals are DURABLE_FORBIDDEN and nothing else. */
async function outcome(attempt: () => Promise<unknown>): Promise<boolean> {
  try {
    return (await attempt()) !== null
  } catch (error) {
    expect(error).toMatchObject({ code: 'DURABLE_FORBIDDEN' })
    return false
  }
}

describe('who may do what', () => {
  // read: adas bobs nobodys | cancel: adas bobs nobodys | list | send
  const table: [string, AccessOptions<Context>, Context, string][] = [
    ['neither option', {}, ada, 'yyy nnn n n'],
    ['owner', { owner }, ada, 'yny ynn y n'],
    ['owner, anonymously', { owner }, anonymous, 'nny nnn n n'],
    ['owner that answers undefined', { owner: () => undefined }, ada, 'nny nnn n n'],
    ['authorize that allows', { authorize: yes }, anonymous, 'yyy yyy y y'],
    ['authorize that refuses', { authorize: no }, ada, 'nnn nnn n n'],
    ['authorize that answers a truthy thing', { authorize: () => 'yes' as unknown as boolean }, ada, 'nnn nnn n n'],
    ['authorize that allows reading', { authorize: ({ action }) => action === 'read' }, ada, 'yyy nnn n n'],
    ['authorize that allows cancelling only', { authorize: ({ action }) => action === 'cancel' }, ada, 'nnn nnn n n'],
    ['both, allowed', { owner, authorize: async () => true }, ada, 'yny ynn y y'],
    ['both, refused', { owner, authorize: async () => false }, ada, 'nnn nnn n n'],
    ['both, anonymously', { owner, authorize: yes }, anonymous, 'nny nnn n y'],
  ]

  it.each(table)('%s', async (_name, options, context, expected) => {
    const access = createAccess(options)
    const { runs } = stubDurable([adas, bobs, nobodys])
    const each = async (decide: (run: RunSnapshot) => Promise<unknown>) =>
      (await Promise.all([adas, bobs, nobodys].map((run) => outcome(() => decide(run))))).map(letter).join('')
    const letter = (allowed: boolean) => (allowed ? 'y' : 'n')
    const actual = [
      await each((run) => access.findRun(runs, run.id, context)),
      await each((run) => access.findRunToCancel(runs, run.id, context)),
      letter(await outcome(() => access.listScope(context))),
      letter(await outcome(() => access.assertMaySend(context))),
    ]
    expect(actual.join(' ')).toBe(expected)
  })

  it('lists by owner, and everything where authorize alone decides', async () => {
    expect(await createAccess({ owner }).listScope(ada)).toEqual({ owner: 'ada' })
    expect(await createAccess<Context>({ authorize: yes }).listScope(ada)).toEqual({})
  })

  it('says what would allow it where nothing is configured', async () => {
    const access = createAccess<Context>({})
    await expect(access.listScope(ada)).rejects.toThrow('listing runs needs owner or authorize')
    await expect(access.assertMaySend(ada)).rejects.toThrow('sending events needs authorize')
    await expect(access.findRunToCancel(stubDurable([]).runs, adas.id, ada)).rejects.toThrow('cancelling runs needs')
  })
})

describe('what may not be seen looks like what does not exist (I9)', () => {
  const absent = runId('f')

  it('after the same reads and the same questions', async () => {
    const authorize = vi.fn(async ({ run }: { run: RunSnapshot | null }) => run?.owner !== 'bob')
    const ownerOf = vi.fn(owner)
    const access = createAccess({ owner: ownerOf, authorize })
    const traces = []
    for (const id of [bobs.id, absent]) {
      const { runs, calls } = stubDurable([adas, bobs])
      expect(await access.findRun(runs, id, ada)).toBeNull()
      traces.push([calls.length, authorize.mock.calls.length, ownerOf.mock.calls.length])
      authorize.mockClear()
      ownerOf.mockClear()
    }
    expect(traces).toEqual([
      [1, 1, 1],
      [1, 1, 1],
    ])
  })

  it('with the same error from cancelling', async () => {
    const access = createAccess({ owner })
    const messages = []
    for (const id of [bobs.id, absent, nobodys.id, 'nonsense']) {
      const error: unknown = await access
        .findRunToCancel(stubDurable([bobs, nobodys]).runs, id, ada)
        .catch((thrown: unknown) => thrown)
      messages.push(String(error).replace(id, 'ID'))
    }
    expect(new Set(messages)).toEqual(new Set(['There is no run "ID" that you may cancel.']))
  })

  it('also when authorize throws for runs that exist, which is warned about', async () => {
    const onWarning = vi.fn()
    const authorize = ({ run }: { run: RunSnapshot | null }) => {
      if (run?.owner === 'bob') throw new Error('not yours')
      return true
    }
    const access = createAccess<Context>({ authorize, onWarning })
    expect(await access.findRun(stubDurable([bobs]).runs, bobs.id, ada)).toBeNull()
    expect(onWarning).toHaveBeenCalledWith(
      expect.stringContaining('authorize threw'),
      expect.objectContaining({ runId: bobs.id, cause: expect.any(Error) }),
    )
  })

  it.each([
    [
      'throws',
      () => {
        throw new Error('no session')
      },
    ],
    ['answers a promise', (() => Promise.resolve('bob')) as never],
    ['answers a promise that rejects', (() => Promise.reject(new Error('no session'))) as never],
    ['answers a number', (() => 7) as never],
    ['answers an empty text', () => ''],
  ] satisfies [string, () => never | string][])(
    'also when owner %s: that refuses, in either case',
    async (_what, ownerOf) => {
      const onWarning = vi.fn()
      const access = createAccess<Context>({ owner: ownerOf, onWarning })
      const { runs } = stubDurable([bobs, nobodys])
      for (const id of [bobs.id, nobodys.id, absent]) {
        expect(await access.findRun(runs, id, ada)).toBeNull()
        await expect(access.findRunToCancel(runs, id, ada)).rejects.toMatchObject({ code: 'DURABLE_FORBIDDEN' })
      }
      await expect(access.listScope(ada)).rejects.toMatchObject({ code: 'DURABLE_FORBIDDEN' })
      expect(onWarning).toHaveBeenCalledWith(expect.any(String), { reason: expect.stringContaining('owner') })
    },
  )

  it.each([
    [
      'throws',
      () => {
        throw new Error('secret')
      },
    ],
    ['rejects', () => Promise.reject(new Error('secret'))],
    ['answers a truthy thing', (() => 'yes') as never],
    ['answers nothing', (() => {}) as never],
  ] satisfies [string, () => never | Promise<boolean>][])(
    'authorize that %s refuses whatever it is asked, with a warning',
    async (_what, authorize) => {
      const onWarning = vi.fn()
      const access = createAccess<Context>({ authorize, onWarning })
      const { runs } = stubDurable([bobs])
      expect(await access.findRun(runs, bobs.id, ada)).toBeNull()
      for (const refused of [
        access.findRunToCancel(runs, bobs.id, ada),
        access.listScope(ada),
        access.assertMaySend(ada),
      ]) {
        await expect(refused).rejects.toMatchObject({
          code: 'DURABLE_FORBIDDEN',
          message: expect.not.stringContaining('secret'),
        })
      }
      expect(onWarning).toHaveBeenCalledTimes(4)
    },
  )

  it.each(['', 'run_', '7', 'run_a b', 'run_\u0000', `run_${'a'.repeat(65)}`, "run_a'; --", 'run_a\n'])(
    'and %j is not looked for at all',
    async (id) => {
      const { runs, calls } = stubDurable([])
      expect(isRunId(id)).toBe(false)
      expect(await createAccess<Context>({}).findRun(runs, id, ada)).toBeNull()
      expect(calls).toEqual([])
    },
  )
})
