import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { encode } from '../../src/core/codec.ts'
import type { OutcomeRecord, RunRecord } from '../../src/store/store.ts'
import type { Experience } from '../../torture/clients.ts'
import type { Evidence } from '../../torture/evidence.ts'
import type { Entry, Fact } from '../../torture/facts.ts'
import type { EndedRun } from '../../torture/model.ts'
import { valueOf } from '../../torture/operations.ts'
import { hash } from '../../torture/random.ts'
import { measureRecoveries } from '../../torture/recoveries.ts'
import { judge } from '../../torture/verdict.ts'

/* A campaign that finds nothing shows something only if its checks can find what they look for. */

const N = 'an-operation'
const RUN = 'run_1'
const STEPS = ['nap>lie down', 'nap>nap', 'nap>get up'] as const
const keyOf = (key: string): string => `idem_${createHash('sha256').update(`${RUN} ${key}`).digest('base64url')}`

interface Case {
  run: RunRecord
  journal: OutcomeRecord[]
  result: EndedRun['result']
  facts: (Fact & { t: number })[]
  experience: Experience
  runs: EndedRun[]
  acceptedAt: number | null
}

/** A nap that went well: one process until the nap, another one after it. */
function aNap(): Case {
  const journal = STEPS.map((key, pos): OutcomeRecord => {
    const step = key.slice('nap>'.length)
    const kind = step === 'nap' ? 'SLEEP' : 'RUN'
    const body = encode(kind === 'SLEEP' ? undefined : valueOf(N, step))
    return {
      pos,
      key,
      kind,
      ok: true,
      body,
      calls: pos + 1,
      attempts: 1,
      eventId: null,
      eventName: null,
      tookMs: 5,
      committedAt: 1_000 + pos * 100,
    }
  })
  const effect = (life: string, step: string, t: number) => {
    const about = { life, runId: RUN, step, idempotencyKey: keyOf(`nap>${step}`), attempt: 1, calledAt: t, t }
    return [
      { kind: 'begin' as const, ...about },
      { kind: 'end' as const, ...about, t: t + 5 },
    ]
  }
  const committed = (life: string, epoch: number, pos: number, t: number) => {
    const { key, body } = journal[pos] as OutcomeRecord
    const outcomes = [{ pos, key, digest: hash(body) }]
    return {
      kind: 'committed' as const,
      life,
      runId: RUN,
      epoch,
      created: pos === 0,
      next: 'hold' as const,
      outcomes,
      t,
    }
  }
  const result = { data: { nap: valueOf(N, 'get up') } }
  const run: RunRecord = {
    id: RUN,
    status: 'completed',
    epoch: 2,
    holder: null,
    len: 3,
    dueAt: null,
    signalled: false,
    keptBy: null,
    blamed: 0,
    onProbation: false,
    server: 'default',
    operationName: 'Nap',
    owner: null,
    version: null,
    beganAt: 900,
    createdAt: 900,
    updatedAt: 1_300,
    endedAt: 1_300,
    timeoutAt: null,
    takeovers: 0,
    resumeFailures: 0,
    note: null,
  }
  return {
    run,
    journal,
    result,
    facts: [
      ...effect('a', 'lie down', 990),
      committed('a', 1, 0, 1_000),
      { kind: 'claimed', life: 'b', runId: RUN, epoch: 2, takeovers: 0, t: 1_090 },
      committed('b', 2, 1, 1_100),
      ...effect('b', 'get up', 1_190),
      committed('b', 2, 2, 1_200),
    ],
    experience: {
      plan: { kind: 'nap', n: N, keyed: true, events: [], cancelAfterMs: null },
      runIds: new Set([RUN]),
      acknowledged: true,
      cancelled: false,
      result,
      sent: new Set(),
      problems: [],
      requests: 1,
    },
    runs: [],
    acceptedAt: null,
  }
}

function entriesOf(facts: Case['facts']): Entry[] {
  return facts.toSorted((a, b) => a.t - b.t).map((fact, index) => ({ ...fact, seq: index + 1 }))
}

function verdict(change: (nap: Case) => void): Promise<string[]> {
  const nap = aNap()
  change(nap)
  const { run, journal, result } = nap
  const evidence: Evidence = {
    runs: new Map([[N, run.id === '' ? [] : [{ run, journal, result }, ...nap.runs]]]),
    notEnded: run.endedAt === null ? [run] : [],
    entries: entriesOf(nap.facts),
    acceptedAt: async () => nap.acceptedAt,
    close: async () => {},
  }
  return judge(evidence, [nap.experience])
}

const begin = (nap: Case, life: string, attempt: number, t: number): void => {
  const about = { life, runId: RUN, step: 'get up', idempotencyKey: keyOf('nap>get up') }
  nap.facts.push({ kind: 'begin', ...about, attempt, calledAt: t, t })
}
const disrupt = (nap: Case, life: string, t: number): void => {
  nap.facts.push({ kind: 'disruption', life, what: 'kill', phase: 'begin', id: 1, t })
}

describe('the verdict', () => {
  it('has nothing to say where all went well', async () => {
    expect(await verdict(() => {})).toEqual([])
  })

  /** A report of two rows, answered in one order, and stored in the other. */
  const reordered = (nap: Case): void => {
    const rows = [1, 2].map((id) => ({ id: String(id), label: valueOf(N, `label ${id}`) }))
    const report = (order: object[]): object => ({ report: { title: valueOf(N, 'title'), rows: order } })
    nap.experience = { ...nap.experience, plan: { ...nap.experience.plan, kind: 'report' } }
    nap.experience.result = { data: report(rows.toReversed()) }
    nap.result = { data: report(rows) }
  }

  it('lets a report be in another order where it was worked out again, and only there (I7)', async () => {
    const say = (change: (nap: Case) => void): Promise<string[]> =>
      verdict((nap) => {
        reordered(nap)
        change(nap)
      })
    const about = (found: string[]): string[] => found.filter((each) => each.includes('but stored is'))
    expect(about(await say(() => {}))).toHaveLength(1)
    const claimed = { kind: 'claimed', life: 'c', runId: RUN, epoch: 3, takeovers: 1, t: 1_290 } as const
    expect(about(await say((nap) => nap.facts.push(claimed)))).toEqual([])
    expect(about(await say((nap) => (nap.facts.push(claimed), (nap.result = { data: null }))))).toHaveLength(1)
  })

  it.each<[what: string, change: (nap: Case) => void, found: RegExp]>([
    ['a run that has not ended (I4)', (nap) => (nap.run = { ...nap.run, endedAt: null }), /has not ended/],
    [
      'a run that was acknowledged and is gone (I4)',
      (nap) => (nap.run = { ...nap.run, id: '' }),
      /there is no run of it/,
    ],
    ['a client that never saw its result (I4)', (nap) => (nap.experience.result = null), /never saw its result/],
    [
      'a result that is not the model’s (I11)',
      (nap) => (nap.result = nap.experience.result = { data: { nap: '' } }),
      /expected/,
    ],
    ['an answer that is not what is stored (I7)', (nap) => (nap.experience.result = { data: null }), /but stored is/],
    ['two runs of one key', (nap) => nap.runs.push({ run: nap.run, journal: [], result: {} }), /there are 2 runs/],
    ['a client that was told of another run', (nap) => nap.experience.runIds.add('run_2'), /one key, but the runs/],
    [
      'a step that ran after it was committed (I2)',
      (nap) => begin(nap, 'b', 2, 1_250),
      /after its outcome was committed/,
    ],
    [
      'a step that ran twice though nothing had happened (I2)',
      (nap) => begin(nap, 'a', 1, 1_185),
      /though nothing had happened/,
    ],
    [
      'an outcome of a step that nobody ran',
      (nap) => (nap.facts = nap.facts.filter((f) => !('step' in f && f.step === 'get up'))),
      /nobody ran it/,
    ],
    [
      'an outcome of a step that did not come to its end (I1)',
      (nap) => (nap.facts = nap.facts.filter((f) => !(f.kind === 'end' && f.step === 'get up'))),
      /no attempt at it came to its end/,
    ],
    [
      'a step with two idempotency keys (I2)',
      (nap) => {
        disrupt(nap, 'a', 1_185)
        begin(nap, 'a', 1, 1_180)
        nap.facts = nap.facts.map((f) =>
          f.kind === 'begin' && f.t === 1_180 ? { ...f, idempotencyKey: 'idem_other' } : f,
        )
      },
      /2 idempotency keys/,
    ],
    [
      'an acknowledged outcome that is not in the journal (I1)',
      (nap) => (nap.journal = nap.journal.slice(0, 2)),
      /the journal has nothing/,
    ],
    [
      'an acknowledged outcome that became another one (I1)',
      (nap) => (nap.journal[2] = { ...(nap.journal[2] as OutcomeRecord), body: '["other"]' }),
      /another outcome/,
    ],
    [
      'a commit by a process that was fenced (I3)',
      (nap) => (nap.facts = nap.facts.map((f) => (f.kind === 'committed' && f.t === 1_200 ? { ...f, life: 'a' } : f))),
      /which was b's/,
    ],
    [
      'a commit under an old epoch (I3)',
      (nap) => (nap.facts = nap.facts.map((f) => (f.kind === 'committed' && f.t === 1_200 ? { ...f, epoch: 1 } : f))),
      /under an old epoch/,
    ],
    [
      'two holders of one epoch (I3)',
      (nap) => nap.facts.push({ kind: 'claimed', life: 'c', runId: RUN, epoch: 2, takeovers: 0, t: 1_091 }),
      /both had epoch 2/,
    ],
    [
      'an event that one run got twice (I6)',
      (nap) => (nap.journal = nap.journal.map((outcome) => ({ ...outcome, eventId: 'evt' }))),
      /delivered twice/,
    ],
    [
      'an event that came before the timeout and was missed (I6)',
      (nap) => {
        const outcome = { ...(nap.journal[0] as OutcomeRecord), key: 'deadline>word', kind: 'EVENT' as const }
        nap.journal = [outcome]
        nap.facts = []
        nap.result = { data: { deadline: 'nobody' } }
        nap.experience = { ...nap.experience, result: nap.result, plan: { ...nap.experience.plan, kind: 'deadline' } }
        nap.experience.sent.add('evt')
        nap.acceptedAt = 950
      },
      /and missed/,
    ],
  ])('finds %s', async (_what, change, found) => {
    expect((await verdict(change)).join('\n')).toMatch(found)
  })

  it('lets a step run again whose process was killed, and a retry run at all', async () => {
    expect(
      await verdict((nap) => {
        begin(nap, 'a', 1, 1_150)
        disrupt(nap, 'a', 1_160)
      }),
    ).toEqual([])
    expect(
      await verdict((nap) => {
        begin(nap, 'b', 0, 1_150)
      }),
    ).toEqual([])
  })

  it('measures from the kill of a holder to the claim by another process, and nothing else', () => {
    const entries = entriesOf([
      ...aNap().facts,
      { kind: 'disruption', life: 'b', what: 'kill', phase: 'begin', id: 1, t: 1_300 },
      { kind: 'claimed', life: 'c', runId: RUN, epoch: 3, takeovers: 1, t: 2_800 },
      { kind: 'claimed', life: 'd', runId: RUN, epoch: 4, takeovers: 1, t: 9_000 },
    ])
    expect(measureRecoveries(entries, 'kill')).toEqual({ count: 1, p50: 1_500, p99: 1_500, max: 1_500 })
    expect(measureRecoveries(entries, 'freeze').count).toBe(0)
  })

  it('counts what a process loses while it is frozen, not what it loses later', () => {
    const freeze = { kind: 'disruption', life: 'b', what: 'freeze', id: 1 } as const
    const lost = (t: number) => ({ kind: 'claimed', life: 'c', runId: RUN, epoch: 3, takeovers: 1, t }) as const
    const facts = [...aNap().facts, { ...freeze, phase: 'begin', t: 1_300 } as const]
    const woken = { ...freeze, phase: 'end', t: 9_000 } as const
    expect(measureRecoveries(entriesOf([...facts, lost(5_300), woken]), 'freeze').p50).toBe(4_000)
    expect(measureRecoveries(entriesOf([...facts, woken, lost(30_000)]), 'freeze').count).toBe(0)
  })
})
