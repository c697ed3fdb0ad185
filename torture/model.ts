import { isDeepStrictEqual } from 'node:util'
import { decode } from '../src/core/codec.ts'
import type { OutcomeRecord, RunRecord } from '../src/store/store.ts'
import type { Result } from './clients.ts'
import { collectCount, deadlineMs, itemsOf, valueOf } from './operations.ts'
import type { OperationPlan } from './operations.ts'

export interface EndedRun {
  readonly run: RunRecord
  readonly journal: readonly OutcomeRecord[]
  readonly result: Result
}

/** What is wrong with a run's result, by what its operation should give. */
export function judgeResult(plan: OperationPlan, ended: EndedRun): string | null {
  const { errors, data } = ended.result
  const code = errors?.[0]?.extensions?.code
  if (code === 'DURABLE_RUN_CANCELLED') return plan.cancelAfterMs === null ? 'it was cancelled by nobody' : null
  const expected = expectedData(plan, ended)
  if (plan.kind === 'failing') {
    const refusal = valueOf(plan.n, 'refusal')
    if (errors?.length === 1 && errors[0]?.message === refusal && code === 'REFUSED') return null
    return `expected the error ${refusal}, but got ${JSON.stringify(ended.result)}`
  }
  if (errors) return `expected no errors, but got ${JSON.stringify(errors)} (note: ${ended.run.note ?? 'none'})`
  return expected.some((each) => isDeepStrictEqual(each, data))
    ? null
    : `expected ${expected.map((each) => JSON.stringify(each)).join(' or ')}, but got ${JSON.stringify(data)}`
}

/** Usually one; where time decides, those that its journal allows. */
function expectedData({ kind, n, events }: OperationPlan, { journal }: EndedRun): readonly unknown[] {
  const value = (step: string): string => valueOf(n, step)
  switch (kind) {
    case 'order': {
      const reserved = itemsOf(n).map((item) => value(`reserve ${item}`))
      return [{ order: [...reserved, value('charge'), value('screen'), '0 true 7'] }]
    }
    case 'approve':
      return [{ approve: `${value('ask')} Grace ${value('act')}` }]
    case 'race': {
      // The journal's order decides a race (I5).
      const first = journal.find(({ key }) => /^race>(hare|tortoise|bell)$/.test(key))?.key.slice('race>'.length) ?? ''
      return [{ race: `${first === 'bell' ? first : value(first)} then ${value('once')}` }]
    }
    case 'deadline': {
      const word = journal.find(({ key }) => key === 'deadline>word')
      return [{ deadline: word?.eventId ? `heard ${events[0]?.id}` : 'nobody' }]
    }
    case 'collect': {
      const indexes = journal
        .filter(({ kind: each }) => each === 'EVENT')
        .toSorted((a, b) => Number(a.key.split(' ')[1]) - Number(b.key.split(' ')[1]))
        .map(({ body }) => (decode(body) as { data: { index: number } }).data.index)
      const all = Array.from({ length: collectCount(n) }, (_, index) => index)
      return isDeepStrictEqual(indexes.toSorted(), all) ? [{ collect: indexes }] : [{ collect: all }]
    }
    case 'relay':
      return [{ relay: `1 ${value('think')}` }]
    case 'hear':
      return [{ hear: `${valueOf(n.replace(/-hears$/, ''), 'think')} ${value('nod')}` }]
    case 'several':
      return [{ first: value('note 1'), second: value('get up'), third: value('note 3') }]
    case 'report':
      return orderedReports(n, value('title'))
    case 'nap':
      return [{ nap: value('get up') }]
    case 'failing':
      return []
  }
}

/** The rows come in any order. */
function orderedReports(n: string, title: string): readonly unknown[] {
  const rows = itemsOf(n).map((id) => ({ id: String(id), label: valueOf(n, `label ${id}`) }))
  return permutations(rows).map((ordered) => ({ report: { title, rows: ordered } }))
}

function permutations<T>(of: readonly T[]): T[][] {
  if (of.length === 0) return [[]]
  return of.flatMap((head, at) => permutations(of.toSpliced(at, 1)).map((tail) => [head, ...tail]))
}

/** The earliest end that the wait of a `deadline` can have had: an event before it beats it (I6). */
export function earliestDeadline(plan: OperationPlan, { createdAt }: RunRecord): number {
  return createdAt + deadlineMs(plan.n)
}
