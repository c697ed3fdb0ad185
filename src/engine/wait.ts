import { isDeepStrictEqual } from 'node:util'
import type { Timer } from '../core/clock.ts'
import { MAX_MS } from '../core/duration.ts'
import { parseKey } from '../core/keys.ts'
import type { EventRecord, NewWait, WaitKind, WaitRecord } from '../store/store.ts'
import type { WaitSnapshot } from '../types.ts'
import type { Scope } from './scope.ts'

export interface WaitSpec {
  readonly key: string
  readonly kind: WaitKind
  readonly scope: Scope
  readonly event: string | null
  readonly match: string | null
  /** From now; null: no end. */
  readonly forMs: number | null
  readonly attempts: number
  /** When its tool was first called, on this process's clock. */
  readonly startedAt: number
  /** The code can abandon it. */
  readonly isClosable?: boolean
  /** The wait is over. `event`: what came, or null on its end. Called once, with the wait removed. */
  readonly onOver: (event: EventRecord | null) => void
  /** It is open no more, whichever way: what was registered for it outside is taken back. */
  readonly onGone?: () => void
}

export interface Wait {
  readonly spec: WaitSpec
  readonly seq: number
  /** On the store's clock; null: no end, or not known before it is committed. */
  until: number | null
  since: number
  /** In the store. A wait that the request sits out is not. */
  registered: boolean
  /** It is on its way to the store, or there already. */
  registering: boolean
  /** Its end is that of the wait in the store that it replaces. */
  readonly keepsEnd: boolean
  timer: Timer | null
}

/** No Date is later; a day is left for clocks that differ. */
const MAX_INSTANT = MAX_MS - 86_400_000

export function withinDates(forMs: number | null, now: number): number | null {
  return forMs === null ? null : Math.min(forMs, MAX_INSTANT - now)
}

export function toNewWait(wait: Wait, now: number): NewWait {
  const { key, kind, event, match, attempts } = wait.spec
  const forMs = wait.until === null ? null : Math.max(0, wait.until - now)
  return { key, kind, seq: wait.seq, event, match, forMs, agoMs: Math.max(0, now - wait.since), attempts }
}

/** A wait as users see it. `responsePath`: where its field stands in the response; null where that is not known. */
export function toWaitSnapshot(
  { key, kind, event, since, until }: Pick<WaitRecord, 'key' | 'kind' | 'event' | 'since' | 'until'>,
  responsePath: WaitSnapshot['responsePath'],
): WaitSnapshot {
  const end = until === null ? null : new Date(until)
  return { ...parseKey(key), responsePath, kind, event, since: new Date(since), until: end }
}

/** What the code asks for now, where that is another event. */
export function changeOf({ kind, event, match, forMs }: WaitSpec, stored: WaitRecord): string | null {
  if (kind !== 'EVENT') return null
  if (event !== stored.event) return `event "${event}", and no more "${stored.event}"`
  if (!isSameJson(match, stored.match)) return `match ${match ?? 'anything'}, and no more ${stored.match ?? 'anything'}`
  if ((forMs === null) === (stored.until === null)) return null
  return forMs === null ? 'without a timeout' : `with a timeout of ${forMs} ms`
}

function isSameJson(one: string | null, other: string | null): boolean {
  if (one === other || one === null || other === null) return one === other
  return isDeepStrictEqual(JSON.parse(one), JSON.parse(other))
}
