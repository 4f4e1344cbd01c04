/** What a client may read once more right after it was made. */
export interface FreshSecrets {
  url: string
  apikey: string
}

/** How long; Terraform's provider asks in the same second. */
const KEPT_MS = 60_000
/** Instances whose secrets are kept at one time. */
const KEPT_MAX = 1000

/**
 * Secrets of instances that have just been made. CloudMQTT's clients take them from the answer to `GET` and not from that
 * to `POST`, so whoever made an instance may read them for a minute, here on this node.
 */
export class FreshSecretsShelf {
  private readonly shelf: Map<string, FreshSecrets & { madeBy: string; untilMs: number }> = new Map()

  put(instance: string, secrets: FreshSecrets, { madeBy, nowMs }: { madeBy: string; nowMs: number }): void {
    for (const [id, { untilMs }] of this.shelf) {
      if (untilMs > nowMs && this.shelf.size < KEPT_MAX) break
      this.shelf.delete(id)
    }
    this.shelf.set(instance, { ...secrets, madeBy, untilMs: nowMs + KEPT_MS })
  }

  /** @returns `undefined` for everybody but who made it, and when the minute is over */
  find(instance: string, { madeBy, nowMs }: { madeBy: string; nowMs: number }): FreshSecrets | undefined {
    const kept = this.shelf.get(instance)
    if (kept === undefined || kept.madeBy !== madeBy || kept.untilMs <= nowMs) return undefined
    return { url: kept.url, apikey: kept.apikey }
  }
}
