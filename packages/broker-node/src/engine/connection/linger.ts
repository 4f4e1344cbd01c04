import type { Duplex } from 'node:stream'

/** How long a peer may take to answer the end of its connection before the socket is destroyed. */
const LINGER_MS = 2000

/** Streams whose end this side has sent; one timer for all of them. */
export class Linger {
  /** By stream the time at which it is over; the oldest first. */
  private readonly ends = new Map<Duplex, number>()
  private timer: NodeJS.Timeout | undefined = undefined

  /** Destroys the stream unless it closes by itself in time. */
  add(stream: Duplex): void {
    if (stream.destroyed) return
    this.ends.set(stream, performance.now() + LINGER_MS)
    this.arm()
  }

  /** The stream has closed. */
  remove(stream: Duplex): void {
    this.ends.delete(stream)
  }

  private arm(): void {
    this.timer ??= setTimeout(() => this.sweep(), LINGER_MS).unref()
  }

  private sweep(): void {
    this.timer = undefined
    const nowMs = performance.now()
    for (const [stream, endMs] of this.ends) {
      if (endMs > nowMs) break
      this.ends.delete(stream)
      stream.destroy()
    }
    if (this.ends.size > 0) this.arm()
  }
}
