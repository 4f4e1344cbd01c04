import { BrokerError, type RecordChange, type RecordRow, type RecordStore } from '@midge/protocol-core'
import { type ControlTables, RESTORING_KEY } from './control-tables.ts'
import { freshRecordId } from './fresh-names.ts'
import type { Actor, AuditEntry } from './model/audit-entry.ts'
import { recordKey } from './record-key.ts'

/** What one step is to change, made from the tables as they are at the moment. */
export interface Draft<T> {
  changes: readonly RecordChange[]
  /** Line of the audit trail, written with the changes. */
  audit: Pick<AuditEntry, 'action' | 'instance' | 'subject'>
  /** What the caller gets when the changes are in force. */
  result: T
}

/** Lines of the audit trail that are kept. */
export const AUDIT_ENTRIES_MAX = 10_000
/** Old lines taken away by one write; more than it adds, so that the trail shrinks back to its bound. */
const AUDIT_TRIM_MAX = 8
/** The bound of {@link RecordStore.write} without the audit trail's own changes. */
export const CHANGES_MAX = 950
/** A batch of what is written again is full when it has as much. */
const BATCH_CHARS = 1024 * 1024
const ATTEMPTS_MAX = 40
const PAUSE_MS_MAX = 50

/** Writes steps whole or not at all, and again when somebody else was first. */
export class RecordWriter {
  private readonly records: RecordStore
  private readonly tables: ControlTables
  private readonly now: () => number

  /** @param now - Unix time in milliseconds */
  constructor(records: RecordStore, tables: ControlTables, now: () => number) {
    this.records = records
    this.tables = tables
    this.now = now
  }

  /**
   * @param draft - is asked again after each conflict; what it throws is thrown
   * @throws BrokerError `MIDGE_STORE_UNAVAILABLE` also when others were always first
   */
  async commit<T>(actor: Actor, draft: () => Draft<T>): Promise<T> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const { changes, audit, result } = draft()
      if (changes.length === 0) return result
      try {
        await this.records.write([...changes, ...this.auditChanges({ ...audit, actor, atMs: this.now() })])
        return result
      } catch (error) {
        if (!(error instanceof BrokerError) || error.code !== 'MIDGE_RECORD_CONFLICT') throw error
      }
      // What was written instead is on its way to the tables, and who met here should not meet again.
      await new Promise(resolve => setTimeout(resolve, Math.random() * PAUSE_MS_MAX))
    }
    throw new BrokerError('MIDGE_STORE_UNAVAILABLE', 'too many changes at the same time', { retryable: true })
  }

  /** Removes without a word in the audit trail: what goes because something else has gone. */
  async removeAll(keys: Iterable<string>): Promise<void> {
    let batch: RecordChange[] = []
    for (const key of [...keys]) {
      batch.push({ key, value: undefined })
      if (batch.length < CHANGES_MAX) continue
      await this.records.write(batch)
      batch = []
    }
    if (batch.length > 0) await this.records.write(batch)
  }

  /** Writes everything that is in the tables, whatever is in the store. */
  async restore(): Promise<void> {
    const rows = [...this.tables.records()].filter(({ key }) => key !== RESTORING_KEY)
    await this.putAll([{ key: RESTORING_KEY, value: JSON.stringify(true) }, ...rows])
    await this.removeAll([RESTORING_KEY])
  }

  private async putAll(rows: Iterable<RecordRow>): Promise<void> {
    let batch: RecordRow[] = []
    let chars = 0
    for (const row of rows) {
      batch.push(row)
      chars += row.key.length + row.value.length
      if (batch.length < CHANGES_MAX && chars < BATCH_CHARS) continue
      await this.records.write(batch)
      batch = []
      chars = 0
    }
    if (batch.length > 0) await this.records.write(batch)
  }

  private auditChanges(entry: AuditEntry): RecordChange[] {
    const { audit } = this.tables
    const surplus = Math.min(audit.size + 1 - AUDIT_ENTRIES_MAX, AUDIT_TRIM_MAX)
    const old = surplus > 0 ? audit.first(surplus) : []
    return [
      { key: recordKey('audit', '', freshRecordId(entry.atMs)), value: JSON.stringify(entry) },
      ...old.map(id => ({ key: recordKey('audit', '', id), value: undefined })),
    ]
  }
}
