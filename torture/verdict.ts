import { createHash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { MAX_BLAME, SUSPECTS } from '../src/engine/takeovers.ts'
import { CLEAR_BLAME } from '../src/store/suspicion.ts'
import type { Experience } from './clients.ts'
import type { Entry } from './facts.ts'
import type { Evidence } from './evidence.ts'
import { earliestDeadline, judgeResult } from './model.ts'
import type { EndedRun } from './model.ts'
import type { OperationPlan } from './operations.ts'
import { hash } from './random.ts'

type Begin = Extract<Entry, { kind: 'begin' }>
type Committed = Extract<Entry, { kind: 'committed' }>
type Claimed = Extract<Entry, { kind: 'claimed' }>

/** The witness's clock and the store's show the same time, cut to whole milliseconds. */
const TOLERANCE_MS = 2

/** Everything that was not as it should be, in sentences. */
export async function judge(evidence: Evidence, experiences: readonly Experience[]): Promise<string[]> {
  return [
    ...evidence.notEnded.map(({ id, status, note }) => `${id} has not ended: it is ${status} (I4). ${note ?? ''}`),
    ...(await judgeClients(evidence, experiences)),
    ...judgeSteps(evidence),
    ...judgeLeases(evidence),
  ]
}

// ---- What clients were told (I4, I5, I6, I7, I11)

async function judgeClients(evidence: Evidence, experiences: readonly Experience[]): Promise<string[]> {
  const found: string[] = []
  for (const experience of experiences) {
    const { plan, runIds, acknowledged, result, problems } = experience
    const say = (problem: string): void => void found.push(`${plan.n} (${plan.kind}): ${problem}`)
    problems.forEach(say)
    const runs = evidence.runs.get(plan.n) ?? []
    if (runIds.size > 1) say(`one key, but the runs ${[...runIds].join(', ')}`)
    if (runs.length > 1) say(`sent under one key, and there are ${runs.length} runs`)
    const [ended] = runs
    if (!ended) {
      if (acknowledged) say('it was acknowledged, and there is no run of it (I4)')
      continue
    }
    for (const id of runIds)
      if (id !== ended.run.id) say(`the client was told of ${id}, but the run is ${ended.run.id}`)
    if (ended.run.endedAt === null) continue
    if (acknowledged && !result) say('it was acknowledged, and the client never saw its result (I4)')
    const { extensions: _, ...stored } = ended.result
    // Whoever was told "cancelled" or got a result before the run's end was stored, was told what is stored (I7).
    if (result && !isDeepStrictEqual(result, stored) && !isReordered(plan, ended, result, evidence.entries)) {
      say(`the client got ${JSON.stringify(result)}, but stored is ${JSON.stringify(stored)} (I7)`)
    }
    const wrong = isGivenUp(ended, evidence.entries) ? null : judgeResult(plan, ended)
    if (wrong !== null) say(`${ended.run.id}: ${wrong}`)
    found.push(...(await judgeEvents(evidence, experience, ended)))
  }
  return found
}

/**
 * The client had its answer, and the process died before it had stored it as the run's end. Whoever worked it out again
 * had every outcome, but the rows of a report come in another order each time, which no step keeps.
 */
function isReordered({ kind }: OperationPlan, ended: EndedRun, result: unknown, entries: readonly Entry[]): boolean {
  if (kind !== 'report') return false
  const own = entries.filter((entry) => 'runId' in entry && entry.runId === ended.run.id)
  const isClaim = (entry: Entry): boolean => entry.kind === 'claimed'
  const isOutcome = (entry: Entry): boolean => entry.kind === 'committed' && entry.outcomes.length > 0
  if (own.findLastIndex(isClaim) < own.findLastIndex(isOutcome)) return false
  const { extensions: _, ...stored } = ended.result
  return isDeepStrictEqual(inOrder(result), inOrder(stored))
}

/** The response with the rows of its report sorted. */
function inOrder(response: unknown): unknown {
  return JSON.parse(JSON.stringify(response), (key, value: unknown) =>
    key === 'rows' && Array.isArray(value) ? value.toSorted((a, b) => Number(a.id) - Number(b.id)) : value,
  )
}

/** As many holders in a row as it takes at least before the engine holds the run itself responsible. */
const DEATHS = SUSPECTS.from + MAX_BLAME / CLEAR_BLAME

/** Given up as what kills its processes: not wrong, where the campaign has killed that many, one after the other. */
export function isGivenUp({ run, result }: EndedRun, entries: readonly Entry[]): boolean {
  if (result.errors?.[0]?.extensions?.code !== 'DURABLE_RESUME_FAILED' || run.takeovers < DEATHS) return false
  const own = entries.filter((entry) => 'runId' in entry && entry.runId === run.id)
  const claims = own.filter((entry) => entry.kind === 'claimed')
  const created = own.filter((entry) => entry.kind === 'committed' && entry.created)
  const holders = [...created, ...claims].slice(0, -1).slice(-DEATHS)
  const lost = holders.filter(({ life, t }) =>
    entries.some(
      (each) => each.kind === 'disruption' && each.phase === 'end' && each.t >= t && (each.life ?? life) === life,
    ),
  )
  return lost.length === DEATHS
}

async function judgeEvents(evidence: Evidence, { plan, sent }: Experience, ended: EndedRun): Promise<string[]> {
  const found: string[] = []
  const { run, journal } = ended
  const consumed = journal.flatMap(({ eventId }) => (eventId === null ? [] : [eventId]))
  if (new Set(consumed).size < consumed.length)
    found.push(`${run.id}: an event was delivered twice: ${consumed.join(', ')} (I6)`)
  const word = journal.find(({ key }) => key === 'deadline>word')
  if (plan.kind === 'deadline' && word && word.eventId === null && sent.size > 0) {
    const at = await evidence.acceptedAt('word', plan.n)
    if (at !== null && at >= run.beganAt && at < earliestDeadline(plan, run)) {
      found.push(
        `${run.id}: its event was accepted ${earliestDeadline(plan, run) - at} ms before the timeout, and missed (I6)`,
      )
    }
  }
  return found
}

// ---- What the witness saw of the steps (I1, I2)

function judgeSteps({ runs, entries }: Evidence): string[] {
  const found: string[] = []
  const begins = groupBy(entries.filter(isBegin), ({ idempotencyKey }) => idempotencyKey)
  const ends = new Set(
    entries.flatMap((entry) => (entry.kind === 'end' ? [`${entry.idempotencyKey} ${entry.attempt}`] : [])),
  )
  const disrupted = disruptionsOf(entries)

  for (const ended of [...runs.values()].flat()) {
    for (const outcome of ended.journal) {
      const key = idempotencyKeyOf(ended.run.id, outcome.key)
      const tried = begins.get(key) ?? []
      for (const { life, calledAt, attempt } of tried) {
        if (calledAt <= outcome.committedAt + TOLERANCE_MS) continue
        found.push(
          `${ended.run.id}: ${life} ran "${outcome.key}" (attempt ${attempt}) ${calledAt - outcome.committedAt} ms after its outcome was committed (I2)`,
        )
      }
      const isWitnessed = outcome.kind === 'RUN' && !UNWITNESSED.test(outcome.key)
      if (!isWitnessed) continue
      if (tried.length === 0) found.push(`${ended.run.id}: "${outcome.key}" has an outcome, and nobody ran it`)
      else if (outcome.ok && !tried.some(({ attempt }) => ends.has(`${key} ${attempt}`))) {
        found.push(`${ended.run.id}: "${outcome.key}" succeeded, and no attempt at it came to its end (I1)`)
      }
    }
  }
  for (const tried of begins.values()) {
    for (const [at, now] of tried.entries()) {
      const before = tried[at - 1]
      if (!before || isRetry(before, now) || disrupted(before, now)) continue
      found.push(
        `${now.runId}: ${before.life} ran "${now.step}" (attempt ${before.attempt}), and ${now.life} did again ` +
          `(attempt ${now.attempt}) ${now.t - before.t} ms later, though nothing had happened to the first`,
      )
    }
  }
  const steps = groupBy(entries.filter(isBegin), ({ runId, step }) => `${runId} ${step}`)
  for (const [step, tried] of steps) {
    const keys = new Set(tried.map(({ idempotencyKey }) => idempotencyKey))
    if (keys.size > 1) found.push(`${step}: ${keys.size} idempotency keys (I2)`)
  }
  return found
}

/** Steps whose functions do nothing that anybody could see. */
const UNWITNESSED = />(types|tell)$/

/** The next attempt, wherever it is made. */
function isRetry(before: Begin, now: Begin): boolean {
  return now.attempt === before.attempt + 1
}

/** Whether anything happened to the first one's process, or to its store, from then to now. */
function disruptionsOf(entries: readonly Entry[]): (before: Begin, now: Begin) => boolean {
  const byLife = new Map<string | null, { from: number; to: number; id: number }[]>()
  const add = (life: string | null, from: number, to: number, id: number): void => {
    const all = byLife.get(life) ?? []
    byLife.set(life, all)
    const open = all.find((each) => id > 0 && each.id === id)
    if (open) open.to = to
    else all.push({ from, to, id })
  }
  for (const entry of entries) {
    if (entry.kind === 'fault') add(entry.life, entry.t, entry.t, 0)
    if (entry.kind === 'disruption') add(entry.life, entry.t, entry.phase === 'end' ? entry.t : Infinity, entry.id)
  }
  return (before, now) =>
    [...(byLife.get(before.life) ?? []), ...(byLife.get(null) ?? [])].some(
      ({ from, to }) => from <= now.t && to >= before.t,
    )
}

function idempotencyKeyOf(runId: string, key: string): string {
  return `idem_${createHash('sha256').update(`${runId} ${key}`).digest('base64url')}`
}

// ---- What the stores accepted (I3)

function judgeLeases({ runs, entries }: Evidence): string[] {
  const found: string[] = []
  const claims = groupBy(entries.filter(isClaimed), ({ runId }) => runId)
  const commits = groupBy(entries.filter(isCommitted), ({ runId }) => runId)
  for (const ended of [...runs.values()].flat()) {
    const { id } = ended.run
    const holders = new Map<number, string>()
    const hold = (epoch: number, life: string): void => {
      const other = holders.get(epoch)
      if (other !== undefined && other !== life) found.push(`${id}: ${other} and ${life} both had epoch ${epoch} (I3)`)
      holders.set(epoch, life)
    }
    for (const { epoch, life } of claims.get(id) ?? []) hold(epoch, life)
    const journal = new Map(ended.journal.map((outcome) => [outcome.key, outcome]))
    const epochs: { pos: number; epoch: number }[] = []
    for (const { life, epoch, created, outcomes } of commits.get(id) ?? []) {
      if (created) hold(epoch, life)
      const holder = holders.get(epoch)
      if (holder !== undefined && holder !== life) {
        found.push(`${id}: ${life} committed under epoch ${epoch}, which was ${holder}'s (I3)`)
      }
      for (const { key, pos, digest } of outcomes) {
        const kept = journal.get(key)
        epochs.push({ pos, epoch })
        if (kept?.pos === pos && hash(kept.body) === digest) continue
        found.push(
          `${id}: ${life} was told that "${key}" was committed at ${pos}, and the journal has ${kept ? `another outcome, at ${kept.pos}` : 'nothing'} (I1)`,
        )
      }
    }
    epochs.sort((a, b) => a.pos - b.pos)
    for (const [at, { epoch, pos }] of epochs.entries()) {
      if (epoch < (epochs[at - 1]?.epoch ?? 0))
        found.push(`${id}: the outcome at ${pos} was written under an old epoch (I3)`)
    }
    for (const [at, { pos }] of ended.journal.entries())
      if (pos !== at) found.push(`${id}: its journal has a gap at ${at}`)
  }
  return found
}

function isBegin(entry: Entry): entry is Begin {
  return entry.kind === 'begin'
}

function isCommitted(entry: Entry): entry is Committed {
  return entry.kind === 'committed'
}

function isClaimed(entry: Entry): entry is Claimed {
  return entry.kind === 'claimed'
}

function groupBy<T>(all: readonly T[], keyOf: (each: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const each of all) {
    const group = groups.get(keyOf(each))
    if (group) group.push(each)
    else groups.set(keyOf(each), [each])
  }
  return groups
}
