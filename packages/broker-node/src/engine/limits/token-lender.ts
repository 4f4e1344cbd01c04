import type { InstanceName, QuotaStore, TokenLease, TokenWish } from '@midge/protocol-core'
import type { Allowance } from './allowance.ts'

/** A bucket that was found empty is asked again after this at the earliest. */
const EMPTY_PAUSE_MS = 20
/** And at the latest; also how long a store that does not answer is left alone. */
const ASK_AGAIN_MS = 100

/** Gets tokens for all rates of one instance, ahead of their use: one call at a time, however many messages. */
export class TokenLender {
  private readonly quotas: QuotaStore
  private readonly instance: InstanceName
  private readonly allowances: readonly Allowance[]
  private readonly onReceived: () => void
  private isAsking = false
  private timer: NodeJS.Timeout | undefined = undefined
  private notBeforeMs = 0
  private isStopped = false

  /** @param onReceived - called after each answer */
  constructor(
    of: { quotas: QuotaStore; instance: InstanceName },
    allowances: readonly Allowance[],
    onReceived: () => void,
  ) {
    this.quotas = of.quotas
    this.instance = of.instance
    this.allowances = allowances
    this.onReceived = onReceived
  }

  get isIdle(): boolean {
    return !this.isAsking && this.allowances.every(one => one.isAtRest)
  }

  /** Called about ten times a second while anything is used. */
  look(): void {
    if (this.isIdle) return
    for (const allowance of this.allowances) allowance.look()
    this.request()
  }

  /** Something is low. */
  request(): void {
    if (this.isAsking || this.timer !== undefined || this.isStopped) return
    const waitMs = this.notBeforeMs - performance.now()
    if (waitMs <= 0) void this.ask()
    else this.askIn(waitMs)
  }

  /** Gives back what is left. */
  stop(): void {
    this.isStopped = true
    clearTimeout(this.timer)
    const left = this.allowances.filter(one => one.balance >= 1)
    const wishes = left.map(one => one.wish(-Math.floor(one.balance)))
    // Tokens that are lost come back with the rate.
    if (wishes.length > 0) this.quotas.leaseTokens(this.instance, wishes).catch(() => undefined)
  }

  private askIn(waitMs: number): void {
    this.timer = setTimeout(() => {
      this.timer = undefined
      void this.ask()
    }, waitMs)
    this.timer.unref()
  }

  private async ask(): Promise<void> {
    const asking = this.allowances.filter(allowance => allowance.want() !== 0)
    if (asking.length === 0) return
    const wishes = asking.map(allowance => allowance.wish(allowance.want()))
    this.isAsking = true
    const leases = await this.lease(wishes)
    this.isAsking = false
    let waitMs = 0
    asking.forEach((allowance, i) => {
      const wish = wishes[i]
      const lease = leases[i]
      if (wish === undefined || lease === undefined) return
      allowance.receive(lease, wish.want)
      waitMs = Math.max(waitMs, lease.waitMs)
    })
    if (waitMs > 0) {
      this.notBeforeMs = performance.now() + Math.min(Math.max(waitMs, EMPTY_PAUSE_MS), ASK_AGAIN_MS)
    }
    this.onReceived()
    if (waitMs > 0) this.request()
  }

  private async lease(wishes: readonly TokenWish[]): Promise<TokenLease[]> {
    try {
      return await this.quotas.leaseTokens(this.instance, wishes)
    } catch {
      return wishes.map(ownLease)
    }
  }
}

/** While the store is away each node goes by the rate alone: nobody stands still, and nobody gets more than that. */
function ownLease({ want, ratePerSecond }: TokenWish): TokenLease {
  return { granted: Math.max(0, Math.min(want, (ratePerSecond * ASK_AGAIN_MS) / 1000)), waitMs: ASK_AGAIN_MS, left: 0 }
}
