import {
  type InstanceName,
  type Message,
  PacketIdPool,
  type Qos,
  remainingExpirySeconds,
  type Store,
  type StoreLimits,
  type Subscription,
  type TakenEntry,
} from '@midge/protocol-core'
import { DropReason } from '../../counters.ts'
import { type DeliveryForm, formOf } from '../ground/delivery-form.ts'
import type { Outlet } from '../ground/outlet.ts'
import type { EngineServices } from '../ground/services.ts'
import type { GroupMember } from '../ground/subscriber.ts'
import type { GroupWork } from './group-work.ts'
import { QueueReader, type QueueReaderParts, type QueueState } from './queue-reader.ts'
import { Replays } from './replays.ts'
import { WaitingMessages } from './waiting-messages.ts'

/** An outbound QoS 1 or 2 exchange that is not a plain QoS 1 of a session without a queue. */
interface Flow {
  qos: Qos
  /** PUBREC has been received. */
  released: boolean
  /** Sequence number in the session's or the group's queue; 0 for a session without a queue. */
  seq: number
  /** Name of the share group the message was taken from; '' for none. */
  group: string
}

/** Unacknowledged queue entries from which on bulk senders wait: far below the smallest sensible queue limit. */
const QUEUE_BACKLOG_MIN = 100

const NO_SUBSCRIPTIONS: ReadonlyMap<string, Subscription> = new Map()

/** What an acknowledgement of the client found. */
export type AckOutcome = 'done' | 'unknown' | 'mismatch'

/** What all sessions of the node work with. */
export interface SessionParts extends QueueReaderParts {
  readonly services: QueueReaderParts['services'] &
    Pick<EngineServices, 'hooks' | 'limits'> & { readonly store: Pick<Store, 'commit'> }
  readonly groups: GroupWork
}

/** What a new {@link Session} is made of; see the fields of the class. */
export interface SessionFields {
  instance: InstanceName
  clientId: string
  epoch: number
  isStored: boolean
  outlet: Outlet
  expirySeconds: number
  hasWill: boolean
  /** QoS 1 and 2 messages in flight to the client at most. */
  receiveMax: number
  queue: QueueState
  /** Of its instance, as they are now. */
  usage: { readonly storeLimits: StoreLimits | undefined }
}

/**
 * The part of a session that lives with its connection: the outbound window, messages waiting for it, inbound QoS 2
 * ids. What outlives the connection of a stored session is in the store; this object is rebuilt from there.
 */
export class Session implements GroupMember {
  readonly instance: InstanceName
  readonly clientId: string
  readonly epoch: number
  /** True when the session outlives its connection: its QoS 1 and 2 messages come from its queue in the store. */
  readonly isStored: boolean
  readonly outlet: Outlet
  readonly hasWill: boolean
  /** How long the session outlives its connection; DISCONNECT may change it. v5 section 3.14.2.2.2 */
  expirySeconds: number
  readonly queue: QueueReader | undefined
  private readonly parts: SessionParts
  // Made with the first entry: most connections of a fleet are idle, and receive nothing above QoS 0.
  private ownSubscriptions: Map<string, Subscription> | undefined = undefined
  private inboundIds: Set<number> | undefined = undefined
  private waiting: WaitingMessages | undefined = undefined
  private readonly packetIds = new PacketIdPool()
  private flows: Map<number, Flow> | undefined = undefined
  private readonly receiveMax: number
  private readonly usage: SessionFields['usage']
  private inflight = 0
  private groupIdCursor = 0
  private replays: Replays | undefined = undefined
  private roomWaiter: (() => void) | undefined = undefined

  constructor(parts: SessionParts, fields: SessionFields) {
    this.parts = parts
    this.instance = fields.instance
    this.clientId = fields.clientId
    this.epoch = fields.epoch
    this.isStored = fields.isStored
    this.outlet = fields.outlet
    this.expirySeconds = fields.expirySeconds
    this.hasWill = fields.hasWill
    this.receiveMax = fields.receiveMax
    this.usage = fields.usage
    this.waiting = new WaitingMessages(fields.usage.storeLimits?.queue ?? parts.services.limits)
    this.queue = fields.isStored ? new QueueReader(parts, this, fields.queue) : undefined
  }

  get subscriptions(): ReadonlyMap<string, Subscription> {
    return this.ownSubscriptions ?? NO_SUBSCRIPTIONS
  }

  /** Adds a subscription, or replaces that of the same filter. */
  subscribe(subscription: Subscription): void {
    this.ownSubscriptions ??= new Map()
    this.ownSubscriptions.set(subscription.topicFilter, subscription)
  }

  /** @returns false when there was none */
  unsubscribe(topicFilter: string): boolean {
    return this.ownSubscriptions?.delete(topicFilter) === true
  }

  /** True for a QoS 2 packet id that was received and that the client has not released. v5 [MQTT-4.3.3-9] */
  hasInbound(packetId: number): boolean {
    return this.inboundIds?.has(packetId) === true
  }

  addInbound(packetId: number): void {
    this.inboundIds ??= new Set()
    this.inboundIds.add(packetId)
  }

  /** @returns false when it was not there */
  removeInbound(packetId: number): boolean {
    return this.inboundIds?.delete(packetId) === true
  }

  /** How many more QoS 1 and 2 messages may be sent now. v5 [MQTT-3.3.4-9]. */
  get windowRoom(): number {
    return this.outlet.acceptsQueued ? this.receiveMax - this.inflight : 0
  }

  /** True while messages wait for room in the window, or a good part of the queue's bound is in use. */
  get hasBacklog(): boolean {
    return this.hasWaiting || (this.queue !== undefined && this.queue.length >= QUEUE_BACKLOG_MIN)
  }

  /**
   * Sends to this client alone, outside its subscriptions; at QoS 1 and 2 through the queue of a stored session, so that
   * the message survives the connection. Rejects with the store's error.
   */
  async send(message: Message): Promise<void> {
    const { qos, retain } = message
    const form = formOf(qos, retain, undefined)
    if (qos === 0) this.outlet.sendPublish(message, form, 0)
    else if (this.queue === undefined) this.sendOrWait(message, form)
    else await this.sendQueued(this.queue, message, form)
  }

  private async sendQueued(queue: QueueReader, message: Message, form: DeliveryForm): Promise<void> {
    const { counters, store } = this.parts.services
    const target = { clientId: this.clientId, ...form }
    const { instance } = this
    const { storeLimits: limits } = this.usage
    const item = { instance, message, sessions: [target], groups: [], retain: false, inbound: undefined, limits }
    const [result] = await store.commit([item])
    const seq = result?.seqs[0] ?? 0
    if (seq > 0) queue.onCommitted(seq, message, form)
    else counters.drop(DropReason.queueFull)
  }

  /** Sends a message of a session without a queue at QoS 1 or 2, or keeps it until the window has room. */
  sendOrWait(message: Message, form: DeliveryForm): void {
    if (!this.hasWaiting && this.windowRoom > 0) {
      this.sendNow(message, form)
      return
    }
    const { counters, limits } = this.parts.services
    this.waiting ??= new WaitingMessages(limits)
    if (!this.waiting.push(message, form)) counters.drop(DropReason.queueFull)
  }

  /** Takes the packet id of one queue entry. @returns false while another exchange uses it or the window is full */
  beginQueued(packetId: number, entry: { seq: number; qos: Qos; released: boolean }): boolean {
    if (this.windowRoom <= 0 || !this.packetIds.takeSpecific(packetId)) return false
    this.inflight++
    const { seq, qos, released } = entry
    if (qos === 2) this.addFlow(packetId, { qos, released, seq, group: '' })
    return true
  }

  /** Forgets an exchange that never reached the wire. */
  abandon(packetId: number): void {
    this.finish(packetId)
  }

  /** Packet ids for messages about to be taken from a group, as many as the window has room for, at most `countMax`. */
  reserveGroupIds(countMax: number): number[] {
    const packetIds: number[] = []
    const count = Math.min(countMax, this.windowRoom)
    // Half the id space away from the ids that the session's own queue uses next, so that the two rarely meet.
    if (this.groupIdCursor === 0) this.groupIdCursor = (this.queue?.nextSeq ?? 0) + 32_768
    for (let tries = 0; packetIds.length < count && tries < 65_535; tries++) {
      const packetId = (this.groupIdCursor++ % 65_535) + 1
      if (this.packetIds.takeSpecific(packetId)) packetIds.push(packetId)
    }
    this.inflight += packetIds.length
    return packetIds
  }

  /** Gives back an id of {@link reserveGroupIds} that no message was taken for. */
  returnGroupId(packetId: number): void {
    this.packetIds.free(packetId)
    this.inflight--
  }

  /** Sends a message taken from a group; its id is reserved, or (`isResumed`) is taken here. */
  sendTaken(group: string, entry: TakenEntry, isResumed: boolean): void {
    if (isResumed) {
      if (!this.packetIds.takeSpecific(entry.packetId)) return
      this.inflight++
    }
    const granted = this.subscriptions.get(group)
    const qos = Math.min(entry.qos, granted?.qos ?? entry.qos) as Qos
    if (entry.released) {
      this.addFlow(entry.packetId, { qos: 2, released: true, seq: entry.seq, group })
      this.outlet.sendPubrel(entry.packetId)
      return
    }
    const ids = granted === undefined || granted.subscriptionId === 0 ? undefined : [granted.subscriptionId]
    const retain = granted?.retainAsPublished === true && entry.message.retain
    this.addFlow(entry.packetId, { qos, released: false, seq: entry.seq, group })
    const form = formOf(qos, retain, ids)
    const packetId = qos === 0 ? 0 : entry.packetId
    const { message } = entry
    const { outlet } = this
    const sent = isResumed ? outlet.resendPublish(message, form, packetId) : outlet.sendPublish(message, form, packetId)
    if (!sent || qos === 0) this.finishTaken(group, entry.seq, entry.packetId)
  }

  /** PUBACK. v5 [MQTT-4.3.2-5]. */
  onPuback(packetId: number): AckOutcome {
    if (!this.packetIds.has(packetId)) return 'unknown'
    const flow = this.flows?.get(packetId)
    if (flow !== undefined && flow.qos !== 1) return 'mismatch'
    this.complete(packetId, flow)
    return 'done'
  }

  /**
   * PUBREC. A reason code of 0x80 or more ends the exchange (v5 section 4.3.3); else PUBREL is owed, which a stored
   * session may only send after the store knows (a resumed session must not send PUBLISH again).
   */
  onPubrec(packetId: number, reasonCode: number): AckOutcome {
    const flow = this.flows?.get(packetId)
    if (flow === undefined || flow.qos !== 2) return this.packetIds.has(packetId) ? 'mismatch' : 'unknown'
    if (reasonCode >= 0x80) {
      this.complete(packetId, flow)
      return 'done'
    }
    if (flow.released || flow.seq === 0) {
      flow.released = true
      this.outlet.sendPubrel(packetId)
      return 'done'
    }
    flow.released = true
    if (flow.group === '') this.queue?.release(flow.seq, packetId)
    else this.parts.groups.release(this, flow.group, { seq: flow.seq, packetId })
    return 'done'
  }

  onPubcomp(packetId: number): AckOutcome {
    const flow = this.flows?.get(packetId)
    if (flow === undefined || flow.qos !== 2) return this.packetIds.has(packetId) ? 'mismatch' : 'unknown'
    if (!flow.released) return 'mismatch'
    this.complete(packetId, flow)
    return 'done'
  }

  /** Sends what waits, as far as the window and the socket allow. Called after every acknowledgement and drain. */
  pump(): void {
    const { services, groups } = this.parts
    while (this.waiting !== undefined && this.windowRoom > 0) {
      const next = this.waiting.shift()
      if (next === undefined) break
      // v5 [MQTT-3.3.2-5]
      if (remainingExpirySeconds(next.message.expiresAtMs, services.nowMs()) === 0) {
        services.counters.drop(DropReason.expired)
        continue
      }
      this.sendNow(next.message, next.form)
    }
    this.queue?.pump()
    this.wakeRoomWaiter()
    if (groups.hasBacklog) groups.onRoom(this)
  }

  private sendNow(message: Message, form: DeliveryForm): void {
    const packetId = this.packetIds.take()
    if (packetId === 0) {
      this.parts.services.counters.drop(DropReason.queueFull)
      return
    }
    if (!this.outlet.sendPublish(message, form, packetId)) {
      this.packetIds.free(packetId)
      return
    }
    this.inflight++
    if (form.qos === 2) this.addFlow(packetId, { qos: 2, released: false, seq: 0, group: '' })
  }

  /** Takes a packet id for a message that the caller writes itself. @returns 0 when the message has to wait */
  takeIdForQos1(): number {
    // What is kept until its acknowledgement is sent by `sendOrWait`.
    if (this.hasWaiting || this.windowRoom <= 0 || this.parts.services.hooks.observesAck) return 0
    const packetId = this.packetIds.take()
    if (packetId !== 0) this.inflight++
    return packetId
  }

  /** Runs one replay of retained messages after those of earlier subscriptions; packets are handled meanwhile. */
  queueReplay(replay: () => Promise<void>): void {
    this.replays ??= new Replays(error => this.outlet.onStoreFailure(error))
    this.replays.add(replay)
  }

  noteLiveRetained(topicName: string): void {
    this.replays?.noteLive(topicName)
  }

  /** True when a newer message of the topic was delivered since replays have begun. */
  wasDeliveredLive(topicName: string): boolean {
    return this.replays?.wasDeliveredLive(topicName) === true
  }

  /** Resolves when the client has taken most of what it was sent, or is gone. */
  async whenRoom(): Promise<void> {
    while (!this.outlet.isClosed && !this.hasRoom) {
      await new Promise<void>(resolve => {
        this.roomWaiter = resolve
      })
    }
  }

  /** The connection has ended: nobody waits for its room any more. */
  onClosed(): void {
    this.wakeRoomWaiter()
  }

  private get hasRoom(): boolean {
    return this.outlet.acceptsQueued && !this.hasBacklog
  }

  private wakeRoomWaiter(): void {
    if (this.roomWaiter === undefined || !(this.outlet.isClosed || this.hasRoom)) return
    const wake = this.roomWaiter
    this.roomWaiter = undefined
    wake()
  }

  private get hasWaiting(): boolean {
    return this.waiting !== undefined && !this.waiting.isEmpty
  }

  private addFlow(packetId: number, flow: Flow): void {
    this.flows ??= new Map()
    this.flows.set(packetId, flow)
  }

  private complete(packetId: number, flow: Flow | undefined): void {
    this.finish(packetId)
    this.outlet.onAcknowledged(packetId, flow?.qos === 2)
    if (flow !== undefined && flow.group !== '') this.parts.groups.ack(this, flow.group, flow.seq)
    else this.queue?.onAcked(packetId)
  }

  private finishTaken(group: string, seq: number, packetId: number): void {
    this.finish(packetId)
    this.parts.groups.ack(this, group, seq)
  }

  private finish(packetId: number): void {
    this.packetIds.free(packetId)
    this.flows?.delete(packetId)
    this.inflight--
  }
}
