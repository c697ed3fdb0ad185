import { hash } from './random.ts'
import type { Random } from './random.ts'

export const KINDS = [
  'order',
  'approve',
  'race',
  'deadline',
  'collect',
  'relay',
  'hear',
  'several',
  'report',
  'failing',
  'nap',
] as const
export type Kind = (typeof KINDS)[number]

/** One operation, as a client sends it. All that its result depends on follows from `n`. */
export interface OperationPlan {
  readonly kind: Kind
  /** Its name, unique within a campaign. */
  readonly n: string
  /** Sent with an Idempotency-Key, and again until there is an answer. Without one it is sent once. */
  readonly keyed: boolean
  /** Events that the client sends once it was told of the run, and how long after that. */
  readonly events: readonly {
    readonly name: string
    readonly id: string
    readonly data: object
    readonly afterMs: number
  }[]
  /** It cancels the run so long after it was told of it. */
  readonly cancelAfterMs: number | null
}

const DOCUMENTS: Readonly<Record<Kind, string>> = {
  order: 'mutation Order($n: String!) { order(n: $n) }',
  approve: 'mutation Approve($n: String!) { approve(n: $n) }',
  race: 'mutation Race($n: String!) { race(n: $n) }',
  deadline: 'mutation Deadline($n: String!) { deadline(n: $n) }',
  collect: 'mutation Collect($n: String!) { collect(n: $n) }',
  relay: 'mutation Relay($n: String!) { relay(n: $n) }',
  hear: 'mutation Hear($n: String!) { hear(n: $n) }',
  several:
    'mutation Several($n: String!) { first: note(n: $n, part: 1) second: nap(n: $n) third: note(n: $n, part: 3) }',
  report: 'query Report($n: String!) { report(n: $n) { title rows { id label } } }',
  failing: 'mutation Failing($n: String!) { failing(n: $n) }',
  nap: 'mutation Nap($n: String!) { nap(n: $n) }',
}

export function documentOf(kind: Kind): string {
  return DOCUMENTS[kind]
}

/** Whoever hears waits for what another run says: the two have the same name but for this. */
function heardBy(relay: string): string {
  return `${relay}-hears`
}

/** How many events a `collect` waits for. */
export function collectCount(n: string): number {
  return 2 + (hash(n) % 3)
}

export function deadlineMs(n: string): number {
  return 200 + (hash(n) % 1500)
}

export function itemsOf(n: string): number[] {
  return Array.from({ length: 1 + (hash(`${n} items`) % 4) }, (_, index) => index + 1)
}

/** What a step of an operation gives. */
export function valueOf(n: string, step: string): string {
  return `${step}=${hash(`${n} ${step}`).toString(36)}`
}

/** A number that the operation's name decides. */
export function amountOf(n: string, what: string, least: number, most: number): number {
  return least + (hash(`${n} ${what}`) % (most - least + 1))
}

export function planOperation(random: Random, n: string): readonly OperationPlan[] {
  const kind = random.pick(KINDS.filter((each) => each !== 'hear'))
  const plan = (over: Partial<OperationPlan> = {}): OperationPlan => {
    return { kind, n, keyed: random.chance(0.9), events: [], cancelAfterMs: null, ...over }
  }
  const event = (name: string, id: string, data: object, afterMs: number) => ({
    name,
    id: `${n}-${id}`,
    data: { n, ...data },
    afterMs,
  })
  switch (kind) {
    case 'approve':
      return [plan({ keyed: true, events: [event('approved', 'by', { by: 'Grace' }, random.between(0, 4_000))] })]
    case 'deadline': {
      // Before, about, and long after the deadline; and never.
      const afterMs = random.pick([0, deadlineMs(n) - 300, deadlineMs(n), null])
      return [plan({ keyed: true, events: afterMs === null ? [] : [event('word', 'word', {}, Math.max(0, afterMs))] })]
    }
    case 'collect': {
      const events = Array.from({ length: collectCount(n) }, (_, index) =>
        event('item', `item-${index}`, { index }, random.between(0, 2_000)),
      )
      // Sent twice, the same id: one event.
      return [plan({ keyed: true, events: [...events, ...events.slice(0, 1)] })]
    }
    case 'relay':
      return [plan({ kind: 'hear', n: heardBy(n), keyed: true }), plan({ keyed: true })]
    case 'nap':
      return [plan({ cancelAfterMs: random.chance(0.3) ? random.between(0, 800) : null })]
    default:
      return [plan()]
  }
}
