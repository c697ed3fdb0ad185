import { JOURNAL_PAGE } from '../store/store.ts'
import type { OutcomeRecord } from '../store/store.ts'
import { nextTurn } from './scheduler.ts'
import type { StoreAccess } from './store-access.ts'

/**
 * The outcomes of a journal from one position up to another, page by page, each page in a turn of the event loop of its
 * own: a journal may have a hundred thousand. It ends early where the run was deleted meanwhile.
 */
export async function* journalPages(
  store: StoreAccess,
  runId: string,
  from: number,
  to: number,
): AsyncGenerator<readonly OutcomeRecord[], void> {
  for (let at = from; at < to;) {
    await nextTurn()
    const part = { from: at, limit: Math.min(JOURNAL_PAGE, to - at) }
    const view = await store.read((session) => session.read(runId, { journal: part, waits: false }))
    if (!view?.journal || view.journal.length === 0) return
    yield view.journal
    at += view.journal.length
  }
}
