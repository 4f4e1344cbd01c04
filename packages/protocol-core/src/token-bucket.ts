/**
 * A rate limit: `ratePerSecond` on average, `burst` at once.
 *
 * Counts thousandths of tokens, so that whole milliseconds refill it without rounding. Something larger than the
 * burst passes when the bucket is full and leaves a debt, since else it would never pass.
 */
export class TokenBucket {
  readonly ratePerSecond: number
  readonly burst: number
  readonly #levelMax: number
  #level: number
  #refilledAtMs: number

  /** Starts full. @param options - `ratePerSecond` and `burst` are whole numbers above 0 */
  constructor(options: { ratePerSecond: number; burst: number }, nowMs: number) {
    this.ratePerSecond = options.ratePerSecond
    this.burst = options.burst
    this.#levelMax = options.burst * 1000
    this.#level = this.#levelMax
    this.#refilledAtMs = Math.floor(nowMs)
  }

  /** Takes `count` tokens if they are there. @returns false when it took nothing */
  tryTake(count: number, nowMs: number): boolean {
    this.#refill(nowMs)
    if (this.#level < this.#needed(count)) return false
    this.#level -= count * 1000
    return true
  }

  /** Takes as many of `count` tokens as are there, whole ones. @returns how many it took */
  takeUpTo(count: number, nowMs: number): number {
    const taken = Math.min(count, this.available(nowMs))
    this.#level -= taken * 1000
    return taken
  }

  /** @returns whole tokens that are there */
  available(nowMs: number): number {
    this.#refill(nowMs)
    return Math.max(0, Math.floor(this.#level / 1000))
  }

  /** Gives back what was taken and not used; what does not fit is lost. */
  giveBack(count: number, nowMs: number): void {
    this.#refill(nowMs)
    this.#level = Math.min(this.#levelMax, this.#level + count * 1000)
  }

  /** Takes `count` tokens in any case, for what has already happened; the debt delays what follows. */
  take(count: number, nowMs: number): void {
    this.#refill(nowMs)
    this.#level -= count * 1000
  }

  /** @returns whole milliseconds until `tryTake(count)` would succeed; 0 for now */
  waitMs(count: number, nowMs: number): number {
    this.#refill(nowMs)
    const missing = this.#needed(count) - this.#level
    return missing <= 0 ? 0 : Math.ceil(missing / this.ratePerSecond)
  }

  #needed(count: number): number {
    return Math.min(count * 1000, this.#levelMax)
  }

  #refill(nowMs: number): void {
    const now = Math.floor(nowMs)
    const elapsedMs = now - this.#refilledAtMs
    // A clock that was set back gives nothing and takes nothing.
    this.#refilledAtMs = now
    if (elapsedMs <= 0) return
    this.#level = Math.min(this.#levelMax, this.#level + elapsedMs * this.ratePerSecond)
  }
}
