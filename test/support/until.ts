const LOOK_AGAIN_MS = 15

/**
 * Looks again and again until `look` gives something else than `undefined` or `false`.
 *
 * @throws an error that says what was waited for, after `withinMs`; `detail` may add what was seen last
 */
export async function until<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
  withinMs: number = 10_000,
  detail: () => string = () => '',
): Promise<T> {
  const deadlineMs = Date.now() + withinMs
  for (;;) {
    const seen = await look()
    if (seen !== undefined && seen !== false) return seen
    if (Date.now() > deadlineMs) throw new Error(`${what}: not within ${withinMs} ms ${detail()}`.trim())
    await new Promise(resolve => setTimeout(resolve, LOOK_AGAIN_MS))
  }
}

/** A promise that fails when it takes longer; what it waits for goes on. */
export async function within<T>(what: string, work: Promise<T>, withinMs: number = 10_000): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${withinMs} ms`)), withinMs)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
