import type { Message } from '../message.ts'
import type { Qos } from '../packet.ts'
import type { InstanceName } from './instance-name.ts'

/** One message in a session's queue, in delivery order. */
export interface QueueEntry {
  seq: number
  qos: Qos
  retain: boolean
  subscriptionIds: number[] | undefined
  /** QoS 2: PUBREC has been received; only PUBREL is owed and `message` must not be sent again. */
  released: boolean
  message: Message
}

/** Bounds that the store enforces inside its own atomic step. */
export interface QueueLimits {
  /** Messages a session keeps while nobody is connected to it. */
  offlineQueueMessages: number
  offlineQueueBytes: number
  /** Messages a session keeps while a connection is there but acknowledges slowly. */
  onlineQueueMessages: number
  onlineQueueBytes: number
}

/**
 * What is on its way to and from a stored session. Calls that take an epoch reject with `MIDGE_SESSION_FENCED` when a
 * newer open has happened.
 */
export interface QueueStore {
  /**
   * Queue entries from `fromSeq` on, oldest first, at most `countMax` and about 256 KiB. Expired ones are left out,
   * except those up to `sentSeq`: a delivery that has begun is completed. v5 [MQTT-4.3.3-7].
   */
  readQueue(
    instance: InstanceName,
    clientId: string,
    epoch: number,
    fromSeq: number,
    countMax: number,
  ): Promise<QueueEntry[]>
  /** Current tail of a session's queue; used after `onReconnected`. 0 when there is no session. */
  tailSeq(instance: InstanceName, clientId: string): Promise<number>
  /** Drops every entry up to and including `upToSeq`. Idempotent. */
  ackQueue(instance: InstanceName, clientId: string, epoch: number, upToSeq: number): Promise<void>
  /** Records that PUBREC of these entries has arrived, so that a resumed session gets PUBREL. */
  releaseQueue(instance: InstanceName, clientId: string, epoch: number, seqs: number[]): Promise<void>
  /** Forgets an inbound QoS 2 packet id (PUBREL has arrived). Idempotent. */
  forgetInbound(instance: InstanceName, clientId: string, epoch: number, packetId: number): Promise<void>
}
