import type { InstanceName, Message, Subscription, TakenEntry } from '@midge/protocol-core'
import type { DeliveryForm } from './delivery-form.ts'
import type { Outlet } from './outlet.ts'

/** An online receiver of messages on this node, as routing and delivery see it. */
export interface Subscriber {
  readonly clientId: string
  /** Its QoS 1 and 2 messages come from a queue in the store. */
  readonly isStored: boolean
  readonly outlet: Outlet
  /** A message that replaces the retained one of its topic reaches this subscriber. */
  noteLiveRetained(topicName: string): void
  /** Takes a packet id for a message that the caller writes itself. @returns 0 when the message has to wait */
  takeIdForQos1(): number
  /** Sends at QoS 1 or 2, or keeps the message until the window has room; only without a queue in the store. */
  sendOrWait(message: Message, form: DeliveryForm): void
}

/** A subscriber that can take messages from the queue of a share group. */
export interface GroupMember extends Subscriber {
  readonly instance: InstanceName
  readonly epoch: number
  readonly subscriptions: ReadonlyMap<string, Subscription>
  /** How many more QoS 1 and 2 messages may be sent now. v5 [MQTT-3.3.4-9] */
  readonly windowRoom: number
  /** Packet ids for messages about to be taken, as many as the window has room for, at most `countMax`. */
  reserveGroupIds(countMax: number): number[]
  /** Gives back an id of {@link GroupMember.reserveGroupIds} that no message was taken for. */
  returnGroupId(packetId: number): void
  /** Sends a message taken from a group; its id is reserved, or (`isResumed`) is taken here. */
  sendTaken(group: string, entry: TakenEntry, isResumed: boolean): void
}
