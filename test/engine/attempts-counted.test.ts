import { expect, it } from 'vitest'
import { usePostgres } from '../support/standing-postgres.ts'
import { deferred, oneField, overAllStores } from './world.ts'
import type { ServerOptions, World } from './world.ts'

/* How many attempts a step has had is committed as they fail: whoever goes on with the run goes on counting. */

usePostgres()

const RETRIES = 2
/** The first attempt, and the retries. */
const ALLOWED = 1 + RETRIES

/** A step that always fails, with short pauses, beside one that keeps a closing process waiting. */
function failing(world: World, delay: string, hold: Promise<unknown> | null, where: 'foreground' | 'background') {
  return oneField(
    async (_source, _args, { step }) => {
      if (where === 'background') await step.sleep('nap', '5s')
      const other = hold === null ? null : step.run('other', () => hold)
      await step.run(
        'work',
        ({ attempt }) => {
          world.log.push(`attempt ${attempt}`)
          throw new Error('no')
        },
        { retries: RETRIES, backoff: { initial: delay, factor: 1, jitter: 'none' } },
      )
      await other
    },
    { hold: '2s' },
  ) satisfies ServerOptions
}

const attempts = (world: World): string[] => world.log.filter((line) => line.startsWith('attempt'))
const inOrder = Array.from({ length: ALLOWED }, (_, n) => `attempt ${n + 1}`)

overAllStores('a retry whose delay passes while its process is being closed', (world) => {
  it.each(['foreground', 'background'] as const)('is counted, in the %s', async (where) => {
    const gate = deferred()
    const options = failing(world(), '50ms', gate.promise, where)
    const first = world().serve(options)
    const asked = first.send('{ go }').catch(() => {})
    await world().advance(where === 'foreground' ? '10ms' : '5010ms')
    await world().until(Promise.resolve())
    expect(attempts(world())).toEqual(['attempt 1'])
    const closing = first.close()
    await world().advance('500ms')
    gate.resolve()
    await closing
    await world().until(asked)
    const second = world().serve(options)
    await world().advance('30s')
    const [run] = (await world().until(second.durable.runs.list())).runs
    expect(run?.status).toBe('FAILED')
    expect(attempts(world())).toEqual(inOrder)
  })
})

overAllStores('a process that dies', (world) => {
  it.each(['foreground', 'background'] as const)(
    'while a retry is waited for takes no attempt with it, in the %s',
    async (where) => {
      const options = failing(world(), '90ms', null, where)
      const first = world().serve(options)
      first.send('{ go }').catch(() => {})
      await world().advance(where === 'foreground' ? '20ms' : '5020ms')
      await world().settle()
      expect(attempts(world())).toEqual(['attempt 1'])
      first.kill()
      const second = world().serve(options)
      await world().advance('60s')
      const [run] = (await world().until(second.durable.runs.list())).runs
      expect(run?.status).toBe('FAILED')
      expect(attempts(world())).toEqual(inOrder)
    },
  )

  it('in an attempt takes no more than that one with it', async () => {
    const numbers: number[] = []
    const options = oneField(async (_source, _args, { step }) => {
      await step.run(
        'work',
        ({ attempt }) => {
          numbers.push(attempt)
          if (numbers.length === 2) return new Promise(() => {})
          throw new Error('no')
        },
        { retries: RETRIES, backoff: { initial: '50ms', factor: 1, jitter: 'none' } },
      )
    })
    const first = world().serve(options)
    first.send('{ go }').catch(() => {})
    await world().advance('200ms')
    expect(numbers).toEqual([1, 2])
    first.kill()
    const second = world().serve(options)
    await world().advance('60s')
    const [run] = (await world().until(second.durable.runs.list())).runs
    expect(run?.status).toBe('FAILED')
    expect(numbers).toEqual([1, 2, 2, 3])
  })
})
