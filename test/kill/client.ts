import { expect } from 'vitest'
import { sleep } from './world.ts'
import type { World } from './world.ts'

/** An operation that a client wants done, whatever happens to the server. */
export interface Errand {
  /** The operation's name, by which a client that never learned the run's id finds it. */
  readonly name: string
  readonly query: string
  /** Whose approval the operation waits for. */
  readonly cart: string
}

export interface Done {
  readonly runId: string | null
  readonly body: any
  /** From when the last server listened until the result was there. */
  readonly recoveryMs: number
  readonly deaths: number
}

const PATIENCE_MS = 15_000

/**
 * A client that does not give up: it sends the operation, approves it, polls for the result, and starts the server
 * again whenever it has died, armed with the next of `kills`.
 */
export async function runErrand(
  world: World,
  { name, query, cart }: Errand,
  kills: readonly string[] = [],
): Promise<Done> {
  const left = [...kills]
  const deathsBefore = world.deaths.length
  const giveUpAt = performance.now() + PATIENCE_MS * (1 + kills.length)
  let runId: string | null = null
  let sent = false
  let approved = false
  while (performance.now() < giveUpAt) {
    const life = world.life ?? (await world.start(left.shift()))
    if (!life) continue
    const ask = async (text: string): Promise<any> => {
      const response = await fetch(`${life.url}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ query: text }),
        signal: AbortSignal.timeout(10_000),
      })
      return response.json()
    }
    const done = (body: unknown): Done => ({
      runId,
      body,
      recoveryMs: performance.now() - life.readyAt,
      deaths: world.deaths.length - deathsBefore,
    })
    try {
      if (runId === null && sent) {
        const found = await ask(`{ durableRuns(operationName: "${name}") { nodes { id } } }`)
        runId = found.data.durableRuns.nodes[0]?.id ?? null
        sent = false // a run that was never committed is nobody's: the client simply tries again
      } else if (runId === null) {
        sent = true
        const body = await ask(query)
        runId = body.extensions?.runId ?? null
        if (runId === null) return done(body)
      } else {
        if (!approved) {
          const body = await ask(
            `mutation { sendDurableEvent(name: "approved", id: "approval of ${cart}", data: { cart: "${cart}", by: "Bob" }) }`,
          )
          expect(body.errors).toBeUndefined()
          approved = true
        }
        const response = await fetch(`${life.url}/graphql/runs/${runId}?wait=5`, {
          signal: AbortSignal.timeout(10_000),
        })
        const body = await response.json()
        if (response.status === 200) return done(body)
        expect(response.status, JSON.stringify(body)).toBe(202)
      }
    } catch (error) {
      await world.diedOr(error, life)
    }
  }
  throw new Error(
    `"${name}" came to no end: ${JSON.stringify([...(await world.committed())].map(([id, keys]) => [id, ...keys]))}`,
  )
}

/** The run of that name, once it has ended. */
export async function findRun(world: World, name: string): Promise<unknown> {
  for (let turn = 0; turn < 40; turn++) {
    const life = world.life ?? (await world.start())
    if (!life) continue
    try {
      const response = await fetch(`${life.url}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ query: `{ durableRuns(operationName: "${name}") { nodes { status result } } }` }),
      })
      const { data } = (await response.json()) as any
      const [run] = data.durableRuns.nodes
      if (run?.result) return run
      await sleep(50)
    } catch (error) {
      await world.diedOr(error, life)
    }
  }
  throw new Error(`"${name}" has not ended.`)
}

/** Makes the server die at a moment. */
export async function arm(world: World, moment: string): Promise<void> {
  const life = world.life ?? (await world.start())
  await fetch(`${life?.url}/arm/${encodeURIComponent(moment)}`, { method: 'POST' })
}

/**
 * What holds for every run, however often its servers died: a committed step is not run again, and one that was in
 * flight runs again with the same idempotencyKey (I2).
 */
export function expectNoStepTwice(world: World): void {
  const effects = world.effects()
  for (const { effects: before, committed } of world.deaths) {
    for (const { step, runId } of effects.slice(before)) {
      if (step === undefined || runId === undefined) continue
      const keys = [...(committed.get(runId) ?? [])]
      expect(
        keys.some((key) => key.endsWith(`>${step}`)),
        `${step} of ${runId} ran again`,
      ).toBe(false)
    }
  }
  const idempotencyKeys = new Map<string, Set<unknown>>()
  for (const { step, runId, idempotencyKey } of effects) {
    if (step === undefined) continue
    const seen = idempotencyKeys.get(`${runId} ${step}`) ?? new Set()
    idempotencyKeys.set(`${runId} ${step}`, seen.add(idempotencyKey))
  }
  for (const [which, seen] of idempotencyKeys) expect(seen.size, `idempotencyKeys of ${which}`).toBe(1)
}

/** Prints the figures of a test where they are asked for. */
export function report(what: string, values: readonly number[]): void {
  if (values.length === 0 || !process.env['DURABLE_FIGURES']) return
  const sorted = values.toSorted((a, b) => a - b)
  const at = (part: number): number =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0)
  console.log(`${what}: ${values.length} times, median ${at(0.5)} ms, most ${at(1)} ms`)
}

export { sleep }
