import type { Message } from '../message.ts'
import type { Qos } from '../packet.ts'
import type { InstanceName } from './instance-name.ts'

/** A message that a member of a share group has taken and not yet acknowledged. */
export interface TakenEntry {
  seq: number
  packetId: number
  qos: Qos
  /** QoS 2: PUBREC has been received. */
  released: boolean
  message: Message
}

/** Share groups: one queue each, from which members take. Fed by {@link MessageStore.commit}. */
export interface GroupStore {
  /**
   * A member takes up to `packetIds.length` messages of its group, oldest first; each is marked with the member, its
   * epoch and one of the packet ids, and belongs to nobody else until acknowledged or returned.
   */
  takeGroup(
    instance: InstanceName,
    group: string,
    clientId: string,
    epoch: number,
    packetIds: number[],
  ): Promise<TakenEntry[]>
  /** What a resumed member still holds of the group (QoS 2), oldest first, marked with its new epoch. */
  heldOfGroup(instance: InstanceName, group: string, clientId: string, epoch: number): Promise<TakenEntry[]>
  ackGroup(instance: InstanceName, group: string, clientId: string, seqs: number[]): Promise<void>
  releaseGroup(instance: InstanceName, group: string, clientId: string, seqs: number[]): Promise<void>
  /**
   * Gives unacknowledged messages of a member back to the group, in their old order; `keepQos2` keeps those at QoS 2.
   * One whose PUBREC has arrived is never given to another member: without `keepQos2` it is dropped.
   */
  returnToGroup(instance: InstanceName, group: string, clientId: string, keepQos2: boolean): Promise<void>
  /** Forgets a group without members, its queue included. */
  deleteGroup(instance: InstanceName, group: string): Promise<void>
}
