import { BrokerError } from '../errors.ts'

/** Characters of a record's key. */
export const RECORD_KEY_CHARS_MAX = 2_048
/** Characters of a record's value. */
export const RECORD_VALUE_CHARS_MAX: number = 256 * 1024
/** Changes in one write. */
export const RECORD_CHANGES_MAX = 1_000
/** Characters of all keys and values in one write. */
export const RECORD_WRITE_CHARS_MAX: number = 4 * 1024 * 1024

/** One record of the control plane; `value` is JSON. */
export interface RecordRow {
  /** `<kind>`, or `<kind>\0<instance>\0<id>`; at most {@link RECORD_KEY_CHARS_MAX}. */
  key: string
  /** Not empty, at most {@link RECORD_VALUE_CHARS_MAX}. */
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
   * Makes all changes, or none of them. At most {@link RECORD_CHANGES_MAX}, of {@link RECORD_WRITE_CHARS_MAX} together.
   * Whatever is expected is of before the write, and of several changes of one record the last one counts.
   *
   * Resolves when they are kept as the durability setting says, this node's listener has been told, and every live node
   * has been, so that whoever is answered afterwards finds them in force everywhere.
   *
   * @returns `everywhere` false when a live node had not confirmed within 500 ms
   * @throws BrokerError `MIDGE_RECORD_CONFLICT` when an `expected` did not hold: nothing was changed;
   * `MIDGE_INVALID` beyond a bound; `MIDGE_STORE_UNAVAILABLE` when the outcome is unknown, or after `stop`
   */
  write(changes: readonly RecordChange[]): Promise<{ everywhere: boolean }>
  stop(): Promise<void>
}

/** @throws BrokerError `MIDGE_INVALID` when a write is larger than {@link RecordStore.write} allows */
export function checkRecordChanges(changes: readonly RecordChange[]): void {
  if (changes.length > RECORD_CHANGES_MAX) throw invalid(`more than ${RECORD_CHANGES_MAX} changes`)
  let chars = 0
  for (const { key, value } of changes) {
    if (key.length === 0 || key.length > RECORD_KEY_CHARS_MAX) throw invalid(`a key of ${key.length} characters`)
    if (value?.length === 0) throw invalid('an empty value')
    if (value !== undefined && value.length > RECORD_VALUE_CHARS_MAX) {
      throw invalid(`a value of ${value.length} characters`)
    }
    chars += key.length + (value?.length ?? 0)
  }
  if (chars > RECORD_WRITE_CHARS_MAX) throw invalid(`${chars} characters`)
}

/** What a {@link RecordStore.write} rejects with when record `key` is not as it was expected. */
export function recordConflict(key: string): BrokerError {
  const name = key.replaceAll('\0', '/')
  return new BrokerError('MIDGE_RECORD_CONFLICT', `the record ${name} has been changed by somebody else meanwhile`)
}

function invalid(what: string): BrokerError {
  return new BrokerError('MIDGE_INVALID', `one write of records cannot have ${what}`)
}
