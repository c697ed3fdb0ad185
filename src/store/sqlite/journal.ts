import { beginSlice, turn } from '../pacing.ts'
import type { OutcomeRecord } from '../store.ts'
import type { Caller } from './session.ts'
import { READ_JOURNAL } from './sql/claim.ts'
import { toOutcomeRecord } from './sql/rows.ts'

/**
 * Outcomes of a run, slice by slice, from one position up to another. Null where they are not there any more.
 */
export async function readJournal(
  { database }: Caller,
  run: number,
  to: number,
  from = 0,
): Promise<OutcomeRecord[] | null> {
  const journal: OutcomeRecord[] = []
  while (from + journal.length < to) {
    if (journal.length > 0) await turn()
    const before = journal.length
    await database.read(() => {
      const slice = beginSlice()
      for (const row of database.iterate(READ_JOURNAL, run, from + before, to)) {
        journal.push(toOutcomeRecord(row))
        if (slice.isOver) return
      }
    })
    if (journal.length === before) return null
  }
  return journal
}
