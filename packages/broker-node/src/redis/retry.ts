const RETRY_FIRST_MS = 50
const RETRY_MAX_MS = 1_000

/** @returns how long to wait before try number `attempt` (from 1): doubling, capped, with up to half as jitter */
export function retryDelayMs(attempt: number): number {
  const full = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** Math.min(attempt - 1, 10))
  return Math.round(full * (0.5 + Math.random() / 2))
}

/** Waits, at most until the signal aborts; never rejects. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise(resolve => {
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done)
  })
}
