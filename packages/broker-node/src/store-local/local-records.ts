import {
  checkRecordChanges,
  type RecordChange,
  type RecordListener,
  type RecordStore,
  recordConflict,
} from '@midge/protocol-core'
import type { Recorder } from './recorder.ts'
import type { State } from './state.ts'

/** {@link RecordStore} of a node on its own, in the memory and the journal of its store. */
export class LocalRecords implements RecordStore {
  readonly #state: State
  readonly #recorder: Recorder
  readonly #apply: (change: () => void) => Promise<void>
  #listener: RecordListener | undefined

  /** @param apply - makes a change now, and resolves when the journal has it */
  constructor(state: State, recorder: Recorder, apply: (change: () => void) => Promise<void>) {
    this.#state = state
    this.#recorder = recorder
    this.#apply = apply
  }

  start(listener: RecordListener): Promise<void> {
    return this.#apply(() => {
      this.#listener = listener
      for (const [key, value] of this.#state.records) listener.onRecord(key, value)
      listener.onRecordsTold()
    })
  }

  async write(changes: readonly RecordChange[]): Promise<{ everywhere: boolean }> {
    checkRecordChanges(changes)
    await this.#apply(() => this.#write(changes))
    return { everywhere: true }
  }

  /** The store is stopped by whoever opened it. */
  stop(): Promise<void> {
    this.#listener = undefined
    return Promise.resolve()
  }

  #write(changes: readonly RecordChange[]): void {
    const { records } = this.#state
    for (const { key, expected } of changes) {
      if (expected !== undefined && records.get(key) !== expected.value) throw recordConflict(key)
    }
    for (const { key, value } of changes) {
      if (value === undefined) records.delete(key)
      else records.set(key, value)
      this.#recorder.record(key, value)
    }
    for (const { key, value } of changes) this.#listener?.onRecord(key, value)
  }
}
