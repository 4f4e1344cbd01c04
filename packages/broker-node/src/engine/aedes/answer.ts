/** A hook that has not answered by then counts as if it had refused: its client would wait for ever. */
const ANSWER_MAX_MS = 30_000

/**
 * What a hook answers through its callback: at once, which costs no promise, or later. Only the first answer counts;
 * without one within 30 s it is `late`.
 */
export function answerOf<T>(late: T, ask: (answer: (value: T) => void) => void): T | Promise<T> {
  let isKnown = false
  let known: T | undefined
  let later: ((value: T) => void) | undefined
  ask(value => {
    if (later !== undefined) later(value)
    else if (!isKnown) {
      isKnown = true
      known = value
    }
  })
  // Set together with `isKnown`.
  if (isKnown) return known as T
  return new Promise(resolve => {
    const timer = setTimeout(resolve, ANSWER_MAX_MS, late)
    timer.unref()
    later = value => {
      clearTimeout(timer)
      resolve(value)
    }
  })
}
