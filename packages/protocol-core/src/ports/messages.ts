import type { Message } from '../message.ts'
import type { Qos } from '../packet.ts'
import type { InstanceName } from './instance-name.ts'
import type { QueueLimits } from './queues.ts'

/** One stored session that a message goes to, with what its own subscriptions decided. */
export interface SessionTarget {
  clientId: string
  /** min(message QoS, highest granted QoS of the matching subscriptions); 1 or 2. */
  qos: Qos
  /** RETAIN flag of this delivery (Retain As Published). */
  retain: boolean
  /** All matching Subscription Identifiers; `undefined` for none. */
  subscriptionIds: number[] | undefined
}

/** One shared-subscription group that a message goes to. */
export interface GroupTarget {
  /** `$share/<group>/<filter>`. */
  group: string
  /** QoS at which the group keeps the message; a member that was granted less receives it at its own. */
  qos: Qos
}

/** What messages of an instance have to keep to; the same object for all of them while its limits hold. */
export interface StoreLimits {
  /** In place of those of the store. */
  queue: QueueLimits
  /** Retained messages of the instance; `undefined` is unlimited. */
  retained: { messages: number; bytes: number } | undefined
}

/** One PUBLISH to be made durable. */
export interface CommitItem {
  instance: InstanceName
  message: Message
  sessions: SessionTarget[]
  groups: GroupTarget[]
  /** Replace the retained message of this topic; an empty payload removes it. */
  retain: boolean
  /**
   * Set for a QoS 2 PUBLISH of a session that outlives its connection: the packet id is recorded with the message,
   * and an item whose id is already recorded commits nothing and reports `duplicate`.
   */
  inbound: { clientId: string; epoch: number; packetId: number } | undefined
  /** Of the instance, where it has any. */
  limits?: StoreLimits | undefined
}

/** What became of one {@link CommitItem}. */
export interface CommitResult {
  status: 'stored' | 'duplicate' | 'fenced'
  /**
   * Per entry of `sessions`: the queue sequence number; 0 when the queue was full and the message was dropped; -1 when
   * the session has ended in between.
   */
  seqs: number[]
  /** Groups (by position) whose queue was full. */
  droppedGroups: number
  /** The instance has no room for another retained message: all else is stored. */
  isRetainedFull?: boolean
}

/** The way of published messages into queues, share groups and the retained messages. */
export interface MessageStore {
  /**
   * Stores a batch: queue appends, group appends, retained changes, inbound QoS 2 ids. Items of one batch and later
   * batches of the same caller take effect in order. A queue that is at its limit refuses the newest message.
   * Retained changes of one topic are atomic: a reader sees the old message or the new one.
   * @returns one result per item, in order
   */
  commit(items: CommitItem[]): Promise<CommitResult[]>
}
