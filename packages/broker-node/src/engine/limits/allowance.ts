import type { TokenLease, TokenWish } from '@midge/protocol-core'

/** How often rates are looked at while they are used. */
export const LOOK_MS = 100
/** So much of the rate is asked for at least, and may be used before the answer. */
const AHEAD_MS_MIN = 20
/** Uses that are asked for ahead, in looks. */
const LOOKS_AHEAD = 2

/** What an {@link Allowance} is of. */
export interface RateTerms {
  /** Name of the bucket, and of the rate in words. */
  bucket: string
  ratePerSecond: number
  /** Tokens. */
  burst: number
}

/**
 * What this node has leased of one rate of an instance: using it is a subtraction. Use may go into debt, which later
 * leases pay, so that in the long run the rate is exact.
 */
export class Allowance {
  readonly terms: RateTerms
  /** Tokens that may be used; below 0 they have been used already. */
  balance = 0
  /** More is asked for when the balance is below this. */
  low: number
  /** Whoever cannot wait for tokens makes debt of what the bucket should have, and no more. */
  private floor: number
  private readonly aheadMin: number
  private used = 0
  private recent = 0

  constructor(terms: RateTerms) {
    this.terms = terms
    this.floor = -terms.burst
    this.aheadMin = (terms.ratePerSecond * AHEAD_MS_MIN) / 1000
    this.low = Math.min(this.aheadMin, terms.burst) / 2
  }

  /** @returns true when the balance is low */
  take(count: number): boolean {
    this.used += count
    this.balance -= count
    return this.balance < this.low
  }

  /** True while not even debt may be made. */
  get isDry(): boolean {
    return this.balance <= this.floor
  }

  /** True while nothing has been used for some looks. */
  get isIdle(): boolean {
    return this.recent < 1 && this.used === 0
  }

  /** True while whoever can wait for tokens has to. */
  get isOverdrawn(): boolean {
    return this.balance < 0 && this.balance < Math.max(this.floor, -this.aheadMin)
  }

  /** True when there is nothing to do until it is used again. */
  get isAtRest(): boolean {
    return this.isIdle && this.balance >= 0 && this.balance < 1 && this.floor <= -this.terms.burst
  }

  /** Milliseconds until the debt is paid. */
  get debtMs(): number {
    const { ratePerSecond } = this.terms
    return this.balance >= 0
      ? 0
      : ratePerSecond <= 0
        ? Number.POSITIVE_INFINITY
        : (-this.balance / ratePerSecond) * 1000
  }

  /** Called every {@link LOOK_MS}: how much is used in one look tells how much is asked for ahead. */
  look(): void {
    const { burst, ratePerSecond } = this.terms
    this.floor = Math.max(-burst, this.floor - (ratePerSecond * LOOK_MS) / 1000)
    this.recent = Math.max(this.used, this.recent / 2)
    this.used = 0
    this.low = Math.min(Math.max(this.recent * LOOKS_AHEAD, this.aheadMin), burst) / 2
  }

  wish(want: number): TokenWish {
    return { ...this.terms, want }
  }

  /** How many to ask for; below 0, how many to give back. */
  want(): number {
    if (this.isIdle ? this.balance < 0 : this.balance < this.low)
      return Math.ceil(Math.max(1, this.low * 2) - this.balance)
    return this.isIdle && this.balance >= 1 ? -Math.floor(this.balance) : 0
  }

  /** @param want - of the wish that is answered */
  receive({ granted, left }: TokenLease, want: number): void {
    this.balance += want < 0 ? want : granted
    this.floor = -Math.min(left, this.terms.burst)
  }
}
