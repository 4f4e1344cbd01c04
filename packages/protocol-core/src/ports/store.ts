import type { DeadlineStore } from './deadlines.ts'
import type { GroupStore } from './groups.ts'
import type { InstanceName } from './instance-name.ts'
import type { MessageStore } from './messages.ts'
import type { QueueStore } from './queues.ts'
import type { RetainedStore } from './retained.ts'
import type { SecretStore } from './secrets.ts'
import type { SessionInspection } from './session-inspection.ts'
import type { SessionStore } from './sessions.ts'
import type { WillStore } from './wills.ts'

/** Calls the store makes when other nodes have changed something this node serves. */
export interface StoreListener {
  /**
   * The queue of a session owned by this node has grown up to `tailSeq` by another node's commit. May be lost or
   * repeated: it is a hint, the queue is the truth.
   */
  onQueueGrew(instance: InstanceName, clientId: string, tailSeq: number): void
  /** The link to the store was re-established: hints may have been lost, so every owned queue has to be looked at. */
  onReconnected(): void
}

/**
 * Everything that must outlive a connection, for whoever puts a node together; callers take the narrowest of its ports.
 *
 * General promises: a promise resolves only when the change survives the death of this node (for the `memory`
 * adapter: of nothing). Rejections are `BrokerError`s; `MIDGE_STORE_UNAVAILABLE` means the outcome is unknown and the
 * call may be repeated.
 */
export interface Store
  extends SessionStore,
    SessionInspection,
    WillStore,
    QueueStore,
    GroupStore,
    RetainedStore,
    MessageStore,
    DeadlineStore,
    SecretStore {
  setListener(listener: StoreListener): void
  /** Resolves when the store answers; rejects with `MIDGE_STORE_UNAVAILABLE`. */
  ping(): Promise<void>
  /** Flushes and lets go; no call may follow. */
  stop(): Promise<void>
}
