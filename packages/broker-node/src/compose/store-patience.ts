import { BrokerError } from '@midge/protocol-core'
import type { Logger } from '../ports.ts'
import { pause, retryDelayMs } from '../redis/retry.ts'

/** A store that does not answer is worth a line this often. */
const REPORT_EVERY_MS = 10_000

/** Waits for a store that is slow or briefly away while a node starts, as for one that is not there yet. */
export class StorePatience {
  private readonly logger: Logger
  private readonly signal: AbortSignal

  constructor(logger: Logger, signal: AbortSignal) {
    this.logger = logger
    this.signal = signal
  }

  /**
   * Repeats a step until the store has taken it; the step has to be safe to repeat.
   *
   * @param what - the step in words, for the log: "check the settings of Redis"
   * @throws BrokerError whatever is not `MIDGE_STORE_UNAVAILABLE` at once, and that one when the signal aborts
   */
  async repeat<T>(what: string, step: () => Promise<T>): Promise<T> {
    const startMs = performance.now()
    let reportAtMs = startMs
    for (let attempt = 1; ; attempt++) {
      try {
        return await step()
      } catch (error) {
        if (!isStoreAway(error) || this.signal.aborted) throw error
        const nowMs = performance.now()
        if (nowMs >= reportAtMs) {
          reportAtMs = nowMs + REPORT_EVERY_MS
          const waitedMs = Math.round(nowMs - startMs)
          const fields = { event: 'store.waiting', step: what, waitedMs, error: error.message }
          this.logger.warn(fields, 'the store is slow or away: the start waits for it')
        }
      }
      await pause(retryDelayMs(attempt), this.signal)
    }
  }
}

function isStoreAway(error: unknown): error is BrokerError {
  return error instanceof BrokerError && error.code === 'MIDGE_STORE_UNAVAILABLE'
}
