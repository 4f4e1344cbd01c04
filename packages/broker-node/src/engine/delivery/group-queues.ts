import { type InstanceName, instanceKey, parseShare, type TakenEntry } from '@midge/protocol-core'
import { reportBackgroundFailure } from '../ground/background-failure.ts'
import type { EngineServices } from '../ground/services.ts'
import type { GroupMember } from '../ground/subscriber.ts'
import type { TickMember } from '../ground/tick.ts'
import type { Routers } from '../routing/routers.ts'
import type { ShareGroup } from '../routing/share-group.ts'
import type { GroupWork } from '../sessions/group-work.ts'

/** Messages a member takes at once. */
const TAKE_MAX = 32
/** The first is being served when the rest arrives, and what then is wanted has to be a full take. */
const POKES_TO_DRAIN: number = 2 * TAKE_MAX

/** What this node knows of the queue of one group with members here. */
interface GroupQueue {
  instance: InstanceName
  name: string
  /** Messages that may be in the queue and that a member of this node was asked to take. */
  wanted: number
  isTaking: boolean
  /** Messages wait in the queue, but no member of this node had room. */
  hasBacklog: boolean
}

type GroupServices = Pick<EngineServices, 'counters' | 'link' | 'logger' | 'store' | 'tick'>

/**
 * Serves share groups at QoS 1 and 2: members of this node take messages from the group's one queue as far as their
 * windows allow, so a slow member slows nobody and nothing is lost with a member. Design: members pull.
 */
export class GroupQueues implements GroupWork, TickMember {
  hasBacklog = false
  private readonly services: GroupServices
  private readonly routers: Routers
  private readonly queues = new Map<string, GroupQueue>()
  private readonly acks = new Map<string, { member: GroupMember; group: string; seqs: number[] }>()

  constructor(services: GroupServices, routers: Routers) {
    this.services = services
    this.routers = routers
  }

  /** A message for the group has been stored by this node: the member whose turn it is takes it. */
  onCommitted(instance: InstanceName, name: string): void {
    const group = this.routers.of(instance).group(name)
    const next = group?.next()
    if (next === undefined) return
    if (typeof next === 'string') this.services.link.pokeGroup(next, instance, name)
    else this.want(instance, name, 1)
  }

  /** There may be messages in the queue: a poke of another node, a new member, messages given back. */
  onGrew(instance: InstanceName, name: string): void {
    this.want(instance, name, 1)
  }

  /** Takes whatever is there; used when a member arrives or a member's messages came back. */
  drain(instance: InstanceName, name: string): void {
    this.want(instance, name, TAKE_MAX)
  }

  /** Messages of the group were given back: somebody else has to take them. */
  announce(instance: InstanceName, name: string): void {
    const group = this.routers.of(instance).group(name)
    if (group === undefined) return
    if (group.hasLocalMembers) {
      this.drain(instance, name)
      return
    }
    const next = group.next()
    if (typeof next !== 'string') return
    // A poke asks for one message and nobody counted what came back: this many make the other node empty the queue.
    for (let i = 0; i < POKES_TO_DRAIN; i++) this.services.link.pokeGroup(next, instance, name)
  }

  onRoom(member: GroupMember): void {
    for (const name of member.subscriptions.keys()) {
      const queue = this.queues.get(instanceKey(member.instance, name))
      if (queue?.hasBacklog === true) this.want(member.instance, name, TAKE_MAX)
    }
  }

  /** Lets the remaining members of share groups have what came back, or ends groups that have none. */
  async leave(instance: InstanceName, topicFilters: Iterable<string>): Promise<void> {
    for (const topicFilter of topicFilters) {
      if (parseShare(topicFilter) === undefined) continue
      if (this.routers.of(instance).group(topicFilter) === undefined)
        await this.services.store.deleteGroup(instance, topicFilter)
      else this.announce(instance, topicFilter)
    }
  }

  /** Looks after hints that were lost; called every few seconds. */
  sweep(): void {
    for (const queue of this.queues.values()) {
      const group = this.routers.of(queue.instance).group(queue.name)
      if (group === undefined || !group.hasLocalMembers) {
        this.setBacklog(queue, false)
        this.queues.delete(instanceKey(queue.instance, queue.name))
      } else this.drain(queue.instance, queue.name)
    }
  }

  ack(member: GroupMember, group: string, seq: number): void {
    const key = instanceKey(instanceKey(member.instance, group), member.clientId)
    const known = this.acks.get(key)
    if (known === undefined) {
      this.acks.set(key, { member, group, seqs: [seq] })
      this.services.tick.request()
    } else {
      known.seqs.push(seq)
    }
  }

  release(member: GroupMember, group: string, exchange: { seq: number; packetId: number }): void {
    this.services.store.releaseGroup(member.instance, group, member.clientId, [exchange.seq]).then(
      () => member.outlet.sendPubrel(exchange.packetId),
      (error: unknown) => member.outlet.onStoreFailure(error),
    )
  }

  endTick(): void {
    if (this.acks.size > 0) this.flushAcks()
  }

  /** Tells the store what members have acknowledged. */
  flushAcks(): void {
    for (const [key, { member, group, seqs }] of this.acks) {
      this.acks.delete(key)
      this.services.store
        .ackGroup(member.instance, group, member.clientId, seqs)
        .catch((error: unknown) => member.outlet.onStoreFailure(error))
    }
  }

  /** Sends a resumed member what it still holds (QoS 2). v5 [MQTT-4.8.2-4]. */
  async resume(member: GroupMember, group: string): Promise<void> {
    const held = await this.services.store.heldOfGroup(member.instance, group, member.clientId, member.epoch)
    // Left with the member otherwise: its next connection reads them again.
    if (member.outlet.isClosed) return
    for (const entry of held) member.sendTaken(group, entry, true)
  }

  private want(instance: InstanceName, name: string, count: number): void {
    const key = instanceKey(instance, name)
    let queue = this.queues.get(key)
    if (queue === undefined) {
      queue = { instance, name, wanted: 0, isTaking: false, hasBacklog: false }
      this.queues.set(key, queue)
    }
    queue.wanted += count
    if (queue.isTaking) return
    queue.isTaking = true
    this.take(queue).catch((error: unknown) => reportBackgroundFailure(this.services, 'share group', error))
  }

  private async take(queue: GroupQueue): Promise<void> {
    try {
      while (queue.wanted > 0) {
        const group = this.routers.of(queue.instance).group(queue.name)
        if (group === undefined) return
        const member = memberWithRoom(group)
        if (member === undefined) {
          this.setBacklog(queue, true)
          queue.wanted = 0
          return
        }
        this.setBacklog(queue, false)
        const wanted = queue.wanted
        // What was announced while the store looked may have come too late for that look.
        if (!(await this.takeFor(member, queue))) queue.wanted = Math.max(0, queue.wanted - wanted)
      }
    } finally {
      // In the turn of the last look: what is wanted a moment later starts the next one.
      queue.isTaking = false
    }
  }

  /** @returns false when the queue turned out to be empty */
  private async takeFor(member: GroupMember, queue: GroupQueue): Promise<boolean> {
    const isBacklogRun = queue.wanted >= TAKE_MAX
    const ids = member.reserveGroupIds(isBacklogRun ? TAKE_MAX : 1)
    const { store } = this.services
    let taken: TakenEntry[] = []
    try {
      taken = await store.takeGroup(queue.instance, queue.name, member.clientId, member.epoch, ids)
    } finally {
      for (const id of ids.slice(taken.length)) member.returnGroupId(id)
    }
    if (member.outlet.isClosed || !member.subscriptions.has(queue.name)) {
      for (const { packetId } of taken) member.returnGroupId(packetId)
      await store.returnToGroup(queue.instance, queue.name, member.clientId, false)
      return taken.length > 0
    }
    for (const entry of taken) member.sendTaken(queue.name, entry, false)
    if (!isBacklogRun) queue.wanted = Math.max(0, queue.wanted - taken.length)
    return taken.length === ids.length
  }

  private setBacklog(queue: GroupQueue, hasBacklog: boolean): void {
    if (queue.hasBacklog === hasBacklog) return
    queue.hasBacklog = hasBacklog
    this.hasBacklog = hasBacklog || [...this.queues.values()].some(other => other.hasBacklog)
  }
}

function memberWithRoom(group: ShareGroup): GroupMember | undefined {
  return group.localMembersInTurn().find(member => member.windowRoom > 0)
}
