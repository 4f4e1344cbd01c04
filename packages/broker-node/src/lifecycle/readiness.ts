import type { Directory, NodeLink, Store } from '@midge/protocol-core'

const PING_INTERVAL_MS = 1000

/** What {@link Readiness} looks at. */
export interface ReadinessParts {
  store: Store
  directory: Directory
  link: NodeLink
  /** Why nothing that the node leans on can work at the moment; `undefined` when it may. */
  outage(): string | undefined
}

/**
 * Whether the node may get clients: its route tables are complete, its lease is valid, the store answers, and it is
 * not on its way out. The store is asked once a second, never per request.
 */
export class Readiness {
  private readonly parts: ReadinessParts
  private timer: NodeJS.Timeout | undefined = undefined
  private storeAnswers = false
  private hasStarted = false
  private isDraining = false

  constructor(parts: ReadinessParts) {
    this.parts = parts
  }

  start(): void {
    this.hasStarted = true
    this.timer = setInterval(() => void this.refresh(), PING_INTERVAL_MS)
    this.timer.unref()
  }

  stop(): void {
    clearInterval(this.timer)
  }

  /** Unready from now on, so that a load balancer stops sending clients. */
  drain(): void {
    this.isDraining = true
  }

  async refresh(): Promise<void> {
    try {
      await this.parts.store.ping()
      this.storeAnswers = true
    } catch {
      this.storeAnswers = false
    }
  }

  check(): { ready: boolean; reasons: string[] } {
    const reasons: string[] = []
    if (!this.hasStarted) reasons.push('starting')
    if (this.isDraining) reasons.push('draining')
    const outage = this.parts.outage()
    // What follows from an outage is no reason of its own.
    if (outage !== undefined) return { ready: false, reasons: [...reasons, outage] }
    if (!this.storeAnswers) reasons.push('the store does not answer')
    if (this.hasStarted && !this.parts.directory.inSync()) reasons.push('routes are not in sync')
    if (this.hasStarted && !this.parts.link.hasLease()) reasons.push('the lease is not confirmed')
    return { ready: reasons.length === 0, reasons }
  }
}
