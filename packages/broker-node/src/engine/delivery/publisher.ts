import {
  type CommitItem,
  type CommitResult,
  type InstanceName,
  type Message,
  type PublishRun,
  type Qos,
  ReasonCode,
  type SessionTarget,
  type StoreLimits,
} from '@midge/protocol-core'
import { DropReason } from '../../counters.ts'
import type { PlainFrame } from '../ground/plain-frame.ts'
import type { EngineServices } from '../ground/services.ts'
import type { TickMember } from '../ground/tick.ts'
import type { Match } from '../routing/match.ts'
import type { Routers } from '../routing/routers.ts'
import type { SessionRegistry } from '../sessions/session-registry.ts'
import { deliverFrames, deliverPlain, deliverRun, deliverToMember } from './deliver.ts'
import type { Forwarder } from './forwarder.ts'
import type { PublishSource } from './publish-source.ts'

/** Publishes waiting for the store beyond which their connections are read no further. */
const PENDING_ITEMS_MAX = 20_000
const PENDING_BYTES_MAX = 32 * 1024 * 1024

/** A message on its way into the store. */
interface Pending {
  item: CommitItem
  /** Undefined for messages of the server itself. */
  source: PublishSource | undefined
  packetId: number
  settle: ((stored: boolean) => void) | undefined
}

/** What the publisher works with. */
export interface PublisherParts {
  readonly services: Pick<EngineServices, 'counters' | 'hooks' | 'link' | 'logger' | 'nowMs' | 'store' | 'tick'>
  readonly routers: Routers
  readonly sessions: SessionRegistry
  readonly groups: {
    /** A message for the group has been stored by this node. */
    onCommitted(instance: InstanceName, group: string): void
  }
  readonly forwarder: Forwarder
  /** What messages of the server itself have to keep to. */
  readonly usages: { storeLimitsOf(instance: InstanceName): StoreLimits | undefined }
}

/**
 * Takes messages from their publisher to everyone they concern.
 *
 * QoS 0 goes out at once. QoS 1 and 2 is acknowledged only after it is stored wherever it has to be (promise P1): when
 * nothing outside this process is concerned that is at once too, else after the batch of this tick is committed.
 */
export class Publisher implements TickMember {
  private readonly parts: PublisherParts
  private readonly services: PublisherParts['services']
  /** The message that is being delivered was published on another node. */
  isDeliveringRemote = false
  private batch: Pending[] = []
  private pendingItems = 0
  private pendingBytes = 0
  private lastBatch: Promise<void> = Promise.resolve()
  private readonly drainWaiters: (() => void)[] = []

  constructor(parts: PublisherParts) {
    this.parts = parts
    this.services = parts.services
  }

  /** A run of a client of this node. */
  publishRun(instance: InstanceName, run: PublishRun, match: Match): void {
    const { forwarder } = this.parts
    if (match.isEmpty) {
      this.services.counters.messagesUnmatched += run.count
      if (!forwarder.sendsToAll) return
    }
    deliverRun(run, match)
    forwarder.forwardRun(instance, run, match)
  }

  /**
   * The PUBLISH that a client of this node has at hand, when it concerns nothing but sessions without a store on this
   * node: it is acknowledged and delivered as it came.
   * @returns false when it has to be published as a message
   */
  passOn(source: PublishSource, frame: PlainFrame, match: Match): boolean {
    const { counters, hooks } = this.services
    // A message that overtakes an earlier one of the same publisher which is still being stored would break the order.
    if (!match.isLocal || source.hasPending || hooks.observesPublish || this.parts.forwarder.sendsToAll) return false
    if (match.isEmpty) counters.messagesUnmatched++
    source.acknowledge(1, source.packetId)
    deliverPlain(frame, match)
    return true
  }

  /** The PUBLISH that a client of this node has at hand; it is acknowledged when it is owned. */
  publishFrom(source: PublishSource, message: Message, match: Match): void {
    const { counters, hooks, nowMs } = this.services
    if (match.isEmpty) counters.messagesUnmatched++
    if (hooks.observesPublish) {
      const held = hooks.published(source.client, message)
      if (held !== undefined) source.waitFor(held)
    }
    if (message.qos === 0) {
      this.publishQos0(source, message, match)
      return
    }
    const { packetId } = source
    const inbound =
      message.qos === 2 && source.session.isStored
        ? { clientId: source.clientId, epoch: source.session.epoch, packetId }
        : undefined
    // A message that overtakes an earlier one of the same publisher which is still being stored would break the order.
    if (
      match.isLocal &&
      !message.retain &&
      inbound === undefined &&
      !source.hasPending &&
      !this.parts.forwarder.sendsToAll
    ) {
      source.acknowledge(message.qos, packetId)
      deliverFrames(message, match, nowMs)
      return
    }
    const item = this.itemOf(source.instance, message, match, inbound)
    item.limits = source.storeLimits
    this.enqueue({ item, source, packetId, settle: undefined })
  }

  /**
   * Publishes a message of the server itself (a will, the API).
   * @returns true when it is stored wherever its QoS wants it; false when the store did not take it
   */
  publish(instance: InstanceName, message: Message): Promise<boolean> {
    const match = this.parts.routers.of(instance).match(message.topicName)
    if (message.qos === 0) this.deliverQos0(instance, message, match)
    if (message.qos === 0 && !message.retain) return Promise.resolve(true)
    const item = this.itemOf(instance, message, match, undefined)
    item.limits = this.parts.usages.storeLimitsOf(instance)
    return new Promise(settle => this.enqueue({ item, source: undefined, packetId: 0, settle }))
  }

  /** A message from another node, for this node's online subscribers. */
  onRemote(instance: InstanceName, message: Message, groups: string[]): void {
    this.services.counters.linkMessagesReceived++
    const router = this.parts.routers.of(instance)
    this.isDeliveringRemote = true
    try {
      deliverFrames(message, router.match(message.topicName), this.services.nowMs)
      for (const name of groups) {
        const member = router.group(name)?.localMembersInTurn()[0]
        if (member !== undefined) deliverToMember(member, name, message)
      }
    } finally {
      this.isDeliveringRemote = false
    }
  }

  /** A run from another node. */
  onRemoteRun(instance: InstanceName, run: PublishRun): void {
    this.services.counters.linkMessagesReceived += run.count
    this.isDeliveringRemote = true
    try {
      deliverRun(run, this.parts.routers.of(instance).match(run.topicName))
    } finally {
      this.isDeliveringRemote = false
    }
  }

  /** Resolves when everything published on this node so far has been stored, or refused. */
  settled(): Promise<void> {
    this.flush()
    return this.lastBatch
  }

  endTick(): void {
    this.flush()
  }

  /** Hands what has been collected to the store. */
  private flush(): void {
    if (this.batch.length === 0) return
    const batch = this.batch
    this.batch = []
    const stored = this.services.store.commit(batch.map(pending => pending.item))
    // Frames to other nodes left with the same call: the acknowledgement covers them too.
    const sent = this.services.link.flushed()
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
    const { source, item } = pending
    const { message } = item
    this.pendingItems++
    this.pendingBytes += message.payload.length
    this.batch.push(pending)
    this.services.tick.request()
    if (source === undefined) return
    source.onPending(message.qos, pending.packetId)
    if (this.isFull) source.waitFor(this.drained())
  }

  private itemOf(instance: InstanceName, message: Message, match: Match, inbound: CommitItem['inbound']): CommitItem {
    const sessions: SessionTarget[] = []
    const groups: CommitItem['groups'] = []
    if (message.qos > 0) {
      for (const target of match.stored) {
        const form = target.optionsFor(message.publisherId, target.clientId)?.formFor(message.qos, message.retain)
        if (form === undefined || form.qos === 0) continue
        const { qos, retain, subscriptionIds } = form
        sessions.push({ clientId: target.clientId, qos, retain, subscriptionIds })
      }
      for (const group of match.groups) {
        const qos = Math.min(message.qos, group.qosMax) as Qos
        if (qos > 0) groups.push({ group: group.name, qos })
      }
      this.parts.forwarder.forward(instance, message, match)
    }
    return { instance, message, sessions, groups, retain: message.retain, inbound, limits: undefined }
  }

  private publishQos0(source: PublishSource, message: Message, match: Match): void {
    const { instance } = source
    this.deliverQos0(instance, message, match)
    if (!message.retain) return
    const { storeLimits: limits } = source
    const item: CommitItem = { instance, message, sessions: [], groups: [], retain: true, inbound: undefined, limits }
    this.enqueue({ item, source, packetId: 0, settle: undefined })
  }

  private deliverQos0(instance: InstanceName, message: Message, match: Match): void {
    deliverFrames(message, match, this.services.nowMs)
    this.parts.forwarder.forward(instance, message, match)
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
        this.services.logger.error({ event: 'connection.bug', err: error }, 'a stored message could not be handed on')
      }
    }
    this.wakeWaiters()
  }

  private complete(pending: Pending, result: CommitResult): void {
    const { item, source } = pending
    const { qos } = item.message
    if (result.isRetainedFull === true) source?.onUnretained(qos, pending.packetId)
    else if (source !== undefined && !source.outlet.isClosed && qos > 0) source.acknowledge(qos, pending.packetId)
    if (result.status === 'stored') {
      this.services.counters.messagesStored++
      this.countDrops(item, result)
      if (qos > 0) this.deliverStored(item, result)
    }
    pending.settle?.(true)
  }

  /** Online subscribers get the message after it is stored, by the subscriptions as they are now. */
  private deliverStored(item: CommitItem, result: CommitResult): void {
    const { routers, sessions, groups } = this.parts
    const { message, instance } = item
    deliverFrames(message, routers.of(instance).match(message.topicName), this.services.nowMs)
    for (let i = 0; i < item.sessions.length; i++) {
      const target = item.sessions[i] as SessionTarget
      const seq = result.seqs[i] ?? 0
      if (seq <= 0) continue
      sessions.noteGrowth(instance, target.clientId, seq)
      sessions.sessionOf(instance, target.clientId)?.queue?.onCommitted(seq, message, target)
    }
    for (const target of item.groups) groups.onCommitted(instance, target.group)
  }

  private countDrops(item: CommitItem, result: CommitResult): void {
    const { counters } = this.services
    for (let i = 0; i < item.sessions.length; i++) if (result.seqs[i] === 0) counters.drop(DropReason.queueFull)
    if (result.isRetainedFull === true) counters.drop(DropReason.retainedFull)
    if (result.droppedGroups > 0) counters.drop(DropReason.groupQueueFull, result.droppedGroups)
  }

  private leave(pending: Pending): void {
    this.pendingItems--
    this.pendingBytes -= pending.item.message.payload.length
    pending.source?.onSettled(pending.packetId)
  }

  /** Another connection owns the session by now: this one has nothing to say any more. */
  private refuse(pending: Pending): void {
    this.services.counters.fencedWrites++
    pending.source?.outlet.close(ReasonCode.sessionTakenOver, 'session taken over', { isFenced: true })
    pending.settle?.(false)
  }

  private onFailed(batch: Pending[], error: unknown): void {
    const { counters } = this.services
    counters.commitFailures++
    for (const pending of batch) {
      this.leave(pending)
      // QoS 0 promises nothing; QoS 1 and 2 stay with the client, which sends them again after it has reconnected.
      if (pending.item.message.qos === 0) counters.drop(DropReason.storeFailed)
      else pending.source?.outlet.onStoreFailure(error)
      pending.settle?.(false)
    }
    this.wakeWaiters()
  }

  private wakeWaiters(): void {
    if (this.isFull) return
    for (const wake of this.drainWaiters.splice(0)) wake()
  }
}
