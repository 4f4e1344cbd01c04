import { connectRedis, type RedisClient } from './connect.ts'
import { isReply, textOf } from './errors.ts'
import type { LinkHealth } from './health.ts'
import type { RedisTarget } from './settings.ts'
import { Waiters } from './waiters.ts'

/** How much longer than its time a blocking command may take before its connection is taken for dead. */
const GRACE_MS = 1_500

/** What a {@link BlockingLink} is made of. */
export interface BlockingLinkOptions {
  target: RedisTarget
  name: string
  health: LinkHealth
  /** The longest that a command blocks. */
  blockMs: number
}

/** A connection for one caller whose commands block. */
export class BlockingLink {
  private readonly client: RedisClient
  private readonly health: LinkHealth
  private readonly waiters = new Waiters()

  constructor({ target, name, health, blockMs }: BlockingLinkOptions) {
    this.health = health
    this.client = connectRedis(target, { name, isListener: false, commandTimeoutMs: blockMs + GRACE_MS }, health)
    this.client.on('ready', () => {
      health.up()
      this.waiters.release()
    })
  }

  /** As `CommandLink.whenReady`. */
  whenReady(signal: AbortSignal): Promise<void> {
    return this.client.status === 'ready' && !signal.aborted ? Promise.resolve() : this.waiters.wait(signal)
  }

  /** @returns the reply with texts as bytes; rejects with what the client or the server says */
  async call(command: string, ...args: (string | number)[]): Promise<unknown> {
    try {
      const reply = await this.client.callBuffer(command, ...args)
      this.health.up()
      return reply
    } catch (error) {
      if (!isReply(error)) this.lost(textOf(error))
      throw error
    }
  }

  disconnect(): void {
    this.health.close()
    this.client.disconnect()
  }

  private lost(reason: string): void {
    // The socket may be as good as ever.
    if (!reason.includes('timed out') || this.client.status !== 'ready') {
      this.health.suspect()
      return
    }
    this.health.down(reason)
    this.client.disconnect(true)
  }
}
