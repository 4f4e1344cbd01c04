import { instanceKey, type TakenEntry } from '@midge/protocol-core'
import type { BrokerCore } from '../broker-core.ts'
import type { ShareGroup } from '../routing/share-group.ts'
import type { Session } from '../sessions/session.ts'

/** Messages a member takes at once. */
const TAKE_MAX = 32
/** The first is being served when the rest arrives, and what then is wanted has to be a full take. */
const POKES_TO_DRAIN: number = 2 * TAKE_MAX

/** What this node knows of the queue of one group with members here. */
interface GroupQueue {
  instance: string
  name: string
  /** Messages that may be in the queue and that a member of this node was asked to take. */
  wanted: number
  isTaking: boolean
  /** Messages wait in the queue, but no member of this node had room. */
  hasBacklog: boolean
}

/**
 * Serves share groups at QoS 1 and 2: members of this node take messages from the group's one queue as far as their
 * windows allow, so a slow member slows nobody and nothing is lost with a member. Design: members pull.
 */
export class Groups {
  /** True while some group has messages that wait for room in a window. */
  hasBacklog = false
  private readonly broker: BrokerCore
  private readonly queues = new Map<string, GroupQueue>()
  private readonly acks = new Map<string, { session: Session; group: string; seqs: number[] }>()

  constructor(broker: BrokerCore) {
    this.broker = broker
  }

  /** A message for the group has been stored by this node: the member whose turn it is takes it. */
  onCommitted(instance: string, name: string): void {
    const group = this.broker.routerOf(instance).group(name)
    const next = group?.next()
    if (next === undefined) return
    if (typeof next === 'string') this.broker.link.pokeGroup(next, instance, name)
    else this.want(instance, name, 1)
  }

  /** There may be messages in the queue: a poke of another node, a new member, messages given back. */
  onGrew(instance: string, name: string): void {
    this.want(instance, name, 1)
  }

  /** Takes whatever is there; used when a member arrives or a member's messages came back. */
  drain(instance: string, name: string): void {
    this.want(instance, name, TAKE_MAX)
  }

  /** Messages of the group were given back: somebody else has to take them. */
  announce(instance: string, name: string): void {
    const group = this.broker.routerOf(instance).group(name)
    if (group === undefined) return
    if (group.hasLocalMembers) {
      this.drain(instance, name)
      return
    }
    const next = group.next()
    if (typeof next !== 'string') return
    // A poke asks for one message and nobody counted what came back: this many make the other node empty the queue.
    for (let i = 0; i < POKES_TO_DRAIN; i++) this.broker.link.pokeGroup(next, instance, name)
  }

  /** A window of this session has room again. */
  onRoom(session: Session): void {
    for (const name of session.subscriptions.keys()) {
      const queue = this.queues.get(instanceKey(session.instance, name))
      if (queue?.hasBacklog === true) this.want(session.instance, name, TAKE_MAX)
    }
  }

  /** Looks after hints that were lost; called every few seconds. */
  sweep(): void {
    for (const queue of this.queues.values()) {
      const group = this.broker.routerOf(queue.instance).group(queue.name)
      if (group === undefined || !group.hasLocalMembers) {
        this.setBacklog(queue, false)
        this.queues.delete(instanceKey(queue.instance, queue.name))
      } else this.drain(queue.instance, queue.name)
    }
  }

  ack(session: Session, group: string, seq: number): void {
    const key = instanceKey(instanceKey(session.instance, group), session.clientId)
    const known = this.acks.get(key)
    if (known === undefined) {
      this.acks.set(key, { session, group, seqs: [seq] })
      this.broker.queueGroupAcks()
    } else {
      known.seqs.push(seq)
    }
  }

  /** Records PUBREC, then sends PUBREL. */
  release(session: Session, group: string, seq: number, packetId: number): void {
    const { store } = this.broker
    store.releaseGroup(session.instance, group, session.clientId, [seq]).then(
      () => session.connection.sendPubrel(packetId),
      (error: unknown) => session.connection.onStoreFailure(error),
    )
  }

  /** Tells the store what members have acknowledged; called once per tick. */
  flushAcks(): void {
    for (const [key, { session, group, seqs }] of this.acks) {
      this.acks.delete(key)
      this.broker.store
        .ackGroup(session.instance, group, session.clientId, seqs)
        .catch((error: unknown) => session.connection.onStoreFailure(error))
    }
  }

  /** Sends a resumed member what it still holds (QoS 2). v5 [MQTT-4.8.2-4]. */
  async resume(session: Session, group: string): Promise<void> {
    const held = await this.broker.store.heldOfGroup(session.instance, group, session.clientId, session.epoch)
    // Left with the member otherwise: its next connection reads them again.
    if (session.connection.isClosed) return
    for (const entry of held) session.sendTaken(group, entry, true)
  }

  private want(instance: string, name: string, count: number): void {
    const key = instanceKey(instance, name)
    let queue = this.queues.get(key)
    if (queue === undefined) {
      queue = { instance, name, wanted: 0, isTaking: false, hasBacklog: false }
      this.queues.set(key, queue)
    }
    queue.wanted += count
    if (queue.isTaking) return
    queue.isTaking = true
    this.take(queue).catch((error: unknown) => this.broker.onBackgroundFailure('share group', error))
  }

  private async take(queue: GroupQueue): Promise<void> {
    try {
      await this.takeWanted(queue)
    } finally {
      // In the turn of the last look: what is wanted a moment later starts the next one.
      queue.isTaking = false
    }
  }

  private async takeWanted(queue: GroupQueue): Promise<void> {
    while (queue.wanted > 0) {
      const group = this.broker.routerOf(queue.instance).group(queue.name)
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
  }

  /** @returns false when the queue turned out to be empty */
  private async takeFor(member: Session, queue: GroupQueue): Promise<boolean> {
    const isBacklogRun = queue.wanted >= TAKE_MAX
    const ids = member.reserveGroupIds(isBacklogRun ? TAKE_MAX : 1)
    const { store } = this.broker
    let taken: TakenEntry[] = []
    try {
      taken = await store.takeGroup(queue.instance, queue.name, member.clientId, member.epoch, ids)
    } finally {
      for (const id of ids.slice(taken.length)) member.returnGroupId(id)
    }
    if (member.connection.isClosed || !member.subscriptions.has(queue.name)) {
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

function memberWithRoom(group: ShareGroup): Session | undefined {
  return group.localMembersInTurn().find(session => session.windowRoom > 0)
}
