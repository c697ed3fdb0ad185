import type { Warn } from './user-functions.ts'

const MAX_LISTED = 5

/**
 * What a run's row tells operators: one text at a time, which stays until another takes its place. Written by the next
 * commit.
 */
export class RunNote {
  readonly #runId: string
  readonly #warn: Warn
  readonly #write: (note: string | null) => void
  /** What it says that the code did not ask for. */
  readonly #passedOver = new Set<string>()
  #namesUnawaited = false

  constructor(runId: string, warn: Warn, write: (note: string | null) => void) {
    this.#runId = runId
    this.#warn = warn
    this.#write = write
  }

  /** It names steps that nobody awaits, and has nothing to say once these are finished. */
  get namesUnawaited(): boolean {
    return this.#namesUnawaited
  }

  tell(note: string): void {
    this.#warn(note, { runId: this.#runId })
    this.#set(note)
  }

  /** The operation was answered, and its run goes on with steps that nobody awaits. `isNew`: no earlier life has told. */
  onUnawaited(steps: readonly string[], isNew: boolean): void {
    if (isNew) {
      this.#warn(
        'Steps were not awaited: their operation has been answered, and its run ends after them. Await them, or return their promises.',
        { runId: this.#runId, steps },
      )
    }
    if (this.#passedOver.size > 0) return
    this.#set(`It was answered, and ends after steps that nobody awaits: ${steps.join(', ')}.`)
    this.#namesUnawaited = true
  }

  /** The code did not ask for `passed`, and `released` has waited behind it. */
  onPassedOver(passed: readonly string[], released: string): void {
    for (const each of passed) this.#passedOver.add(each)
    this.tell(
      passed.length > 0
        ? `The code did not ask for ${listOf(this.#passedOver)}, which the journal has; it was passed over, and "${released}" released.`
        : `The code made fewer calls than it had made when "${released}" came, which was released all the same.`,
    )
  }

  /** What had been passed over was asked for after all. */
  onAskedAfterAll(key: string): void {
    if (!this.#passedOver.delete(key)) return
    this.#set(this.#passedOver.size === 0 ? null : unasked(this.#passedOver))
  }

  /** The run ends. What the code went on without, and never asked for, is named. */
  atEnd(neverAskedFor: readonly string[]): string | undefined {
    const added = neverAskedFor.filter((key) => !this.#passedOver.has(key))
    if (added.length === 0) return undefined
    const note = unasked(new Set([...this.#passedOver, ...added]))
    this.#warn(note, { runId: this.#runId })
    return note
  }

  #set(note: string | null): void {
    this.#namesUnawaited = false
    this.#write(note)
  }
}

function unasked(keys: ReadonlySet<string>): string {
  return `The code did not ask for ${listOf(keys)}, which the journal has; it was passed over.`
}

function listOf(keys: ReadonlySet<string>): string {
  const listed = [...keys].slice(0, MAX_LISTED).map((key) => `"${key}"`)
  return [...listed, ...(keys.size > MAX_LISTED ? [`${keys.size - MAX_LISTED} more`] : [])].join(', ')
}
