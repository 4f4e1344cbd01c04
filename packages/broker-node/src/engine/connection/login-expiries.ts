const SECOND_MS = 1000

/**
 * When connections have to end whose login holds for a time only. By seconds, so that a look costs what is due and a
 * connection without an end costs nothing.
 */
export class LoginExpiries<T> {
  private readonly bySecond: Map<number, Set<T>> = new Map()
  private readonly seconds: Map<T, number> = new Map()

  /** @param endsAtMs - Unix time; replaces what was said before */
  set(one: T, endsAtMs: number): void {
    this.delete(one)
    const second = Math.ceil(endsAtMs / SECOND_MS)
    const set = this.bySecond.get(second)
    if (set === undefined) this.bySecond.set(second, new Set([one]))
    else set.add(one)
    this.seconds.set(one, second)
  }

  delete(one: T): void {
    const second = this.seconds.get(one)
    if (second === undefined) return
    this.seconds.delete(one)
    const set = this.bySecond.get(second)
    set?.delete(one)
    if (set?.size === 0) this.bySecond.delete(second)
  }

  /** @returns those whose time has come */
  due(nowMs: number): T[] {
    if (this.seconds.size === 0) return []
    const due: T[] = []
    for (const [second, set] of this.bySecond) if (second * SECOND_MS <= nowMs) due.push(...set)
    return due
  }
}
