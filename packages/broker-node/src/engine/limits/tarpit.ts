/** A refused client hears so after this at the earliest: one that comes back at once comes back no more often. */
const WAIT_MS = 1_000
/** And so much later at most: a storm that is answered all at once would come back all at once. */
const SPREAD_MS = 1_000
/** Of the connections that the node may hold; beyond that many who wait, others are answered at once. */
const SHARE_MAX = 0.1

/** Slows down clients that are refused for a limit, so that a storm of them costs little. */
export class Tarpit {
  private readonly waitingMax: number
  private waiting = 0

  /** @param connectionsMax - of the node */
  constructor(connectionsMax: number) {
    this.waitingMax = connectionsMax * SHARE_MAX
  }

  /** Resolves when the client may be answered. */
  async wait(): Promise<void> {
    if (this.waiting >= this.waitingMax) return
    this.waiting++
    const waitMs = WAIT_MS + Math.random() * SPREAD_MS
    await new Promise(resolve => setTimeout(resolve, waitMs).unref())
    this.waiting--
  }
}
