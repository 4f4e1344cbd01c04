/** Numbers that look random and can be had again. */
export interface SeededRandom {
  readonly seed: number
  /** 0 to `below - 1`. */
  whole(below: number): number
}

/** Takes `SEED` from the environment, or a fresh seed; prints it so that a failure can be played again. */
export function seededRandom(what: string): SeededRandom {
  const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
  process.stdout.write(`${what}: SEED=${seed}\n`)
  let state = seed >>> 0
  const whole = (below: number): number => {
    // mulberry32
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
  return { seed, whole }
}
