import { decode, encode } from '../core/codec.ts'
import type { EndStatus, OutcomeRecord } from '../store/store.ts'
import type { NewOutcome } from './limits.ts'

/** What a pass has answered with: the run's result, once the steps that were called are finished. */
export interface Answer {
  readonly status: EndStatus
  readonly result: string
  readonly note: string | undefined
}

/** No tool's: those have their field's key in front. */
const KEY = '>'

/**
 * Where steps are unfinished that nobody awaits, the run ends later than its operation was answered, and maybe in
 * another process, whose pass may answer otherwise, or not at all: so the journal keeps the answer (I7).
 */
export function answerOutcome(answer: Answer, startedAt: number): NewOutcome {
  return {
    key: KEY,
    kind: 'ANSWER',
    ok: true,
    body: encode(answer),
    attempts: 0,
    eventId: null,
    eventName: null,
    startedAt,
  }
}

export function answerIn(journal: readonly OutcomeRecord[]): Answer | null {
  const outcome = journal.find(({ kind }) => kind === 'ANSWER')
  return outcome ? (decode(outcome.body) as Answer) : null // written by answerOutcome
}
