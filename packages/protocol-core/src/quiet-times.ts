/** What is known of one kind: until when it is held back, and how often it has been since it passed. */
interface Quiet {
  untilMs: number
  heldBack: number
}

/**
 * Lets each kind of thing through once in an interval and counts the rest, so that a storm of causes does not become a
 * storm of log lines.
 *
 * Memory is one entry per kind: kinds come from a fixed set, or whoever takes them from clients bounds them by `size`.
 */
export class QuietTimes<K> {
  private readonly intervalMs: number
  private readonly kinds: Map<K, Quiet> = new Map()

  constructor(intervalMs: number) {
    this.intervalMs = intervalMs
  }

  get size(): number {
    return this.kinds.size
  }

  has(kind: K): boolean {
    return this.kinds.has(kind)
  }

  /**
   * @param nowMs - of any clock that only goes forward
   * @returns how many were held back since the last that passed, when this one passes; `undefined` when it does not
   */
  pass(kind: K, nowMs: number): number | undefined {
    const quiet = this.kinds.get(kind)
    if (quiet !== undefined && nowMs < quiet.untilMs) {
      quiet.heldBack++
      return undefined
    }
    this.kinds.set(kind, { untilMs: nowMs + this.intervalMs, heldBack: 0 })
    return quiet?.heldBack ?? 0
  }

  /** Forgets kinds that would pass, with what was held back of them. */
  forgetLapsed(nowMs: number): void {
    for (const [kind, { untilMs }] of this.kinds) if (untilMs <= nowMs) this.kinds.delete(kind)
  }
}
