import { StoreError } from '../store.ts'
import { READ_PLACE, type Place } from './sql/timeline.ts'

/** What can be asked once connected: a client of the driver's. */
interface Askable {
  query(sql: string): Promise<{ readonly rows: readonly unknown[] }>
}

/**
 * What a store has seen of its cluster's promotions. After a failover the old primary may still be there, or come back:
 * it takes connections and answers reads out of a past in which acknowledged runs do not exist. So each connection is
 * asked for its timeline before it is used. One that is lower than the highest seen is refused; when a higher one is
 * seen, whoever listens cuts the connections that are lower, idle ones too.
 *
 * Another cluster under the same name (a database that was moved, or upgraded by a copy) counts from where it is: the
 * latest connection is right.
 */
export class Timelines {
  readonly #listeners = new Set<() => void>()
  #latest: Place | null = null
  #isReadable = true
  /** There is no use in asking again. */
  #isRefused = false

  /** False where a server has refused to say: then nothing is told apart. */
  get isReadable(): boolean {
    return this.#isReadable
  }

  /** Reads where a connection is. Null where that is not known. */
  async read(client: Askable): Promise<Place | null> {
    if (this.#isRefused) return null
    let rows: readonly unknown[]
    try {
      rows = (await client.query(READ_PLACE)).rows
    } catch (error) {
      const code = refusalOf(error)
      if (code === null) throw error
      this.#isReadable = false
      // It reads a file that it may be writing at the moment: the next time, it can.
      this.#isRefused = !code.startsWith('XX')
      return null
    }
    this.#isReadable = true
    return (rows[0] as { readonly place: Place | null } | undefined)?.place ?? null // what READ_PLACE selects
  }

  isStale(place: Place | null): boolean {
    const latest = this.#latest
    if (place === null || latest === null) return false
    return place.cluster !== latest.cluster || place.timeline < latest.timeline
  }

  /**
   * A connection is about to be used.
   *
   * @throws StoreError transient, where it leads into the past
   */
  admit(place: Place | null): void {
    if (place === null) return
    const latest = this.#latest
    if (latest !== null && place.cluster === latest.cluster && place.timeline <= latest.timeline) {
      if (place.timeline === latest.timeline) return
      throw new StoreError(
        'transient',
        `postgresStore expected a server on timeline ${latest.timeline} or later, but this one is on ${place.timeline}: ` +
          'a standby has been promoted since, and this is the old primary. Shut it down, or let it follow the new one.',
      )
    }
    this.#latest = place
    if (latest !== null) for (const listener of this.#listeners) listener()
  }

  /** Calls back when connections have become stale. Returns how to stop. */
  onRaised(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }
}

/** The server understood the question and will not answer it: a right was revoked, or it is no PostgreSQL of the usual kind. */
function refusalOf(error: unknown): string | null {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : null
  return typeof code === 'string' && /^(42501|42883|0A|22|P0|XX)/.test(code) ? code : null
}
