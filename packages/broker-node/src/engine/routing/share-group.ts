import { parseShare, type Qos } from '@midge/protocol-core'
import type { GroupMember } from '../ground/subscriber.ts'

/**
 * One shared subscription, `$share/<group>/<filter>`, as this node sees it: members online here, nodes with online
 * members, and stored members wherever they are. v5 section 4.8.2.
 */
export class ShareGroup {
  readonly name: string
  /** The filter without its share prefix. */
  readonly topicFilter: string
  private readonly members: { member: GroupMember; qos: Qos }[] = []
  private readonly nodes: string[] = []
  private readonly stored = new Map<string, Qos>()
  private turn = 0
  private takeTurn = 0

  constructor(name: string) {
    this.name = name
    this.topicFilter = parseShare(name)?.topicFilter ?? name
  }

  get isEmpty(): boolean {
    return this.members.length === 0 && this.nodes.length === 0 && this.stored.size === 0
  }

  get hasLocalMembers(): boolean {
    return this.members.length > 0
  }

  /**
   * QoS at which the group's queue keeps a message: the highest that any known member was granted. Members of other
   * nodes count as 2, since only their node knows; each member receives at its own QoS anyway.
   */
  get qosMax(): Qos {
    if (this.nodes.length > 0) return 2
    let max: Qos = 0
    for (const own of this.members) if (own.qos > max) max = own.qos
    for (const qos of this.stored.values()) if (qos > max) max = qos
    return max
  }

  addMember(member: GroupMember, qos: Qos): void {
    const known = this.members.find(entry => entry.member === member)
    if (known === undefined) this.members.push({ member, qos })
    else known.qos = qos
  }

  removeMember(member: GroupMember): void {
    const at = this.members.findIndex(entry => entry.member === member)
    if (at !== -1) this.members.splice(at, 1)
  }

  addStored(clientId: string, qos: Qos): void {
    this.stored.set(clientId, qos)
  }

  removeStored(clientId: string): void {
    this.stored.delete(clientId)
  }

  setNode(nodeId: string, online: boolean): void {
    const at = this.nodes.indexOf(nodeId)
    if (online && at === -1) this.nodes.push(nodeId)
    else if (!online && at !== -1) this.nodes.splice(at, 1)
  }

  /** Whose turn it is: a session of this node, the id of another node, or nobody (no member is online). */
  next(): GroupMember | string | undefined {
    const count = this.members.length + this.nodes.length
    if (count === 0) return undefined
    this.turn = (this.turn + 1) % count
    const own = this.members[this.turn]
    return own === undefined ? this.nodes[this.turn - this.members.length] : own.member
  }

  /** The members of this node, starting after the one that was first the last time. */
  localMembersInTurn(): GroupMember[] {
    const count = this.members.length
    if (count === 0) return []
    this.takeTurn = (this.takeTurn + 1) % count
    const inTurn: GroupMember[] = []
    for (let i = 0; i < count; i++) {
      const own = this.members[(this.takeTurn + i) % count]
      if (own !== undefined) inTurn.push(own.member)
    }
    return inTurn
  }
}
