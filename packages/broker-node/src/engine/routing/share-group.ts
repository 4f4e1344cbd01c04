import { parseShare, type Qos } from '@midge/protocol-core'
import type { Session } from '../sessions/session.ts'

/**
 * One shared subscription, `$share/<group>/<filter>`, as this node sees it: members online here, nodes with online
 * members, and stored members wherever they are. v5 section 4.8.2.
 */
export class ShareGroup {
  readonly name: string
  /** The filter without its share prefix. */
  readonly topicFilter: string
  private readonly members: { session: Session; qos: Qos }[] = []
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
    for (const member of this.members) if (member.qos > max) max = member.qos
    for (const qos of this.stored.values()) if (qos > max) max = qos
    return max
  }

  addMember(session: Session, qos: Qos): void {
    const known = this.members.find(member => member.session === session)
    if (known === undefined) this.members.push({ session, qos })
    else known.qos = qos
  }

  removeMember(session: Session): void {
    const at = this.members.findIndex(member => member.session === session)
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

  grantedQos(session: Session): Qos {
    return this.members.find(member => member.session === session)?.qos ?? 0
  }

  /** Whose turn it is: a session of this node, the id of another node, or nobody (no member is online). */
  next(): Session | string | undefined {
    const count = this.members.length + this.nodes.length
    if (count === 0) return undefined
    this.turn = (this.turn + 1) % count
    const member = this.members[this.turn]
    return member === undefined ? this.nodes[this.turn - this.members.length] : member.session
  }

  /** The members of this node, starting after the one that was first the last time. */
  localMembersInTurn(): Session[] {
    const count = this.members.length
    if (count === 0) return []
    this.takeTurn = (this.takeTurn + 1) % count
    const inTurn: Session[] = []
    for (let i = 0; i < count; i++) {
      const member = this.members[(this.takeTurn + i) % count]
      if (member !== undefined) inTurn.push(member.session)
    }
    return inTurn
  }
}
