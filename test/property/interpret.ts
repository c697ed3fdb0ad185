import { StepError } from '../../src/core/errors.ts'
import type { Step } from '../../src/types.ts'
import type { Program } from './program.ts'

/** What a program is run with: one field's tools, and who watches. */
export interface Tools {
  readonly step: Step
  readonly trace: string[]
  /** The key of the field's next call of `id`. */
  nextKey(id: string): string
  /** A step's own work, in virtual time: gives its value, or throws. */
  work(program: Program & { readonly t: 'step' }, key: string, attempt: number, idempotencyKey: string): unknown
  /** It was called after the end, by what nobody awaits: how far that gets is no part of the run. */
  isLate(error: unknown): boolean
  /** A tool's promise was fulfilled or rejected. */
  settled(key: string, error: unknown): void
  pause(ms: number): Promise<void>
}

/** Runs a program, and traces each call, each outcome as it is released, and each decision. */
export function interpret(program: Program, tools: Tools): Promise<string> {
  const { step, trace } = tools

  /** The first reaction to a tool's promise: nothing of the program runs between the release and the trace of it. */
  async function watch<T>(key: string, promise: Promise<T>, show: (value: T) => string): Promise<string> {
    trace.push(`call ${key}`)
    try {
      const shown = show(await promise)
      tools.settled(key, null)
      trace.push(`${key} gave ${shown}`)
      return shown
    } catch (error) {
      if (tools.isLate(error)) return await new Promise(() => {})
      tools.settled(key, error)
      trace.push(`${key} threw ${messageOf(error)}`)
      throw error
    }
  }

  function run(p: Program & { t: 'step' }): Promise<string> {
    const key = tools.nextKey(p.id)
    const options = { retries: p.retries, backoff: { initial: 20, jitter: 'full' } } as const
    const promise = step.run(
      p.id,
      ({ attempt, idempotencyKey }) => tools.work(p, key, attempt, idempotencyKey),
      options,
    )
    return watch(key, promise, String)
  }

  /** `race([event, sleep])`, and the loser is closed, so that it does not eat the next event. */
  async function tick(p: Program & { t: 'tick' }): Promise<string> {
    const closing = new AbortController()
    const event = watch(
      tools.nextKey(p.id),
      step.waitForEvent(p.id, { event: p.name, signal: closing.signal }),
      (found) => JSON.stringify(found?.data ?? null),
    )
    event.catch(() => {})
    const sleep = watch(tools.nextKey('tick'), step.sleep('tick', p.ms), () => 'slept')
    try {
      const winner = await Promise.race([event, sleep])
      trace.push(`tick: ${winner}`)
      return winner
    } finally {
      closing.abort()
    }
  }

  async function go(p: Program): Promise<string> {
    switch (p.t) {
      case 'step':
        return run(p)
      case 'sleep':
        return watch(tools.nextKey(p.id), step.sleep(p.id, p.ms), () => 'slept')
      case 'event': {
        const options = { event: p.name, ...(p.timeoutMs !== null && { timeout: p.timeoutMs }) }
        return watch(tools.nextKey(p.id), step.waitForEvent(p.id, options), (event) =>
          JSON.stringify(event?.data ?? null),
        )
      }
      case 'send':
        return watch(tools.nextKey(p.id), step.sendEvent(p.id, { name: p.name, data: 'own' }), ({ ids }) => ids.join())
      case 'seq': {
        const values: string[] = []
        for (const each of p.of) values.push(await go(each))
        return values.join()
      }
      case 'all':
        return (await Promise.all(p.of.map(go))).join('+')
      case 'race':
      case 'any': {
        const winner = await (p.t === 'race' ? Promise.race(p.of.map(go)) : Promise.any(p.of.map(go)))
        trace.push(`${p.t}: ${winner}`)
        return winner
      }
      case 'settled': {
        const results = await Promise.allSettled(p.of.map(go))
        return results.map((r) => (r.status === 'fulfilled' ? r.value : `!${messageOf(r.reason)}`)).join('|')
      }
      case 'catch':
        try {
          return await go(p.of)
        } catch (error) {
          return `caught ${messageOf(error)}: ${await go(p.or)}`
        }
      case 'later': {
        const later = go(p.of)
        later.catch(() => {})
        const meanwhile = await go(p.meanwhile)
        return `${meanwhile}, then ${await later}`
      }
      case 'tick':
        return tick(p)
      case 'loop': {
        const values: string[] = []
        for (let n = 0; n < p.times; n++) values.push(await go(p.of).catch((error: unknown) => `!${messageOf(error)}`))
        return values.join(';')
      }
      case 'hops':
        for (let n = 0; n < p.count; n++) await Promise.resolve()
        return go(p.of)
      case 'none':
        return 'none'
      case 'pause':
        await tools.pause(p.ms)
        return go(p.of)
    }
  }

  return go(program)
}

export function messageOf(error: unknown): string {
  if (error instanceof StepError) return messageOf(error.cause)
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
}
