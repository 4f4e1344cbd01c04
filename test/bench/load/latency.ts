import type { Outcome } from './job.ts'

/** Times between the write of a message and its read, from one moment of a run on. */
export class Latencies {
  readonly #samples: number[] = []
  readonly #fromMs: number

  /** @param fromMs - messages that were written earlier do not count; on the clock of `performance.now()` */
  constructor(fromMs: number) {
    this.#fromMs = fromMs
  }

  get count(): number {
    return this.#samples.length
  }

  /** The message that was written at `sentMs` has come. */
  note(sentMs: number): void {
    if (sentMs >= this.#fromMs) this.#samples.push(performance.now() - sentMs)
  }

  summary(): NonNullable<Outcome['latencyMs']> {
    const sorted = Float64Array.from(this.#samples).sort()
    const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
    return { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: at(1) }
  }
}
