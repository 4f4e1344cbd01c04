/**
 * Replays of retained messages to one session: one after the other, in the order of its subscriptions, while packets go
 * on being handled.
 */
export class Replays {
  private readonly liveTopics = new Set<string>()
  private readonly onFailure: (error: unknown) => void
  private queued = 0
  private last: Promise<void> = Promise.resolve()

  /** @param onFailure - called when a replay has failed; later ones are run */
  constructor(onFailure: (error: unknown) => void) {
    this.onFailure = onFailure
  }

  /** Runs a replay after those that were added before. */
  add(replay: () => Promise<void>): void {
    this.queued++
    this.last = this.last
      .then(replay)
      .catch(this.onFailure)
      .then(() => {
        if (--this.queued === 0) this.liveTopics.clear()
      })
  }

  /** A message that replaces the retained one of its topic reaches the session. */
  noteLive(topicName: string): void {
    if (this.queued > 0) this.liveTopics.add(topicName)
  }

  /** True when a newer message than the retained one was delivered while replays were under way. */
  wasDeliveredLive(topicName: string): boolean {
    return this.liveTopics.has(topicName)
  }
}
