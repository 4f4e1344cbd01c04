/** One record of the control plane; `value` is JSON. */
export interface RecordRow {
  /** `<kind>`, or `<kind>\0<instance>\0<id>`; at most 2 KiB. */
  key: string
  /** At most 256 KiB. */
  value: string
}

/** One change of a {@link RecordStore.write}. */
export interface RecordChange {
  key: string
  /** `undefined` removes the record. */
  value: string | undefined
  /**
   * What has to be there for the whole write to happen: this value, `undefined` for nothing at all. Without the field
   * whatever is there is replaced.
   */
  expected?: { value: string | undefined }
}

/** Is told what is in the records, on every node, in the order of the writes. */
export interface RecordListener {
  /** `value` is `undefined` for a record that is gone. */
  onRecord(key: string, value: string | undefined): void
  /** All records are about to be told again from the start: those that are not told then are gone. */
  onRecordsReset(): void
  /** All records have been told: once before `start` resolves, and after each reset. */
  onRecordsTold(): void
}

/**
 * What the operator and the tenants have set up (instances, users, rules, plans, keys …), known to every node in memory.
 * Small and rarely written beside sessions and messages: 100,000 users and as many rules are the design's size.
 */
export interface RecordStore {
  /**
   * Tells all records to `listener`, then follows changes of all nodes, one's own included. A change that a node has
   * missed reaches it within a second of its link being back.
   */
  start(listener: RecordListener): Promise<void>
  /**
   * Makes all changes, or none of them. At most 1,000.
   *
   * Resolves when they are kept as the durability setting says, this node's listener has been told, and every live node
   * has been, so that whoever is answered afterwards finds them in force everywhere.
   *
   * @returns `everywhere` false when a live node had not confirmed within 500 ms
   * @throws BrokerError `MIDGE_RECORD_CONFLICT` when an `expected` did not hold: nothing was changed;
   * `MIDGE_STORE_UNAVAILABLE` when the outcome is unknown
   */
  write(changes: readonly RecordChange[]): Promise<{ everywhere: boolean }>
  stop(): Promise<void>
}
