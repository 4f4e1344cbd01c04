import {
  type CommitItem,
  type CommitResult,
  type Message,
  PacketType,
  type PublishRun,
  type Qos,
  ReasonCode,
  RouteInterest,
  type SessionTarget,
} from '@midge/protocol-core'
import { DropReason } from '../../counters.ts'
import type { BrokerCore } from '../broker-core.ts'
import type { Connection } from '../connection/connection.ts'
import type { Match } from '../routing/router.ts'
import { deliverFrames, deliverRun } from './deliver.ts'

/** Publishes waiting for the store beyond which their connections are read no further. */
const PENDING_ITEMS_MAX = 20_000
const PENDING_BYTES_MAX = 32 * 1024 * 1024

/** A message on its way into the store. */
interface Pending {
  item: CommitItem
  /** Undefined for messages of the server itself. */
  connection: Connection | undefined
  packetId: number
  settle: ((stored: boolean) => void) | undefined
}

/** Shorter runs travel between nodes as single messages: those repeat neither topic nor header. */
const RUN_MESSAGES_MIN = 4

const NO_GROUPS: string[] = []

/**
 * Takes messages from their publisher to everyone they concern.
 *
 * QoS 0 goes out at once. QoS 1 and 2 is acknowledged only after it is stored wherever it has to be (promise P1): when
 * nothing outside this process is concerned that is at once too, else after the batch of this tick is committed.
 */
export class Publisher {
  private readonly broker: BrokerCore
  private batch: Pending[] = []
  private pendingItems = 0
  private pendingBytes = 0
  private lastBatch: Promise<void> = Promise.resolve()
  private readonly drainWaiters: (() => void)[] = []

  constructor(broker: BrokerCore) {
    this.broker = broker
  }

  /** A run of a client of this node. */
  publishRun(instance: string, run: PublishRun, match: Match): void {
    const { broker } = this
    const { sendsToAll } = broker
    if (match.isEmpty) {
      broker.counters.messagesUnmatched += run.count
      if (!sendsToAll) return
    }
    deliverRun(run, match)
    if (match.groups.length > 0 || run.count < RUN_MESSAGES_MIN) {
      if (match.groups.length === 0 && match.nodes.length === 0 && !sendsToAll) return
      for (const message of run.messages()) this.sendElsewhere(instance, message, match, true)
    } else if (sendsToAll) {
      for (const nodeId of broker.link.peers()) broker.sendRunToNode(nodeId, instance, run)
    } else {
      for (const route of match.nodes) broker.sendRunToNode(route.nodeId, instance, run)
    }
  }

  publishFrom(from: Connection, message: Message, match: Match, packetId: number): void {
    const { broker } = this
    if (match.isEmpty) broker.counters.messagesUnmatched++
    if (broker.hooks.observesPublish) broker.hooks.published(from, message)
    if (message.qos === 0) {
      this.publishQos0(from.info.instance, message, match, from)
      return
    }
    const session = from.session
    const inbound =
      message.qos === 2 && session !== undefined && session.isStored
        ? { clientId: from.clientId, epoch: session.epoch, packetId }
        : undefined
    // A message that overtakes an earlier one of the same publisher which is still being stored would break the order.
    if (match.isLocal && !message.retain && inbound === undefined && !from.hasPending && !broker.sendsToAll) {
      this.acknowledge(from, message.qos, packetId)
      deliverFrames(broker, message, match, from.clientId)
      return
    }
    from.pendingCount++
    this.enqueue({
      item: this.itemOf(from.info.instance, message, match, inbound),
      connection: from,
      packetId,
      settle: undefined,
    })
    if (this.isFull) from.waitFor(this.drained())
  }

  /**
   * Publishes a message of the server itself (a will, the API).
   * @returns true when it is stored wherever its QoS wants it; false when the store did not take it
   */
  publish(instance: string, message: Message): Promise<boolean> {
    const match = this.broker.routerOf(instance).match(message.topicName)
    if (message.qos === 0 && !message.retain) {
      this.publishQos0(instance, message, match, undefined)
      return Promise.resolve(true)
    }
    if (message.qos === 0) this.deliverQos0(instance, message, match)
    return new Promise(settle => {
      this.enqueue({
        item: this.itemOf(instance, message, match, undefined),
        connection: undefined,
        packetId: 0,
        settle,
      })
    })
  }

  /** A message from another node, for this node's online subscribers. */
  onRemote(instance: string, message: Message, groups: string[]): void {
    const { broker } = this
    broker.counters.linkMessagesReceived++
    const router = broker.routerOf(instance)
    deliverFrames(broker, message, router.match(message.topicName), message.publisherId)
    for (const name of groups) {
      const member = router.group(name)?.localMembersInTurn()[0]
      if (member !== undefined) this.sendToMember(name, member.connection, message)
    }
  }

  /** A run from another node. */
  onRemoteRun(instance: string, run: PublishRun): void {
    const { broker } = this
    broker.counters.linkMessagesReceived += run.count
    const match = broker.routerOf(instance).match(run.topicName)
    if (broker.hooks.allowRuns) deliverRun(run, match)
    else for (const message of run.messages()) deliverFrames(broker, message, match, message.publisherId)
  }

  /** True while a QoS 2 message of this connection with this id is on its way into the store. */
  isPending(connection: Connection, packetId: number): boolean {
    return connection.hasPending && connection.pendingQos2.has(packetId)
  }

  /** Resolves when everything published on this node so far has been stored, or refused. */
  settled(): Promise<void> {
    this.flush()
    return this.lastBatch
  }

  /** Hands the batch of this tick to the store; called once per tick. */
  flush(): void {
    if (this.batch.length === 0) return
    const batch = this.batch
    this.batch = []
    const { broker } = this
    const stored = broker.store.commit(batch.map(pending => pending.item))
    // Frames to other nodes left with the same call: the acknowledgement covers them too.
    const sent = broker.link.flushed()
    const previous = this.lastBatch
    const both = Promise.all([stored, sent])
    // Kept from being an unhandled rejection while an earlier batch is still waited for.
    both.catch(() => undefined)
    this.lastBatch = previous
      .then(() => both)
      .then(
        ([results]) => this.onStored(batch, results),
        (error: unknown) => this.onFailed(batch, error),
      )
  }

  private get isFull(): boolean {
    return this.pendingItems > PENDING_ITEMS_MAX || this.pendingBytes > PENDING_BYTES_MAX
  }

  private drained(): Promise<void> {
    return new Promise(resolve => this.drainWaiters.push(resolve))
  }

  private enqueue(pending: Pending): void {
    this.pendingItems++
    this.pendingBytes += pending.item.message.payload.length
    if (pending.item.message.qos === 2) pending.connection?.pendingQos2.add(pending.packetId)
    this.batch.push(pending)
    this.broker.queueCommit()
  }

  private itemOf(instance: string, message: Message, match: Match, inbound: CommitItem['inbound']): CommitItem {
    const sessions: SessionTarget[] = []
    const groups: CommitItem['groups'] = []
    if (message.qos > 0) {
      for (const target of match.stored) {
        const options = target.clientId === message.publisherId ? target.forOwn : target
        const qos = Math.min(message.qos, options?.qos ?? 0) as Qos
        if (options === undefined || qos === 0) continue
        const retain = options.retainAsPublished && message.retain
        sessions.push({ clientId: target.clientId, qos, retain, subscriptionIds: options.subscriptionIds })
      }
      for (const group of match.groups) {
        const qos = Math.min(message.qos, group.qosMax) as Qos
        if (qos > 0) groups.push({ group: group.name, qos })
      }
      this.sendElsewhere(instance, message, match, false)
    }
    return { instance, message, sessions, groups, retain: message.retain, inbound }
  }

  private publishQos0(instance: string, message: Message, match: Match, from: Connection | undefined): void {
    this.deliverQos0(instance, message, match)
    if (!message.retain) return
    if (from !== undefined) from.pendingCount++
    if (from !== undefined && this.isFull) from.waitFor(this.drained())
    const item: CommitItem = { instance, message, sessions: [], groups: [], retain: true, inbound: undefined }
    this.enqueue({ item, connection: from, packetId: 0, settle: undefined })
  }

  private deliverQos0(instance: string, message: Message, match: Match): void {
    deliverFrames(this.broker, message, match, message.publisherId)
    this.sendElsewhere(instance, message, match, true)
  }

  /** To the nodes that want it; `withGroups` also serves share groups at QoS 0, which have no queue. */
  private sendElsewhere(instance: string, message: Message, match: Match, withGroups: boolean): void {
    const { broker } = this
    let groupsByNode: Map<string, string[]> | undefined
    for (const group of match.groups) {
      if (!withGroups && group.qosMax > 0) continue
      const next = group.next()
      if (next === undefined) continue
      if (typeof next !== 'string') {
        this.sendToMember(group.name, next.connection, message)
        continue
      }
      groupsByNode ??= new Map()
      const names = groupsByNode.get(next)
      if (names === undefined) groupsByNode.set(next, [group.name])
      else names.push(group.name)
    }
    if (broker.sendsToAll) {
      for (const nodeId of broker.link.peers())
        broker.sendToNode(nodeId, instance, message, groupsByNode?.get(nodeId) ?? NO_GROUPS)
      return
    }
    for (const route of match.nodes) {
      if (message.qos > 0 && route.interest !== RouteInterest.all) continue
      broker.sendToNode(route.nodeId, instance, message, groupsByNode?.get(route.nodeId) ?? NO_GROUPS)
      groupsByNode?.delete(route.nodeId)
    }
    if (groupsByNode === undefined) return
    // Nodes that are only in for the group get a copy that their other subscribers do not match anyway.
    for (const [nodeId, names] of groupsByNode) broker.sendToNode(nodeId, instance, message, names)
  }

  private sendToMember(group: string, to: Connection, message: Message): void {
    const subscription = to.session?.subscriptions.get(group)
    if (subscription === undefined) return
    const ids = subscription.subscriptionId === 0 ? undefined : [subscription.subscriptionId]
    to.sendPublish(message, 0, subscription.retainAsPublished && message.retain, false, 0, ids)
  }

  private onStored(batch: Pending[], results: CommitResult[]): void {
    for (let i = 0; i < batch.length; i++) {
      const pending = batch[i] as Pending
      const result = results[i]
      this.leave(pending)
      try {
        if (result === undefined || result.status === 'fenced') this.refuse(pending)
        else this.complete(pending, result)
      } catch (error) {
        // The others of the batch, and all later batches, have nothing to do with it.
        this.broker.logger.error({ event: 'connection.bug', err: error }, 'a stored message could not be handed on')
      }
    }
    this.wakeWaiters()
  }

  private complete(pending: Pending, result: CommitResult): void {
    const { broker } = this
    const { item, connection } = pending
    if (connection !== undefined && !connection.isClosed && item.message.qos > 0) {
      this.acknowledge(connection, item.message.qos, pending.packetId)
    }
    if (result.status === 'stored') {
      broker.counters.messagesStored++
      this.countDrops(item, result)
      if (item.message.qos > 0) this.deliverStored(item, result)
    }
    pending.settle?.(true)
  }

  /** Online subscribers get the message after it is stored, by the subscriptions as they are now. */
  private deliverStored(item: CommitItem, result: CommitResult): void {
    const { broker } = this
    const { message, instance } = item
    const match = broker.routerOf(instance).match(message.topicName)
    deliverFrames(broker, message, match, message.publisherId)
    for (let i = 0; i < item.sessions.length; i++) {
      const target = item.sessions[i] as SessionTarget
      const seq = result.seqs[i] ?? 0
      if (seq <= 0) continue
      if (!broker.openings.isEmpty) broker.openings.onGrew(instance, target.clientId, seq)
      const session = broker.sessionOf(instance, target.clientId)
      session?.queue?.onCommitted(seq, message, target.qos, target.retain, target.subscriptionIds)
    }
    for (const target of item.groups) broker.groups.onCommitted(instance, target.group)
  }

  private countDrops(item: CommitItem, result: CommitResult): void {
    const { counters } = this.broker
    for (let i = 0; i < item.sessions.length; i++) if (result.seqs[i] === 0) counters.drop(DropReason.queueFull)
    if (result.droppedGroups > 0) counters.drop(DropReason.groupQueueFull, result.droppedGroups)
  }

  private acknowledge(connection: Connection, qos: Qos, packetId: number): void {
    if (qos === 1) {
      connection.inbound.settled()
      connection.sendAck(PacketType.puback, packetId, 0)
    } else {
      connection.sendAck(PacketType.pubrec, packetId, 0)
    }
  }

  private leave(pending: Pending): void {
    this.pendingItems--
    this.pendingBytes -= pending.item.message.payload.length
    if (pending.connection === undefined) return
    pending.connection.pendingCount--
    pending.connection.pendingQos2.delete(pending.packetId)
  }

  /** Another connection owns the session by now: this one has nothing to say any more. */
  private refuse(pending: Pending): void {
    this.broker.counters.fencedWrites++
    pending.connection?.close(ReasonCode.sessionTakenOver, 'session taken over', { isFenced: true })
    pending.settle?.(false)
  }

  private onFailed(batch: Pending[], error: unknown): void {
    const { broker } = this
    broker.counters.commitFailures++
    for (const pending of batch) {
      this.leave(pending)
      // QoS 0 promises nothing; QoS 1 and 2 stay with the client, which sends them again after it has reconnected.
      if (pending.item.message.qos === 0) broker.counters.drop(DropReason.storeFailed)
      else pending.connection?.onStoreFailure(error)
      pending.settle?.(false)
    }
    this.wakeWaiters()
  }

  private wakeWaiters(): void {
    if (this.isFull) return
    for (const wake of this.drainWaiters.splice(0)) wake()
  }
}
