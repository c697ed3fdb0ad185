/** How long a request may stay suspended, all waits together: waits that overlap count once. */
export class HoldBudget {
  #spentMs = 0
  #heldUntil = 0

  /** Whether a wait that ends in `endsInMs` still fits into `holdMs`; if it does, it is counted. */
  take(now: number, endsInMs: number, holdMs: number): boolean {
    const from = Math.max(now, this.#heldUntil)
    const extraMs = Math.max(0, now + endsInMs - from)
    if (this.#spentMs + extraMs > holdMs) return false
    this.#spentMs += extraMs
    this.#heldUntil = Math.max(this.#heldUntil, now + endsInMs)
    return true
  }
}
