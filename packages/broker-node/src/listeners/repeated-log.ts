import { QuietTimes } from '@midge/protocol-core'
import type { Logger } from '../ports.ts'

/** At most one line per kind in this time. */
const INTERVAL_MS = 10_000

/**
 * Keeps a storm of wrong clients from becoming a storm of lines: one line per kind and interval, which says how many
 * were left out since the last one.
 */
export class RepeatedLog {
  private readonly logger: Logger
  private readonly now: () => number
  private readonly times: QuietTimes<string> = new QuietTimes(INTERVAL_MS)

  /** @param now - milliseconds of any clock that only goes forward */
  constructor(logger: Logger, now: () => number = () => performance.now()) {
    this.logger = logger
    this.now = now
  }

  /** `kind` comes from a fixed set, never from the client: each one keeps an entry. */
  info(kind: string, fields: object, text: string): void {
    const suppressedCount = this.times.pass(kind, this.now())
    if (suppressedCount !== undefined) this.logger.info({ ...fields, suppressedCount }, text)
  }
}
