import { BrokerError, type RecordChange, type RecordListener, type RecordStore } from '@midge/protocol-core'

/** Records of several nodes in the memory of one process; each node has a store of its own over them. */
export class MemoryRecords {
  readonly rows: Map<string, string> = new Map()
  private readonly listeners: Set<RecordListener> = new Set()

  open(): RecordStore {
    let own: RecordListener | undefined
    return {
      start: async listener => {
        own = listener
        this.listeners.add(listener)
        for (const [key, value] of this.rows) listener.onRecord(key, value)
        listener.onRecordsTold()
      },
      write: async changes => this.write(changes),
      stop: async () => {
        if (own !== undefined) this.listeners.delete(own)
      },
    }
  }

  /** Tells every node everything again, as after a lost link. */
  reset(): void {
    for (const listener of this.listeners) {
      listener.onRecordsReset()
      for (const [key, value] of this.rows) listener.onRecord(key, value)
      listener.onRecordsTold()
    }
  }

  private async write(changes: readonly RecordChange[]): Promise<{ everywhere: boolean }> {
    if (changes.length > 1000) throw new RangeError(`${changes.length} changes`)
    await new Promise(resolve => setImmediate(resolve))
    for (const { key, expected } of changes) {
      if (expected !== undefined && expected.value !== this.rows.get(key)) {
        throw new BrokerError('MIDGE_RECORD_CONFLICT', key, { retryable: true })
      }
    }
    for (const { key, value } of changes) {
      if (value === undefined) this.rows.delete(key)
      else this.rows.set(key, value)
      for (const listener of this.listeners) listener.onRecord(key, value)
    }
    return { everywhere: true }
  }
}
