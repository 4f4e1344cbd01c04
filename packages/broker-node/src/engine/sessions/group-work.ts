import type { GroupMember } from '../ground/subscriber.ts'

/** What a session tells of the messages that it has taken from share groups. */
export interface GroupWork {
  /** True while some group has messages that wait for room in a window. */
  readonly hasBacklog: boolean
  /** The member has acknowledged a message. */
  ack(member: GroupMember, group: string, seq: number): void
  /** Records PUBREC in the store, then sends PUBREL. */
  release(member: GroupMember, group: string, exchange: { seq: number; packetId: number }): void
  /** The window of this member has room again. */
  onRoom(member: GroupMember): void
}
