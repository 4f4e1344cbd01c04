import {
  type HeldSlot,
  type InstanceName,
  instanceKey,
  type QuotaStore,
  type SlotAnswer,
  type SlotRequest,
  TokenBucket,
  type TokenLease,
  type TokenWish,
} from '@midge/protocol-core'

/** A rate of 0 is asked about again after this. */
const NEVER_MS = 86_400_000

/** The quotas of a node that is alone: counted in its memory. */
export class LocalQuotas implements QuotaStore {
  /** By instance and kind; the claim by name. */
  private readonly slots = new Map<string, Map<string, string>>()
  private readonly buckets = new Map<string, TokenBucket>()
  private readonly now: () => number

  /** @param now - milliseconds of a clock that only goes forward */
  constructor(now: () => number = () => performance.now()) {
    this.now = now
  }

  takeSlots({ instance, name, claim, limits }: SlotRequest): Promise<SlotAnswer> {
    for (const full of limits) {
      const taken = this.slotsOf(instance, full.kind)
      if (!taken.has(name) && taken.size >= full.max) {
        return Promise.resolve({ isTaken: false, full, used: taken.size })
      }
    }
    for (const { kind } of limits) this.slotsOf(instance, kind).set(name, claim)
    return Promise.resolve({ isTaken: true })
  }

  freeSlots(instance: InstanceName, kinds: readonly string[], { name, claim }: HeldSlot): Promise<void> {
    for (const kind of kinds) {
      const taken = this.slotsOf(instance, kind)
      if (taken.get(name) === claim) taken.delete(name)
      if (taken.size === 0) this.slots.delete(instanceKey(instance, kind))
    }
    return Promise.resolve()
  }

  keepSlots(instance: InstanceName, kind: string, held: readonly HeldSlot[]): Promise<void> {
    const taken = this.slotsOf(instance, kind)
    for (const { name, claim } of held) if (!taken.has(name)) taken.set(name, claim)
    return Promise.resolve()
  }

  usedSlots(instance: InstanceName, kind: string): Promise<number> {
    return Promise.resolve(this.slots.get(instanceKey(instance, kind))?.size ?? 0)
  }

  leaseTokens(instance: InstanceName, wishes: readonly TokenWish[]): Promise<TokenLease[]> {
    return Promise.resolve(wishes.map(wish => this.lease(instance, wish)))
  }

  private lease(instance: InstanceName, wish: TokenWish): TokenLease {
    const { want, ratePerSecond, burst } = wish
    const nowMs = this.now()
    if (ratePerSecond <= 0 || burst <= 0) return { granted: 0, waitMs: want > 0 ? NEVER_MS : 0, left: 0 }
    const bucket = this.bucketOf(instance, wish, nowMs)
    if (want <= 0) {
      bucket.giveBack(-want, nowMs)
      return { granted: 0, waitMs: 0, left: bucket.available(nowMs) }
    }
    const granted = bucket.takeUpTo(want, nowMs)
    return { granted, waitMs: granted < want ? bucket.waitMs(1, nowMs) : 0, left: bucket.available(nowMs) }
  }

  private bucketOf(instance: InstanceName, { bucket, ratePerSecond, burst }: TokenWish, nowMs: number): TokenBucket {
    const key = instanceKey(instance, bucket)
    const known = this.buckets.get(key)
    if (known?.ratePerSecond === ratePerSecond && known.burst === burst) return known
    const made = new TokenBucket({ ratePerSecond, burst }, nowMs)
    // Another plan fills nothing up.
    if (known !== undefined) made.takeUpTo(burst - known.takeUpTo(burst, nowMs), nowMs)
    this.buckets.set(key, made)
    return made
  }

  private slotsOf(instance: InstanceName, kind: string): Map<string, string> {
    const key = instanceKey(instance, kind)
    let taken = this.slots.get(key)
    if (taken === undefined) {
      taken = new Map()
      this.slots.set(key, taken)
    }
    return taken
  }
}
