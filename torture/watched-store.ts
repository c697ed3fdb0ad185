import { setTimeout as sleep } from 'node:timers/promises'
import type { Store, StoreSession } from '../src/store/store.ts'
import { StoreError } from '../src/store/store.ts'
import { hash } from './random.ts'
import type { Random } from './random.ts'
import type { WitnessClient } from './witness-client.ts'

export interface WatchOptions {
  readonly life: string
  readonly witness: WitnessClient
  readonly random: Random
  /** How likely each kind of trouble is, for one call. 0: the store is left as it is. */
  readonly trouble: number
}

/** How long every call fails, once in a while: longer than the writer is patient. */
const OUTAGE_MS = 1_600

/** A store whose leases and commits the witness hears of, and which is slow, fails, or loses its answers now and then. */
export function watchedStore(store: Store, options: WatchOptions): Store {
  const { life, witness, random, trouble } = options
  let outageUntil = 0

  function fail(what: string): never {
    witness.mention({ kind: 'fault', life, what })
    throw new StoreError('transient', `The campaign made it fail: ${what}.`)
  }

  async function troubled<T>(what: string, call: () => Promise<T>, onAnswer: (answer: T) => void): Promise<T> {
    const weight = what === 'commit' ? 1 : 0.3
    if (random.chance(trouble * weight * 0.05)) outageUntil = Date.now() + OUTAGE_MS
    if (Date.now() < outageUntil) fail(`${what}, in an outage`)
    if (random.chance(trouble * weight * 2)) await sleep(random.between(20, 600))
    if (random.chance(trouble * weight)) fail(`${what}, before it`)
    const answer = await call()
    onAnswer(answer)
    if (random.chance(trouble * weight)) fail(`${what}, its answer lost`)
    if (random.chance(trouble * weight)) await sleep(random.between(20, 300))
    return answer
  }

  function watched(session: StoreSession): StoreSession {
    return {
      // What the campaign leaves alone.
      end: (runId, ending) => session.end(runId, ending),
      peek: (runIds) => session.peek(runIds),
      list: (query) => session.list(query),
      secret: () => session.secret(),
      delete: (runId) => session.delete(runId),
      prune: (olderThanMs) => session.prune(olderThanMs),
      watch: (listener) => session.watch(listener),
      close: () => session.close(),
      commit: (batch) =>
        troubled(
          'commit',
          () => session.commit(batch),
          ({ accepted }) => {
            for (const { runId, epoch, create, next, outcomes } of batch) {
              if (!accepted.has(runId)) continue
              witness.mention({
                kind: 'committed',
                life,
                runId,
                epoch,
                created: create !== null,
                next: next.kind,
                outcomes: outcomes.map(({ pos, key, body }) => ({ pos, key, digest: hash(body) })),
              })
            }
          },
        ),
      claim: (request) =>
        troubled(
          'claim',
          () => session.claim(request),
          ({ claimed }) => {
            for (const { run } of claimed) {
              const { id: runId, epoch, takeovers } = run
              witness.mention({ kind: 'claimed', life, runId, epoch, takeovers })
            }
          },
        ),
      send: (events) => troubled('send', () => session.send(events), ignore),
      findEvents: (queries) => troubled('findEvents', () => session.findEvents(queries), ignore),
      beat: () => troubled('beat', () => session.beat(), ignore),
      reap: () => troubled('reap', () => session.reap(), ignore),
      read: (runId, parts) => troubled('read', () => session.read(runId, parts), ignore),
    }
  }

  return {
    name: store.name,
    async connect(connectOptions) {
      const session = await store.connect(connectOptions)
      witness.mention({ kind: 'connected', life, processId: connectOptions.processId })
      return watched(session)
    },
  }
}

function ignore(): void {}
