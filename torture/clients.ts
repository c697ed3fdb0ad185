import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { documentOf, planOperation } from './operations.ts'
import type { OperationPlan } from './operations.ts'
import type { Random } from './random.ts'

export interface ClientOptions {
  readonly random: Random
  readonly seed: string
  readonly urls: () => readonly string[]
  /** Operations under way at a time. */
  readonly concurrency: number
  readonly pauseMs: number
}

/** What a client was told, and whether all that it was told fits together. */
export interface Experience {
  readonly plan: OperationPlan
  /** Run ids that it was told; more than one is a violation. */
  readonly runIds: Set<string>
  /** Whether any server confirmed the operation, by a result or by a run to follow. */
  acknowledged: boolean
  cancelled: boolean
  result: Result | null
  /** Events that a server has accepted. */
  readonly sent: Set<string>
  readonly problems: string[]
  requests: number
}

export interface Result {
  readonly data?: unknown
  readonly errors?: readonly {
    readonly message: string
    readonly extensions?: { readonly code?: string; readonly runId?: string }
  }[]
  readonly extensions?: { readonly runId?: string }
}

export interface Clients {
  readonly experiences: readonly Experience[]
  /** Begins no more operations, and follows those under way to their ends. Answers how many did not get there. */
  finish(withinMs: number): Promise<number>
}

const REQUEST_TIMEOUT_MS = 8_000
const SEND_EVENT =
  'mutation Send($name: String!, $data: DurableJSON, $id: ID) { sendDurableEvent(name: $name, data: $data, id: $id) }'
const CANCEL = 'mutation Cancel($id: ID!) { cancelDurableRun(id: $id) { status } }'

/** Clients that do what a client should: the same key until there is an answer, then follow the run to its end. */
export function startClients(options: ClientOptions): Clients {
  const { random, urls } = options
  const experiences: Experience[] = []
  const underWay = new Set<Promise<void>>()
  let open = true
  let givenUp = false

  async function request(url: string, init?: RequestInit): Promise<{ status: number; body: Result } | null> {
    try {
      const response = await fetch(url, { ...init, signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) })
      return { status: response.status, body: (await response.json()) as Result }
    } catch {
      return null // the server is gone, or frozen
    }
  }

  function post(query: string, variables: object, key: string | null): ReturnType<typeof request> {
    const all = urls()
    if (all.length === 0) return Promise.resolve(null)
    const headers = { 'content-type': 'application/json', ...(key !== null && { 'idempotency-key': `"${key}"` }) }
    return request(random.pick(all), { method: 'POST', headers, body: JSON.stringify({ query, variables }) })
  }

  /** Until a server says yes. */
  async function insist(query: string, variables: object): Promise<boolean> {
    while (!givenUp) {
      const answer = await post(query, variables, null)
      if (answer && !answer.body.errors) return true
      if (answer && !isPassing(answer.body)) return false
      await sleep(random.between(50, 400))
    }
    return false
  }

  async function begin(experience: Experience): Promise<boolean> {
    const { plan } = experience
    while (!givenUp) {
      experience.requests++
      const answer = await post(documentOf(plan.kind), { n: plan.n }, plan.keyed ? plan.n : null)
      if (answer && take(experience, answer)) return true
      if (!plan.keyed) return false // whether it was done is not known: without a key it must not be sent again
      await sleep(random.between(50, 600))
    }
    return false
  }

  /** False where it says nothing about the operation. */
  function take(experience: Experience, { status, body }: { status: number; body: Result }): boolean {
    if (isPassing(body) || (status !== 200 && status !== 202)) return false
    experience.acknowledged = true
    if (status === 202) {
      const runId = body.extensions?.runId
      if (runId === undefined) experience.problems.push(`202 without a run: ${JSON.stringify(body)}`)
      else experience.runIds.add(runId)
      return true
    }
    settle(experience, body)
    return true
  }

  function settle(experience: Experience, result: Result): void {
    const { extensions: _, ...given } = result
    if (experience.result && !isDeepStrictEqual(experience.result, given)) {
      experience.problems.push(`two results: ${JSON.stringify(experience.result)} and ${JSON.stringify(given)}`)
    }
    experience.result = given
  }

  async function follow(experience: Experience): Promise<void> {
    while (!givenUp && !experience.result) {
      const [runId] = experience.runIds
      const all = urls()
      if (runId === undefined) return
      const answer = all.length === 0 ? null : await request(`${random.pick(all)}/runs/${runId}?wait=3`)
      if (answer?.status === 404) experience.problems.push(`${runId} was acknowledged, and is not there`)
      if (answer?.status === 404) return
      if (answer && answer.status === 200 && !isPassing(answer.body)) settle(experience, answer.body)
      else await sleep(random.between(30, 200))
    }
  }

  async function actAlong(experience: Experience): Promise<void> {
    const { plan } = experience
    const sending = plan.events.map(async ({ name, id, data, afterMs }) => {
      await sleep(afterMs)
      if (await insist(SEND_EVENT, { name, data, id })) experience.sent.add(id)
    })
    const [runId] = experience.runIds
    if (plan.cancelAfterMs !== null && runId !== undefined) {
      await sleep(plan.cancelAfterMs)
      experience.cancelled = await insist(CANCEL, { id: runId })
    }
    await Promise.all(sending)
  }

  async function perform(plan: OperationPlan): Promise<Experience> {
    const experience: Experience = {
      plan,
      runIds: new Set(),
      acknowledged: false,
      cancelled: false,
      result: null,
      sent: new Set(),
      problems: [],
      requests: 0,
    }
    experiences.push(experience)
    if (!(await begin(experience))) return experience
    await Promise.all([follow(experience), actAlong(experience)])
    // A client that lost the answer asks once more: the same key, the same run, the same result.
    if (plan.keyed && random.chance(0.2)) {
      const again = await post(documentOf(plan.kind), { n: plan.n }, plan.n)
      if (again) take(experience, again)
    }
    return experience
  }

  async function session(name: string): Promise<void> {
    for (let at = 1; open; at++) {
      const plans = planOperation(random, `${options.seed}-${name}-${at}`)
      const performed: Promise<Experience>[] = []
      for (const [index, plan] of plans.entries()) {
        performed.push(perform(plan))
        const told = (): boolean => experiences.some((each) => each.plan === plan && each.runIds.size > 0)
        // Whoever hears is there before whoever speaks.
        while (index < plans.length - 1 && !told() && !givenUp) await sleep(20)
      }
      await Promise.all(performed)
      await sleep(random.between(0, options.pauseMs * 2))
    }
  }

  for (let n = 0; n < options.concurrency; n++) {
    const running = session(`client-${n}`)
    underWay.add(running)
    void running.finally(() => underWay.delete(running))
  }

  return {
    experiences,
    async finish(withinMs) {
      open = false
      const controller = new AbortController()
      const timer = sleep(withinMs, null, { signal: controller.signal }).catch(() => null)
      await Promise.race([Promise.all(underWay), timer])
      const left = underWay.size
      givenUp = true
      controller.abort()
      await Promise.all(underWay)
      return left
    },
  }
}

/** Try again: it says nothing about the operation itself. */
function isPassing({ errors }: Result): boolean {
  return errors?.some(({ extensions }) => extensions?.code === 'DURABLE_STORE_UNAVAILABLE') ?? false
}
