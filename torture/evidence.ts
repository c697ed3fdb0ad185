import { readFileSync } from 'node:fs'
import { decode } from '../src/core/codec.ts'
import { systemClock } from '../src/core/system-clock.ts'
import type { Store, StoreSession } from '../src/store/store.ts'
import { isEnded } from '../src/store/store.ts'
import type { RunRecord } from '../src/store/store.ts'
import type { Entry } from './facts.ts'
import type { EndedRun } from './model.ts'

/** What remains of a campaign: what the store has, and what the witness heard. */
export interface Evidence {
  /** By the operation's name. */
  readonly runs: ReadonlyMap<string, readonly EndedRun[]>
  readonly notEnded: readonly RunRecord[]
  /** The instants at which events of a name and of an operation were accepted. */
  readonly acceptedAt: (name: string, n: string) => Promise<number | null>
  readonly entries: readonly Entry[]
  close(): Promise<void>
}

const PAGE = 200

export async function gatherEvidence(store: Store, witnessLog: string): Promise<Evidence> {
  const session = await store.connect({ processId: 'the verdict', leaseMs: 60_000, clock: systemClock })
  const runs = new Map<string, EndedRun[]>()
  const notEnded: RunRecord[] = []
  for await (const record of listAll(session)) {
    const view = await session.read(record.id, { journal: true, result: true, input: true })
    if (!view) continue
    if (!isEnded(view.run.status)) notEnded.push(view.run)
    const { variables } = decode(view.input ?? '') as { variables: { n: string } } // what the clients send
    const stored = view.result === null ? null : (JSON.parse(view.result) as { result: EndedRun['result'] })
    const ended = { run: view.run, journal: view.journal ?? [], result: stored?.result ?? {} }
    runs.set(variables.n, [...(runs.get(variables.n) ?? []), ended])
  }
  const lines = readFileSync(witnessLog, 'utf8').trimEnd().split('\n')
  return {
    runs,
    notEnded,
    entries: lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Entry),
    async acceptedAt(name, n) {
      const match = JSON.stringify({ n })
      const [event] = await session.findEvents([{ name, match, since: 0, until: null, exclude: new Set() }])
      return event?.acceptedAt ?? null
    },
    close: () => session.close(),
  }
}

async function* listAll(session: StoreSession): AsyncIterable<RunRecord> {
  let after: { createdAt: number; id: string } | undefined
  for (;;) {
    const page = await session.list({ first: PAGE, ...(after && { after }) })
    yield* page
    const last = page.at(-1)
    if (!last || page.length < PAGE) return
    after = { createdAt: last.createdAt, id: last.id }
  }
}

/** How many runs have not ended. */
export async function countOpen(store: Store): Promise<number> {
  const session = await store.connect({ processId: 'the end', leaseMs: 60_000, clock: systemClock })
  try {
    let open = 0
    for (const status of ['queued', 'running', 'suspended'] as const) {
      open += (await session.list({ first: 1000, status })).length
    }
    return open
  } finally {
    await session.close()
  }
}
