import { beginSlice, turn } from '../pacing.ts'
import type { OutcomeRecord } from '../store.ts'
import type { Caller } from './session.ts'
import { READ_JOURNAL } from './sql/claim.ts'
import { toOutcomeRecord } from './sql/rows.ts'

/** The first `len` outcomes of a run, slice by slice. Null where they are not there any more. */
export async function readJournal({ database }: Caller, run: number, len: number): Promise<OutcomeRecord[] | null> {
  const journal: OutcomeRecord[] = []
  while (journal.length < len) {
    if (journal.length > 0) await turn()
    const before = journal.length
    await database.read(() => {
      const slice = beginSlice()
      for (const row of database.iterate(READ_JOURNAL, run, before, len)) {
        journal.push(toOutcomeRecord(row))
        if (slice.isOver) return
      }
    })
    if (journal.length === before) return null
  }
  return journal
}
