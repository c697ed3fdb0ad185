import type { RunView } from '../store/store.ts'
import { onceDrained } from './scheduler.ts'
import type { StoreAccess } from './store-access.ts'

/** Reads of runs, shared by those who ask for the same at the same time. */
export class Reads {
  readonly #store: StoreAccess
  /** Asked for, and not sent to the store yet: what is sent already may be older than the question. */
  readonly #asked = new Map<string, Promise<RunView | null>>()
  readonly #rows = new Map<string, Promise<RunView | null>>()
  readonly #results = new WeakMap<object, Promise<string | null>>()

  constructor(store: StoreAccess) {
    this.#store = store
  }

  /** The run and its waits. A thousand aliases of one request are one read. */
  view(runId: string): Promise<RunView | null> {
    return this.#shared(this.#asked, runId, true)
  }

  /** The run's row alone: what is decided upon takes as long for any run as for none (I9). */
  row(runId: string): Promise<RunView | null> {
    return this.#shared(this.#rows, runId, false)
  }

  #shared(askedFor: Map<string, Promise<RunView | null>>, runId: string, waits: boolean): Promise<RunView | null> {
    const asked = askedFor.get(runId)
    if (asked) return asked
    const { promise: view, resolve } = Promise.withResolvers<RunView | null>()
    onceDrained(() => {
      askedFor.delete(runId)
      resolve(this.#store.read((session) => session.read(runId, { waits })))
    })
    askedFor.set(runId, view)
    return view
  }

  /** The encoded result of a run that has ended: one read for all who were told of the end by the same object. */
  result(runId: string, end: object): Promise<string | null> {
    const known = this.#results.get(end)
    if (known) return known
    const result = this.#store.read(async (session) => (await session.read(runId, { result: true }))?.result ?? null)
    this.#results.set(end, result)
    return result
  }
}
