import {
  type DueWill,
  decideWillOnOpen,
  type InstanceName,
  type SessionStart,
  type StoredWill,
  standingOfFiredWill,
} from '@midge/protocol-core'
import type { Recorder } from './recorder.ts'
import { type LocalSession, type State, WillRecord } from './state.ts'

/** How long a claimed will belongs to whoever claimed it. */
const CLAIM_MS = 10_000

/** What an open finds of earlier connections. */
export interface OpenedWills {
  due: DueWill[]
  claimed: string[]
}

/** Wills of connections that have ended, until they are published. */
export class LocalWills {
  readonly #state: State
  readonly #recorder: Recorder

  constructor(state: State, recorder: Recorder) {
    this.#state = state
    this.#recorder = recorder
  }

  /** The connection of a session has ended: its will is due at `firesAtMs`. */
  fire(session: LocalSession, will: StoredWill, firesAtMs: number): WillRecord {
    const record = new WillRecord(session, session.epoch, will)
    this.#state.addWill(record)
    this.#schedule(record, firesAtMs)
    return record
  }

  /** A new connection of the client: see the table in `session-rules.ts`. */
  onOpen(instance: InstanceName, clientId: string, start: SessionStart, nowMs: number): OpenedWills {
    const wills: OpenedWills = { due: [], claimed: [] }
    for (const record of [...this.#state.willsOf(instance, clientId)]) {
      const standing = standingOfFiredWill(record.firesAtMs, record.dueAtMs, nowMs)
      switch (decideWillOnOpen(standing, start)) {
        case 'cancel':
          this.#forget(record)
          break
        case 'claim':
          if (standing === 'waiting') this.#schedule(record, nowMs)
          wills.due.push(this.claim(record, nowMs))
          break
        case 'await':
          wills.claimed.push(String(record.id))
          break
      }
    }
    return wills
  }

  /** DISCONNECT has discarded the will of the connection of `epoch`, which has been fired meanwhile. */
  discard(instance: InstanceName, clientId: string, epoch: number): void {
    const record = this.#state.wills.get(epoch)
    if (record?.instance === instance && record.clientId === clientId) this.#forget(record)
  }

  /** Unless it is confirmed before, the will is due again when the claim is over. */
  claim(record: WillRecord, nowMs: number): DueWill {
    // Only in memory: a claim dies with the process that made it.
    this.#state.willDeadlines.schedule(record, nowMs + CLAIM_MS)
    const { id, instance, clientId, will } = record
    return { id: String(id), instance, clientId, will }
  }

  /** Claims the will that has been due for longest. */
  claimNext(nowMs: number): DueWill | undefined {
    const record = this.#state.willDeadlines.takeDue(nowMs)
    return record === undefined ? undefined : this.claim(record, nowMs)
  }

  /** As {@link WillStore.claimWill}. */
  claimAgain(id: number, nowMs: number): DueWill | 'claimed' | 'gone' {
    const record = this.#state.wills.get(id)
    if (record === undefined) return 'gone'
    return record.dueAtMs > nowMs ? 'claimed' : this.claim(record, nowMs)
  }

  /** The will was published, or is not wanted. */
  confirm(id: number): void {
    const record = this.#state.wills.get(id)
    if (record !== undefined) this.#forget(record)
  }

  /** Nothing of the instance is to be published any more. */
  discardAll(instance: InstanceName): void {
    for (const records of this.#state.tenants.get(instance)?.wills.values() ?? []) {
      for (const record of records) this.#forget(record)
    }
  }

  #forget(record: WillRecord): void {
    this.#state.removeWill(record)
    this.#state.willDeadlines.cancel(record)
    this.#recorder.willRemoved(record)
  }

  #schedule(record: WillRecord, firesAtMs: number): void {
    record.firesAtMs = firesAtMs
    this.#state.willDeadlines.schedule(record, firesAtMs)
    this.#recorder.will(record)
  }
}
