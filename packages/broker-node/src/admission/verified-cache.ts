import { createHmac, randomBytes } from 'node:crypto'
import type { InstanceName } from '@midge/protocol-core'

/**
 * Remembers which credentials were right, so that a reconnect storm does not cost one password hash per client.
 *
 * Holds no password: the key is an HMAC under a key that exists only in this process. An entry is good for one
 * particular stored hash, so a changed or removed user is never served from here.
 */
export class VerifiedCache {
  private readonly key: Uint8Array = randomBytes(32)
  private readonly entries: Map<string, { passwordHash: string; expiresAtMs: number }> = new Map()
  private readonly entriesMax: number
  private readonly lifetimeMs: number
  private readonly now: () => number

  constructor(options: { entriesMax: number; lifetimeMs: number; now: () => number }) {
    this.entriesMax = options.entriesMax
    this.lifetimeMs = options.lifetimeMs
    this.now = options.now
  }

  /** Name of these credentials in this process. */
  digest(instance: InstanceName, username: string, password: Uint8Array): string {
    // Lengths go first: without them "ab" + "c" and "a" + "bc" would be the same bytes.
    return createHmac('sha256', this.key)
      .update(`${instance.length}:${username.length}:${instance}${username}`)
      .update(password)
      .digest('base64')
  }

  has(digest: string, passwordHash: string): boolean {
    const entry = this.entries.get(digest)
    if (entry === undefined) return false
    this.entries.delete(digest)
    if (entry.passwordHash !== passwordHash || entry.expiresAtMs <= this.now()) return false
    // Back to the young end of the insertion order.
    this.entries.set(digest, entry)
    return true
  }

  add(digest: string, passwordHash: string): void {
    this.entries.delete(digest)
    if (this.entries.size >= this.entriesMax) {
      const oldest = this.entries.keys().next()
      if (oldest.done !== true) this.entries.delete(oldest.value)
    }
    this.entries.set(digest, { passwordHash, expiresAtMs: this.now() + this.lifetimeMs })
  }
}
