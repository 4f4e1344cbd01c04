import {
  checkTopicName,
  decodePublish,
  decodeUtf8,
  EMPTY_BYTES,
  InboundTopicAliases,
  type InstanceName,
  isValidUtf8,
  Message,
  PacketType,
  ProtocolError,
  PublishRun,
  PublishView,
  type Qos,
  ReasonCode,
  RUN_FIRST_BYTE,
  type StoreLimits,
} from '@midge/protocol-core'
import { DropReason } from '../../counters.ts'
import type { AckRefusal, Connection } from '../connection/connection.ts'
import type { PublishSource } from '../delivery/publish-source.ts'
import type { Publisher } from '../delivery/publisher.ts'
import type { Client } from '../ground/client.ts'
import type { Review } from '../ground/hooks.ts'
import type { Outlet } from '../ground/outlet.ts'
import { PLAIN_FIRST_BYTE, PlainFrame } from '../ground/plain-frame.ts'
import type { Rights } from '../ground/rights.ts'
import type { EngineServices } from '../ground/services.ts'
import type { Usage } from '../ground/usage.ts'
import type { Match } from '../routing/match.ts'
import type { Router } from '../routing/router.ts'
import type { Session } from '../sessions/session.ts'
import type { AdmittedClient } from './open-client.ts'
import { sameBytes, TopicEntries, TopicEntry, UNDECIDED } from './topic-entries.ts'

/** So long after its last message a client that has too many unreleased ones still has time to release some. */
const RELEASE_TIMEOUT_MS = 1000

const RETAINED_FULL: AckRefusal = { reasonCode: ReasonCode.quotaExceeded, text: 'retained messages are full' }

/** What {@link InboundPublishes} works with. */
export interface InboundParts {
  readonly services: Pick<EngineServices, 'counters' | 'hooks' | 'limits' | 'nowMs'>
  readonly publisher: Publisher
}

/**
 * PUBLISH packets of one client: the hottest path of the broker.
 *
 * Neighbouring QoS 0 frames of one topic form a *run*: they are counted while scanning and handed on as one slice of
 * the receive buffer, so that a subscriber of the same protocol costs one append for all of them, and a single one is
 * not taken apart. Every frame is still checked on its own. Measured by test/bench/load.
 */
export class InboundPublishes implements PublishSource {
  readonly session: Session
  private readonly parts: InboundParts
  private readonly connection: Connection
  private readonly router: Router
  private readonly rights: Rights
  private readonly usage: Usage
  private readonly view = new PublishView()
  /** Of a client that publishes at QoS 1. */
  private plain: PlainFrame | undefined = undefined
  private readonly topics = new TopicEntries()
  private aliases: InboundTopicAliases<TopicEntry> | undefined
  /** Messages on their way into the store. */
  private pendingCount = 0
  /** Packet ids among them at QoS 2. */
  private pendingQos2: Set<number> | undefined = undefined
  /** So many on their way into the store that the client is read no further. */
  private readonly pendingMax: number
  /** Receive Maximum that CONNACK told the client. */
  private readonly receiveMax: number
  /** QoS 2 messages of this connection whose PUBREL has not come. */
  private unreleased = 0
  /** When the last of them came that was beyond the Receive Maximum. */
  private exceededAtMs = 0
  /** What was answered about the frame that waited for it. */
  private reviewed: Review | undefined = undefined
  /** True while the three after it are those of the read at hand. */
  private hasAsked = false
  private rightsVersion = 0
  private filtersPublish = false
  private allowsRuns = false
  private runEntry: TopicEntry | undefined = undefined
  private runChunk: Uint8Array | undefined = undefined
  private runStart = 0
  private runEnd = 0
  private runCount = 0

  constructor(parts: InboundParts, client: AdmittedClient) {
    const { connection, topicAliasMax } = client
    const { inflightInboundMax, receiveMax } = parts.services.limits
    this.parts = parts
    this.connection = connection
    this.session = client.session
    this.router = client.router
    this.rights = client.rights
    this.usage = client.usage
    this.aliases = topicAliasMax > 0 ? new InboundTopicAliases<TopicEntry>(topicAliasMax) : undefined
    this.pendingMax = connection.isV5 ? receiveMax : inflightInboundMax
    this.receiveMax = client.receiveMax
  }

  // --- what the publisher sees -------------------------------------------------------------------------------------

  get instance(): InstanceName {
    return this.session.instance
  }

  get clientId(): string {
    return this.session.clientId
  }

  get client(): Client {
    return this.connection
  }

  get outlet(): Outlet {
    return this.connection
  }

  get packetId(): number {
    return this.view.packetId
  }

  get hasPending(): boolean {
    return this.pendingCount > 0
  }

  get storeLimits(): StoreLimits | undefined {
    return this.usage.storeLimits
  }

  onPending(qos: Qos, packetId: number): void {
    this.pendingCount++
    if (qos !== 2) return
    this.pendingQos2 ??= new Set()
    this.pendingQos2.add(packetId)
  }

  onSettled(packetId: number): void {
    this.pendingCount--
    this.pendingQos2?.delete(packetId)
  }

  acknowledge(qos: Qos, packetId: number): void {
    this.connection.sendAck(qos === 1 ? PacketType.puback : PacketType.pubrec, packetId)
  }

  onUnretained(qos: Qos, packetId: number): void {
    this.usage.retainedFull(this.clientId)
    if (qos === 1) this.connection.sendAck(PacketType.puback, packetId, RETAINED_FULL)
    // PUBREC with such a code would end the exchange as if the message had not arrived.
    else if (qos === 2) this.acknowledge(qos, packetId)
  }

  waitFor(step: Promise<void>): void {
    this.connection.waitFor(step)
  }

  // --- packets -----------------------------------------------------------------------------------------------------

  /** @returns false when the frame has to wait for a decision: the same frame is to be handed in again */
  onFrame(chunk: Uint8Array, start: number, bodyStart: number, bodyEnd: number): boolean {
    const entry = this.runEntry
    if (
      entry !== undefined &&
      start === this.runEnd &&
      chunk === this.runChunk &&
      this.isPlain(chunk, start, bodyStart, bodyEnd, entry.bytes)
    ) {
      this.runEnd = bodyEnd
      this.runCount++
      return true
    }
    if (this.runCount > 0) this.deliverRun()
    if (!this.hasAsked) this.askRights()
    const next = chunk[start] === RUN_FIRST_BYTE ? this.entryOfPlain(chunk, bodyStart, bodyEnd) : undefined
    if (next === undefined) return this.onSingle(chunk, start, bodyStart, bodyEnd)
    this.startRun(chunk, start, bodyEnd, next)
    return true
  }

  /** Delivers what has been collected; called before anything else of the connection takes effect. */
  endRun(): void {
    this.hasAsked = false
    if (this.runCount > 0) this.deliverRun()
  }

  /** What holds for all frames of a read is asked for once. */
  private askRights(): void {
    const { rights } = this
    this.hasAsked = true
    this.rightsVersion = rights.version
    this.filtersPublish = rights.filtersPublish
    this.allowsRuns = rights.allowRuns && this.usage.inbound?.isAmple !== false
  }

  private deliverRun(): void {
    const entry = this.runEntry
    const chunk = this.runChunk
    if (entry === undefined || chunk === undefined) return
    this.runEntry = undefined
    this.runChunk = undefined
    const count = this.runCount
    this.runCount = 0
    const { parts } = this
    this.countReceived(0, count)
    this.pace(count, this.runEnd - this.runStart)
    if (entry.permission !== 0) {
      parts.services.counters.drop(DropReason.publishDenied, count)
      return
    }
    const run = new PublishRun({
      topicName: entry.name,
      topicBytes: entry.bytes,
      publisherId: this.clientId,
      isV5: this.connection.isV5,
      bytes: chunk,
      start: this.runStart,
      end: this.runEnd,
      count,
    })
    parts.publisher.publishRun(this.instance, run, this.matchOf(entry))
  }

  /** PUBREL has come. */
  released(): void {
    // One for a message of an earlier connection ends an exchange that this one has not counted. v5 section 4.9
    if (this.unreleased > 0) this.unreleased--
  }

  /**
   * True when a v5 client has had the PUBREC of more QoS 2 messages than its Receive Maximum and releases none of them.
   *
   * PUBREL may stand behind whatever the client wrote before it saw PUBREC, so there is nothing to say while more keeps
   * coming. v5 [MQTT-3.3.4-7]
   */
  hasExceeded(nowMs: number): boolean {
    if (this.unreleased <= this.receiveMax || this.hasPending || !this.connection.isV5) return false
    return nowMs - this.exceededAtMs >= RELEASE_TIMEOUT_MS
  }

  /** The connection has ended: what it remembered of topics would keep the sessions they once reached. */
  forget(): void {
    this.aliases = undefined
    this.topics.clear()
    this.reviewed = undefined
    this.runEntry = undefined
    this.runChunk = undefined
    this.runCount = 0
  }

  /** A QoS 0 frame without RETAIN and properties, of the given topic; the frame is then known to be well formed. */
  private isPlain(chunk: Uint8Array, start: number, bodyStart: number, bodyEnd: number, topic: Uint8Array): boolean {
    if (chunk[start] !== RUN_FIRST_BYTE) return false
    const topicStart = bodyStart + 2
    const topicEnd = topicStart + topic.length
    if (topicEnd > bodyEnd) return false
    if (((chunk[bodyStart] as number) << 8) + (chunk[bodyStart + 1] as number) !== topic.length) return false
    if (this.connection.isV5 && (topicEnd === bodyEnd || chunk[topicEnd] !== 0)) return false
    return sameBytes(chunk, topicStart, topicEnd, topic)
  }

  /** The topic of a QoS 0 frame without RETAIN and properties, when it is known that the client may publish to it. */
  private entryOfPlain(chunk: Uint8Array, bodyStart: number, bodyEnd: number): TopicEntry | undefined {
    const topicStart = bodyStart + 2
    if (!this.allowsRuns || topicStart > bodyEnd) return undefined
    const topicEnd = topicStart + ((chunk[bodyStart] as number) << 8) + (chunk[bodyStart + 1] as number)
    if (topicEnd > bodyEnd) return undefined
    if (this.connection.isV5 && (topicEnd === bodyEnd || chunk[topicEnd] !== 0)) return undefined
    const entry = this.topics.find(chunk, topicStart, topicEnd)
    return entry !== undefined && entry.rightsVersion === this.rightsVersion ? entry : undefined
  }

  private startRun(chunk: Uint8Array, start: number, end: number, entry: TopicEntry): void {
    this.runEntry = entry
    this.runChunk = chunk
    this.runStart = start
    this.runEnd = end
    this.runCount = 1
  }

  private onSingle(chunk: Uint8Array, start: number, bodyStart: number, bodyEnd: number): boolean {
    const { connection, parts, view } = this
    const problem = decodePublish(view, chunk[start] as number, chunk, bodyStart, bodyEnd, connection.version)
    if (problem !== 0) throw new ProtocolError(problem, 'malformed PUBLISH')
    const { qos } = view
    const entry = this.entryOf(chunk)
    if (this.filtersPublish) return this.onReviewed(chunk, entry, bodyEnd - start)
    if (entry.rightsVersion !== this.rightsVersion) this.askPermission(chunk, entry)
    this.countReceived(qos, 1)
    this.pace(1, bodyEnd - start)
    if (qos > 0 && !this.admit(view.packetId, qos)) return true
    if (!this.payloadFormatHolds(chunk)) this.refuseFormat(qos)
    else if (entry.permission !== 0) this.deny(qos, entry.permission)
    else if (chunk[start] !== PLAIN_FIRST_BYTE || !this.allowsRuns || !this.passOn(chunk, start, entry))
      parts.publisher.publishFrom(this, this.messageOf(chunk, entry), this.matchOf(entry))
    return true
  }

  /** @returns false when the packet has to be published as a message */
  private passOn(chunk: Uint8Array, start: number, entry: TopicEntry): boolean {
    const { connection, view } = this
    const { topicEnd } = view
    // An alias, as every property, means something to this connection only.
    if (connection.isV5 && chunk[topicEnd + 2] !== 0) return false
    this.plain ??= new PlainFrame()
    const { plain } = this
    plain.bytes = chunk
    plain.start = start
    plain.end = view.payloadEnd
    plain.packetIdAt = topicEnd
    plain.payloadStart = view.payloadStart
    plain.isV5 = connection.isV5
    plain.isLent = connection.isInputLent
    plain.publisherId = this.clientId
    plain.topicName = entry.name
    plain.topicBytes = entry.bytes
    const isDone = this.parts.publisher.passOn(this, plain, this.matchOf(entry))
    // The client may be silent for hours, and a read is large.
    plain.bytes = EMPTY_BYTES
    return isDone
  }

  /** Beyond the rate of its plan a client is read no further until it is within it again: nothing is lost by that. */
  private pace(messages: number, bytes: number): void {
    const { inbound } = this.usage
    if (inbound === undefined || !inbound.take(messages, bytes)) return
    this.parts.services.counters.publishersHeldBack++
    this.connection.waitFor(inbound.whenRoom(this.connection))
  }

  /** The packet at hand, which somebody looks at and may rewrite before it is published. */
  private onReviewed(chunk: Uint8Array, entry: TopicEntry, bytes: number): boolean {
    const { view } = this
    const { qos } = view
    const review = this.reviewOf(chunk, entry)
    if (review === undefined) return false
    this.countReceived(qos, 1)
    this.pace(1, bytes)
    if (qos > 0 && !this.admit(view.packetId, qos)) return true
    if (!this.payloadFormatHolds(chunk)) this.refuseFormat(qos)
    else if (typeof review === 'number') this.deny(qos, review)
    else if (review.qos === qos) this.parts.publisher.publishFrom(this, review, this.router.match(review.topicName))
    else this.connection.waitFor(this.publishAtOtherQos(review, qos, view.packetId))
    return true
  }

  /** @returns `undefined` when the answer takes time and the connection waits for it */
  private reviewOf(chunk: Uint8Array, entry: TopicEntry): Review | undefined {
    const { connection, reviewed } = this
    this.reviewed = undefined
    if (reviewed !== undefined) return reviewed
    const answer = this.rights.reviewPublish(connection, this.messageOf(chunk, entry))
    if (!(answer instanceof Promise)) return answer
    connection.waitFor(
      answer.then(review => {
        this.reviewed = review
      }),
    )
    return undefined
  }

  /** The client is answered at the QoS of its own packet. */
  private async publishAtOtherQos(message: Message, qos: Qos, packetId: number): Promise<void> {
    const { connection, parts } = this
    const { hooks } = parts.services
    // [MQTT-4.6.0-2], [MQTT-4.6.0-3]: acknowledgements go out in the order of the messages.
    if (this.hasPending) await parts.publisher.settled()
    const held = hooks.observesPublish ? hooks.published(connection, message) : undefined
    this.onPending(qos, packetId)
    try {
      if (!(await parts.publisher.publish(this.instance, message))) {
        connection.close(ReasonCode.serverBusy, 'store not available')
        return
      }
      await held
      if (qos > 0) this.acknowledge(qos, packetId)
    } finally {
      this.onSettled(packetId)
    }
  }

  private deny(qos: Qos, reasonCode: number): void {
    this.parts.services.counters.drop(DropReason.publishDenied)
    this.refuse(qos, this.view.packetId, { reasonCode, text: 'publish not allowed' })
  }

  private refuseFormat(qos: Qos): void {
    const reasonCode = ReasonCode.payloadFormatInvalid
    this.refuse(qos, this.view.packetId, { reasonCode, text: 'payload is not UTF-8' })
  }

  private countReceived(qos: Qos, count: number): void {
    const { messagesReceived, packetsReceived } = this.parts.services.counters
    packetsReceived[PacketType.publish] = (packetsReceived[PacketType.publish] ?? 0) + count
    messagesReceived[qos] = (messagesReceived[qos] ?? 0) + count
  }

  private messageOf(chunk: Uint8Array, entry: TopicEntry): Message {
    const { view } = this
    const expiry = view.messageExpirySeconds
    return new Message({
      topicName: entry.name,
      topicBytes: entry.bytes,
      payload: this.kept(chunk.subarray(view.payloadStart, view.payloadEnd)),
      qos: view.qos,
      retain: view.retain,
      properties: this.kept(view.properties),
      expiresAtMs: expiry < 0 ? 0 : this.parts.services.nowMs() + expiry * 1000,
      publisherId: this.clientId,
    })
  }

  /** A part of the packet at hand, for a message that may be kept. */
  private kept(bytes: Uint8Array): Uint8Array {
    return this.connection.isInputLent && bytes.length > 0 ? Buffer.from(bytes) : bytes
  }

  /**
   * Filters repetitions of QoS 2, and reads a client no further that has more on its way into the store than it may:
   * what it sent before our acknowledgement could reach it is no fault of its own.
   * @returns false when the packet has been answered and must not be published (again)
   */
  private admit(packetId: number, qos: Qos): boolean {
    const { connection, session } = this
    const { publisher, services } = this.parts
    if (qos === 2 && session.hasInbound(packetId)) {
      // v5 [MQTT-4.3.3-10]: the message is owned already, only the answer may have been lost.
      if (this.pendingQos2?.has(packetId) !== true) connection.sendAck(PacketType.pubrec, packetId)
      return false
    }
    if (this.pendingCount >= this.pendingMax) connection.waitFor(publisher.settled())
    if (qos === 2) {
      session.addInbound(packetId)
      if (++this.unreleased > this.receiveMax) this.exceededAtMs = services.nowMs()
    }
    return true
  }

  /**
   * Answers a message that is not published. Before v5 there is no way to say so: the client gets its acknowledgement
   * and the exchange runs to its end.
   */
  private refuse(qos: Qos, packetId: number, refusal: AckRefusal): void {
    if (qos > 0 && this.hasPending) {
      // [MQTT-4.6.0-2], [MQTT-4.6.0-3]: acknowledgements go out in the order of the messages.
      const earlier = this.parts.publisher.settled()
      this.connection.waitFor(earlier.then(() => this.answerRefused(qos, packetId, refusal)))
    } else {
      this.answerRefused(qos, packetId, refusal)
    }
  }

  private answerRefused(qos: Qos, packetId: number, refusal: AckRefusal): void {
    const { connection } = this
    if (qos === 1) {
      connection.sendAck(PacketType.puback, packetId, refusal)
    } else if (qos === 2) {
      if (connection.isV5) {
        this.unreleased--
        this.session.removeInbound(packetId)
      }
      connection.sendAck(PacketType.pubrec, packetId, refusal)
    }
  }

  /** v5 section 3.3.2.3.2: a server may check the payload, and this one does. */
  private payloadFormatHolds(chunk: Uint8Array): boolean {
    const { view } = this
    return view.payloadFormat !== 1 || isValidUtf8(chunk, view.payloadStart, view.payloadEnd)
  }

  private entryOf(chunk: Uint8Array): TopicEntry {
    const { view } = this
    if (view.topicAlias === 0) return this.entryOfName(chunk, view.topicStart, view.topicEnd)
    const { aliases } = this
    if (aliases === undefined) throw new ProtocolError(ReasonCode.topicAliasInvalid, 'topic aliases are not allowed')
    if (view.topicStart !== view.topicEnd) {
      const entry = this.entryOfName(chunk, view.topicStart, view.topicEnd)
      const problem = aliases.set(view.topicAlias, entry)
      if (problem !== 0) throw new ProtocolError(problem, 'topic alias out of range')
      return entry
    }
    const known = aliases.resolve(view.topicAlias)
    if (known === undefined) throw new ProtocolError(aliases.check(view.topicAlias), 'topic alias not known')
    return known
  }

  private entryOfName(chunk: Uint8Array, start: number, end: number): TopicEntry {
    return this.topics.find(chunk, start, end) ?? this.remember(chunk, start, end)
  }

  /** First sight of a topic: it is validated, authorised and matched once. */
  private remember(chunk: Uint8Array, start: number, end: number): TopicEntry {
    const { router } = this
    if (!isValidUtf8(chunk, start, end)) throw new ProtocolError(ReasonCode.malformedPacket, 'topic name is not UTF-8')
    const name = decodeUtf8(chunk, start, end)
    const problem = checkTopicName(name, this.parts.services.limits.topicLevelsMax)
    if (problem !== 0) throw new ProtocolError(problem, 'topic name not valid')
    const bytes = Uint8Array.prototype.slice.call(chunk, start, end)
    const entry = new TopicEntry(name, bytes, router.match(name), router.version)
    this.topics.add(entry)
    return entry
  }

  private askPermission(chunk: Uint8Array, entry: TopicEntry): void {
    const { connection, rights, rightsVersion } = this
    entry.permission = rights.mayPublish(connection, this.messageOf(chunk, entry))
    entry.rightsVersion = rights.publishesAlike(entry.name) ? rightsVersion : UNDECIDED
  }

  private matchOf(entry: TopicEntry): Match {
    const { router } = this
    if (entry.routerVersion !== router.version) {
      entry.match = router.match(entry.name)
      entry.routerVersion = router.version
    }
    return entry.match
  }
}
