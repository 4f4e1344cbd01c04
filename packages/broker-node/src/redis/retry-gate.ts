import type { CommandLink } from './command-link.ts'
import { stopping } from './errors.ts'
import { pause, retryDelayMs } from './retry.ts'

/**
 * Where everybody waits whose command failed: one question for all, so that a Redis that hangs is not sent the same
 * again and again.
 */
export class RetryGate {
  private readonly link: CommandLink
  private asking: Promise<void> | undefined
  private readonly stopped = new AbortController()

  constructor(link: CommandLink) {
    this.link = link
  }

  /** Resolves after a wait, when Redis has answered; rejects when the gate was stopped. */
  healthy(): Promise<void> {
    this.asking ??= this.askUntilHealthy().finally(() => {
      this.asking = undefined
    })
    return this.asking
  }

  stop(): void {
    this.stopped.abort()
  }

  get isStopped(): boolean {
    return this.stopped.signal.aborted
  }

  /** Aborts when the gate is stopped. */
  get signal(): AbortSignal {
    return this.stopped.signal
  }

  private async askUntilHealthy(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      await pause(retryDelayMs(attempt), this.signal)
      if (this.isStopped) throw stopping()
      await this.link.whenReady(this.signal)
      const [reply] = await this.link.run([{ command: 'ping', args: [], near: '' }])
      if (!(reply instanceof Error)) return
    }
  }
}
