import { stopping } from './errors.ts'

/** Callers that wait for a link. */
export class Waiters {
  private readonly waiting = new Set<() => void>()

  /**
   * Resolves with the next {@link release}.
   *
   * @throws {@link BrokerError} `MIDGE_STORE_UNAVAILABLE` when the signal aborts first
   */
  wait(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.reject(stopping())
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        this.waiting.delete(settle)
        signal.removeEventListener('abort', settle)
        if (signal.aborted) reject(stopping())
        else resolve()
      }
      this.waiting.add(settle)
      signal.addEventListener('abort', settle)
    })
  }

  release(): void {
    for (const settle of [...this.waiting]) settle()
  }
}
