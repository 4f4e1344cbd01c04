/** What is known of one event in the current window. */
interface Seen {
  count: number
  suppressed: number
}

/**
 * Lets an event through a fixed number of times in each window and counts the rest, so that a storm of reconnects
 * does not become a storm of log lines.
 *
 * Windows are aligned to multiples of `windowMs`. Memory is one entry per event name; names are literals of the code.
 */
export class RepeatLimit {
  private readonly perWindowMax: number
  private readonly windowMs: number
  private window = -1
  private readonly seen = new Map<string, Seen>()

  constructor(perWindowMax: number, windowMs: number) {
    this.perWindowMax = perWindowMax
    this.windowMs = windowMs
  }

  /** @returns false when the event has used up its window */
  allows(event: string, nowMs: number): boolean {
    const window = Math.floor(nowMs / this.windowMs)
    if (window !== this.window) {
      this.window = window
      for (const entry of this.seen.values()) entry.count = 0
    }
    let entry = this.seen.get(event)
    if (entry === undefined) {
      entry = { count: 0, suppressed: 0 }
      this.seen.set(event, entry)
    }
    entry.count++
    if (entry.count <= this.perWindowMax) return true
    entry.suppressed++
    return false
  }

  /** @returns events that were held back since the last call, with how many, and forgets the numbers */
  takeSuppressed(): [event: string, count: number][] {
    const taken: [string, number][] = []
    for (const [event, entry] of this.seen) {
      if (entry.suppressed === 0) continue
      taken.push([event, entry.suppressed])
      entry.suppressed = 0
    }
    return taken
  }
}
