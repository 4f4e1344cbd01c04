import {
  type Message,
  PacketIdPool,
  type Qos,
  remainingExpirySeconds,
  type Subscription,
  type TakenEntry,
} from '@midge/protocol-core'
import { DropReason } from '../../counters.ts'
import type { Connection } from '../connection/connection.ts'
import { QueueReader, type QueueState } from './queue-reader.ts'
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

/** What an acknowledgement of the client found. */
export type AckOutcome = 'done' | 'unknown' | 'mismatch'

/**
 * The part of a session that lives with its connection: the outbound window, messages waiting for it, inbound QoS 2
 * ids. What outlives the connection of a stored session is in the store; this object is rebuilt from there.
 */
export class Session {
  readonly instance: string
  readonly clientId: string
  readonly epoch: number
  /** True when the session outlives its connection: its QoS 1 and 2 messages come from its queue in the store. */
  readonly isStored: boolean
  readonly connection: Connection
  readonly subscriptions: Map<string, Subscription> = new Map()
  /** QoS 2 packet ids received and not yet released by the client. v5 [MQTT-4.3.3-9]. */
  readonly inboundIds: Set<number> = new Set()
  readonly queue: QueueReader | undefined
  private readonly waiting: WaitingMessages
  private readonly packetIds = new PacketIdPool()
  private readonly flows = new Map<number, Flow>()
  private readonly receiveMax: number
  private inflight = 0
  private groupIdCursor = 0

  constructor(options: {
    instance: string
    clientId: string
    epoch: number
    isStored: boolean
    connection: Connection
    receiveMax: number
    queue: QueueState
  }) {
    this.instance = options.instance
    this.clientId = options.clientId
    this.epoch = options.epoch
    this.isStored = options.isStored
    this.connection = options.connection
    this.receiveMax = options.receiveMax
    this.waiting = new WaitingMessages(options.connection.broker.limits)
    this.queue = options.isStored ? new QueueReader(this, options.queue) : undefined
  }

  /** How many more QoS 1 and 2 messages may be sent now. v5 [MQTT-3.3.4-9]. */
  get windowRoom(): number {
    return this.connection.acceptsQueued ? this.receiveMax - this.inflight : 0
  }

  /** True while messages wait for room in the window, or a good part of the queue's bound is in use. */
  get hasBacklog(): boolean {
    return !this.waiting.isEmpty || (this.queue !== undefined && this.queue.length >= QUEUE_BACKLOG_MIN)
  }

  /** Sends a message of a session without a queue at QoS 1 or 2, or keeps it until the window has room. */
  sendOrWait(message: Message, qos: Qos, retain: boolean, subscriptionIds: number[] | undefined): void {
    if (this.waiting.isEmpty && this.windowRoom > 0) {
      this.sendNow(message, qos, retain, subscriptionIds)
      return
    }
    if (!this.waiting.push(message, qos, retain, subscriptionIds)) {
      this.connection.broker.counters.drop(DropReason.queueFull)
    }
  }

  /** Takes the packet id of one queue entry. @returns false while another exchange uses it or the window is full */
  beginQueued(packetId: number, seq: number, qos: Qos, released: boolean): boolean {
    if (this.windowRoom <= 0 || !this.packetIds.takeSpecific(packetId)) return false
    this.inflight++
    if (qos === 2) this.flows.set(packetId, { qos, released, seq, group: '' })
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
      this.flows.set(entry.packetId, { qos: 2, released: true, seq: entry.seq, group })
      this.connection.sendPubrel(entry.packetId)
      return
    }
    const ids = granted === undefined || granted.subscriptionId === 0 ? undefined : [granted.subscriptionId]
    const retain = granted?.retainAsPublished === true && entry.message.retain
    this.flows.set(entry.packetId, { qos, released: false, seq: entry.seq, group })
    const sent = this.connection.sendPublish(entry.message, qos, retain, isResumed, qos === 0 ? 0 : entry.packetId, ids)
    if (!sent || qos === 0) this.finishTaken(group, entry.seq, entry.packetId)
  }

  /** PUBACK. v5 [MQTT-4.3.2-5]. */
  onPuback(packetId: number): AckOutcome {
    if (!this.packetIds.has(packetId)) return 'unknown'
    if (this.flows.size > 0) {
      const flow = this.flows.get(packetId)
      if (flow !== undefined && flow.qos !== 1) return 'mismatch'
    }
    this.complete(packetId)
    return 'done'
  }

  /**
   * PUBREC. A reason code of 0x80 or more ends the exchange (v5 section 4.3.3); else PUBREL is owed, which a stored
   * session may only send after the store knows (a resumed session must not send PUBLISH again).
   */
  onPubrec(packetId: number, reasonCode: number): AckOutcome {
    const flow = this.flows.get(packetId)
    if (flow === undefined || flow.qos !== 2) return this.packetIds.has(packetId) ? 'mismatch' : 'unknown'
    if (reasonCode >= 0x80) {
      this.complete(packetId)
      return 'done'
    }
    if (flow.released || flow.seq === 0) {
      flow.released = true
      this.connection.sendPubrel(packetId)
      return 'done'
    }
    flow.released = true
    if (flow.group === '') this.queue?.release(flow.seq, packetId)
    else this.connection.broker.groups.release(this, flow.group, flow.seq, packetId)
    return 'done'
  }

  onPubcomp(packetId: number): AckOutcome {
    const flow = this.flows.get(packetId)
    if (flow === undefined || flow.qos !== 2) return this.packetIds.has(packetId) ? 'mismatch' : 'unknown'
    if (!flow.released) return 'mismatch'
    this.complete(packetId)
    return 'done'
  }

  /** Sends what waits, as far as the window and the socket allow. Called after every acknowledgement and drain. */
  pump(): void {
    while (!this.waiting.isEmpty && this.windowRoom > 0) {
      const next = this.waiting.shift()
      if (next === undefined) break
      // v5 [MQTT-3.3.2-5]
      if (remainingExpirySeconds(next.message.expiresAtMs, this.connection.broker.nowMs()) === 0) {
        this.connection.broker.counters.drop(DropReason.expired)
        continue
      }
      this.sendNow(next.message, next.qos, next.retain, next.subscriptionIds)
    }
    this.queue?.pump()
    this.connection.wakeRoomWaiter()
    if (this.connection.broker.groups.hasBacklog) this.connection.broker.groups.onRoom(this)
  }

  private sendNow(message: Message, qos: Qos, retain: boolean, subscriptionIds: number[] | undefined): void {
    const packetId = this.packetIds.take()
    if (packetId === 0) {
      this.connection.broker.counters.drop(DropReason.queueFull)
      return
    }
    if (!this.connection.sendPublish(message, qos, retain, false, packetId, subscriptionIds)) {
      this.packetIds.free(packetId)
      return
    }
    this.inflight++
    if (qos === 2) this.flows.set(packetId, { qos, released: false, seq: 0, group: '' })
  }

  /** Takes a packet id for a message that the caller writes itself. @returns 0 when the message has to wait */
  takeIdForQos1(): number {
    if (!this.waiting.isEmpty || this.windowRoom <= 0) return 0
    const packetId = this.packetIds.take()
    if (packetId !== 0) this.inflight++
    return packetId
  }

  private complete(packetId: number): void {
    const flow = this.flows.get(packetId)
    this.finish(packetId)
    if (flow !== undefined && flow.group !== '') this.connection.broker.groups.ack(this, flow.group, flow.seq)
    else this.queue?.onAcked(packetId)
  }

  private finishTaken(group: string, seq: number, packetId: number): void {
    this.finish(packetId)
    this.connection.broker.groups.ack(this, group, seq)
  }

  private finish(packetId: number): void {
    this.packetIds.free(packetId)
    if (this.flows.size > 0) this.flows.delete(packetId)
    this.inflight--
  }
}
