/** Keeps results alive, so that the optimiser cannot remove what is measured. */
let sink = 0

/** Takes a result of measured work. */
export function consume(value: number): void {
  sink = (sink + value) | 0
}

/** What {@link measure} found. */
export interface Timing {
  readonly name: string
  readonly nsPerOp: number
}

const ROUND_MS = 100
const ROUNDS = 7

function timeMs(work: (count: number) => void, count: number): number {
  const startMs = performance.now()
  work(count)
  return performance.now() - startMs
}

/**
 * Times `work(count)`, which does its operation `count` times, prints the best round and returns it.
 *
 * The best, because what disturbs a round only ever makes it slower.
 */
export function measure(name: string, work: (count: number) => void): Timing {
  let count = 1
  while (timeMs(work, count) < ROUND_MS / 2) count *= 2
  let bestMs = Number.POSITIVE_INFINITY
  for (let round = 0; round < ROUNDS; round++) bestMs = Math.min(bestMs, timeMs(work, count))
  const nsPerOp = (bestMs * 1e6) / count
  console.log(`${name.padEnd(56)} ${nsPerOp.toFixed(nsPerOp < 100 ? 2 : 0).padStart(10)} ns/op`)
  return { name, nsPerOp }
}

/** Prints how two timings compare. */
export function compare(what: string, ours: Timing, reference: Timing, goal?: number): void {
  const ratio = ours.nsPerOp / reference.nsPerOp
  const verdict = goal === undefined ? '' : ` (goal ≤ ${goal}: ${ratio <= goal ? 'met' : 'missed'})`
  console.log(`  ${what}: ${ratio.toFixed(2)} ×${verdict}`)
}

/** The value that the sink has reached; printed at the end of all benches. */
export function sinkValue(): number {
  return sink
}
