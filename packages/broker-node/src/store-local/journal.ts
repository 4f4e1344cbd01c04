/** A record as it is read back at start: key and value. */
export type JournalRecord = [key: Uint8Array, value: Uint8Array]

/**
 * Where the local store writes its state down: an ordered key-value store with atomic batches.
 *
 * `put` and `delete` only collect, and copy what they are given, so that callers may reuse their buffers. What one
 * tick collects is kept as one: after a crash either all of it is there or nothing.
 */
export interface Journal {
  /** False when nothing is ever kept; callers then spare themselves the encoding. */
  readonly keeps: boolean
  put(key: Uint8Array, value: Uint8Array): void
  delete(key: Uint8Array): void
  /**
   * Resolves when everything collected so far is kept as the durability setting says.
   * @throws BrokerError `MIDGE_STORE_UNAVAILABLE`; the journal then stays failed
   */
  flushed(): Promise<void>
  /** The error that ended the journal's work, if one did: what is in memory is then ahead of what is kept. */
  failure(): Error | undefined
  /** All records in the order of their keys, in pages; called once, before the first `put`. */
  records(): AsyncIterable<JournalRecord[]>
  /** Writes out what is left and lets go of the files. */
  stop(): Promise<void>
}

const KEPT = Promise.resolve()

/** The journal of a store in memory: keeps nothing, costs nothing. */
export class NullJournal implements Journal {
  readonly keeps = false

  put(): void {}

  delete(): void {}

  flushed(): Promise<void> {
    return KEPT
  }

  failure(): undefined {
    return undefined
  }

  async *records(): AsyncIterable<JournalRecord[]> {}

  stop(): Promise<void> {
    return KEPT
  }
}
