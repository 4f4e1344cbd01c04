import {
  checkTopicName,
  decodePublish,
  decodeUtf8,
  InboundTopicAliases,
  isValidUtf8,
  Message,
  PacketType,
  ProtocolError,
  PublishRun,
  PublishView,
  type Qos,
  ReasonCode,
  RUN_FIRST_BYTE,
} from '@midge/protocol-core'
import { DropReason } from '../../counters.ts'
import type { Connection } from '../connection/connection.ts'
import type { Match } from '../routing/router.ts'

/** Topics a connection remembers with their permission; a power of two. */
const TOPIC_SLOTS = 256
const TOPIC_BYTES_LOOP_MAX = 256

/** A topic that this connection publishes to, with everything that would otherwise be found out per message. */
export class TopicEntry {
  readonly name: string
  readonly bytes: Uint8Array
  /** 0, or the reason code of the refusal. */
  permission: number
  /** The broker's version of permissions at which `permission` was decided; -1 before the first decision. */
  permissionVersion: number
  match: Match
  routerVersion: number

  constructor(name: string, bytes: Uint8Array, match: Match, routerVersion: number) {
    this.name = name
    this.bytes = bytes
    this.permission = 0
    this.permissionVersion = -1
    this.match = match
    this.routerVersion = routerVersion
  }
}

function sameBytes(chunk: Uint8Array, start: number, end: number, bytes: Uint8Array): boolean {
  const length = bytes.length
  if (end - start !== length) return false
  // From the end: topics of one publisher differ there.
  for (let i = length - 1; i >= 0; i--) if (chunk[start + i] !== bytes[i]) return false
  return true
}

function slotOf(chunk: Uint8Array, start: number, end: number): number {
  let hash = end - start
  const from = Math.max(start, end - TOPIC_BYTES_LOOP_MAX)
  for (let i = from; i < end; i++) hash = (Math.imul(hash, 31) + (chunk[i] as number)) | 0
  return (hash ^ (hash >>> 15)) & (TOPIC_SLOTS - 1)
}

/**
 * PUBLISH packets of one client: the hottest path of the broker.
 *
 * Neighbouring QoS 0 frames of one topic form a *run*: they are counted while scanning and handed on as one slice of
 * the receive buffer, so that a subscriber of the same protocol costs one append for all of them. Every frame is still
 * checked on its own. Measured by test/bench/load.
 */
export class InboundPublishes {
  private readonly connection: Connection
  private readonly view = new PublishView()
  private aliases: InboundTopicAliases<TopicEntry> | undefined = undefined
  private last: TopicEntry | undefined = undefined
  private slots: (TopicEntry | undefined)[] | undefined = undefined
  /** QoS 1 and 2 messages received and not yet answered for good. v5 section 3.3.4. */
  private outstanding = 0
  private runEntry: TopicEntry | undefined = undefined
  private runChunk: Uint8Array | undefined = undefined
  private runStart = 0
  private runEnd = 0
  private runCount = 0

  constructor(connection: Connection) {
    this.connection = connection
  }

  /** Called with CONNACK: the client may use aliases 1 to `aliasMax`. */
  allowAliases(aliasMax: number): void {
    if (aliasMax > 0) this.aliases = new InboundTopicAliases<TopicEntry>(aliasMax)
  }

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
    if (this.runCount > 0) this.endRun()
    const last = this.last
    if (last !== undefined && this.mayRun(last) && this.isPlain(chunk, start, bodyStart, bodyEnd, last.bytes)) {
      this.startRun(chunk, start, bodyEnd, last)
      return true
    }
    return this.onSingle(chunk, start, bodyStart, bodyEnd)
  }

  /** Delivers what has been collected; called before anything else of the connection takes effect. */
  endRun(): void {
    const entry = this.runEntry
    const chunk = this.runChunk
    if (entry === undefined || chunk === undefined) return
    this.runEntry = undefined
    this.runChunk = undefined
    const count = this.runCount
    this.runCount = 0
    const { connection } = this
    const { broker } = connection
    broker.counters.packetsReceived[PacketType.publish] =
      (broker.counters.packetsReceived[PacketType.publish] ?? 0) + count
    broker.counters.messagesReceived[0] = (broker.counters.messagesReceived[0] ?? 0) + count
    if (entry.permission !== 0) {
      broker.counters.drop(DropReason.publishDenied, count)
      return
    }
    const run = new PublishRun({
      topicName: entry.name,
      topicBytes: entry.bytes,
      publisherId: connection.clientId,
      isV5: connection.version === 5,
      bytes: chunk,
      start: this.runStart,
      end: this.runEnd,
      count,
    })
    broker.publisher.publishRun(connection.info.instance, run, this.matchOf(entry))
  }

  /** One exchange of QoS 1 or 2 has ended. */
  settled(): void {
    // PUBREL for a message of an earlier connection ends an exchange that this one has not counted. v5 section 4.9
    if (this.outstanding > 0) this.outstanding--
  }

  /** The connection has ended: what it remembered of topics would keep the sessions they once reached. */
  forget(): void {
    this.aliases = undefined
    this.last = undefined
    this.slots = undefined
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
    if (this.connection.version === 5 && (topicEnd === bodyEnd || chunk[topicEnd] !== 0)) return false
    return sameBytes(chunk, topicStart, topicEnd, topic)
  }

  private mayRun(entry: TopicEntry): boolean {
    const { broker } = this.connection
    return broker.hooks.allowRuns && entry.permissionVersion === broker.permissionVersion
  }

  private startRun(chunk: Uint8Array, start: number, end: number, entry: TopicEntry): void {
    this.runEntry = entry
    this.runChunk = chunk
    this.runStart = start
    this.runEnd = end
    this.runCount = 1
  }

  private onSingle(chunk: Uint8Array, start: number, bodyStart: number, bodyEnd: number): boolean {
    const { connection, view } = this
    const { broker } = connection
    const problem = decodePublish(view, chunk[start] as number, chunk, bodyStart, bodyEnd, connection.version)
    if (problem !== 0) throw new ProtocolError(problem, 'malformed PUBLISH')
    const { qos } = view
    const entry = this.entryOf(chunk)
    if (entry.permissionVersion !== broker.permissionVersion && !this.askPermission(chunk, entry)) return false
    broker.counters.packetsReceived[PacketType.publish] = (broker.counters.packetsReceived[PacketType.publish] ?? 0) + 1
    broker.counters.messagesReceived[qos] = (broker.counters.messagesReceived[qos] ?? 0) + 1
    if (qos > 0 && !this.admit(view.packetId, qos)) return true
    if (!this.payloadFormatHolds(chunk)) {
      this.refuse(qos, view.packetId, ReasonCode.payloadFormatInvalid, 'payload is not UTF-8')
    } else if (entry.permission !== 0) {
      broker.counters.drop(DropReason.publishDenied)
      this.refuse(qos, view.packetId, entry.permission, 'publish not allowed')
    } else {
      broker.publisher.publishFrom(connection, this.messageOf(chunk, entry), this.matchOf(entry), view.packetId)
    }
    return true
  }

  private messageOf(chunk: Uint8Array, entry: TopicEntry): Message {
    const { view, connection } = this
    const expiry = view.messageExpirySeconds
    return new Message({
      topicName: entry.name,
      topicBytes: entry.bytes,
      payload: chunk.subarray(view.payloadStart, view.payloadEnd),
      qos: view.qos,
      retain: view.retain,
      properties: view.properties,
      expiresAtMs: expiry < 0 ? 0 : connection.broker.nowMs() + expiry * 1000,
      publisherId: connection.clientId,
    })
  }

  /**
   * Counts a QoS 1 or 2 message against the Receive Maximum and filters repetitions of QoS 2.
   * @returns false when the packet has been answered and must not be published (again)
   */
  private admit(packetId: number, qos: Qos): boolean {
    const { connection } = this
    const { session } = connection
    if (qos === 2 && session?.inboundIds.has(packetId) === true) {
      // v5 [MQTT-4.3.3-10]: the message is owned already, only the answer may have been lost.
      if (connection.broker.publisher.isPending(connection, packetId)) return false
      connection.sendAck(PacketType.pubrec, packetId, 0)
      return false
    }
    this.outstanding++
    const { limits, publisher } = connection.broker
    if (connection.version !== 5) {
      // Nobody has told this client of a bound: it is read no further until what it has sent is stored.
      if (this.outstanding > limits.inflightInboundMax && connection.hasPending) connection.waitFor(publisher.settled())
    } else if (this.outstanding > limits.receiveMax) {
      throw new ProtocolError(
        ReasonCode.receiveMaximumExceeded,
        `more than ${limits.receiveMax} unacknowledged messages`,
      )
    }
    if (qos === 2) session?.inboundIds.add(packetId)
    return true
  }

  /**
   * Answers a message that is not published. Before v5 there is no way to say so: the client gets its acknowledgement
   * and the exchange runs to its end.
   */
  private refuse(qos: Qos, packetId: number, reasonCode: number, reason: string): void {
    const { connection } = this
    if (qos > 0 && connection.hasPending) {
      // [MQTT-4.6.0-2], [MQTT-4.6.0-3]: acknowledgements go out in the order of the messages.
      const earlier = connection.broker.publisher.settled()
      connection.waitFor(earlier.then(() => this.answerRefused(qos, packetId, reasonCode, reason)))
    } else {
      this.answerRefused(qos, packetId, reasonCode, reason)
    }
  }

  private answerRefused(qos: Qos, packetId: number, reasonCode: number, reason: string): void {
    const { connection } = this
    if (qos === 1) {
      this.outstanding--
      connection.sendAck(PacketType.puback, packetId, reasonCode, reason)
    } else if (qos === 2) {
      if (connection.version === 5) {
        this.outstanding--
        connection.session?.inboundIds.delete(packetId)
      }
      connection.sendAck(PacketType.pubrec, packetId, reasonCode, reason)
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
    const last = this.last
    if (last !== undefined && sameBytes(chunk, start, end, last.bytes)) return last
    const slot = slotOf(chunk, start, end)
    const known = this.slots?.[slot]
    if (known !== undefined && sameBytes(chunk, start, end, known.bytes)) {
      this.last = known
      return known
    }
    return this.remember(chunk, start, end, slot)
  }

  /** First sight of a topic: it is validated, authorised and matched once. */
  private remember(chunk: Uint8Array, start: number, end: number, slot: number): TopicEntry {
    const { connection } = this
    const { broker } = connection
    if (!isValidUtf8(chunk, start, end)) throw new ProtocolError(ReasonCode.malformedPacket, 'topic name is not UTF-8')
    const name = decodeUtf8(chunk, start, end)
    const problem = checkTopicName(name, broker.limits.topicLevelsMax)
    if (problem !== 0) throw new ProtocolError(problem, 'topic name not valid')
    const bytes = Uint8Array.prototype.slice.call(chunk, start, end)
    const { router } = connection
    const entry = new TopicEntry(name, bytes, router.match(name), router.version)
    if (this.last !== undefined) {
      this.slots ??= new Array<TopicEntry | undefined>(TOPIC_SLOTS).fill(undefined)
      this.slots[slotOf(this.last.bytes, 0, this.last.bytes.length)] = this.last
      this.slots[slot] = entry
    }
    this.last = entry
    return entry
  }

  /** @returns false when the hook has not answered yet and the connection waits for it */
  private askPermission(chunk: Uint8Array, entry: TopicEntry): boolean {
    const { connection } = this
    const { hooks, permissionVersion } = connection.broker
    const answer = hooks.mayPublish(connection, this.messageOf(chunk, entry))
    entry.permissionVersion = permissionVersion
    if (typeof answer === 'number') {
      entry.permission = answer
      return true
    }
    connection.waitFor(
      answer.then(permission => {
        entry.permission = permission
      }),
    )
    return false
  }

  private matchOf(entry: TopicEntry): Match {
    const { router } = this.connection
    if (entry.routerVersion !== router.version) {
      entry.match = router.match(entry.name)
      entry.routerVersion = router.version
    }
    return entry.match
  }
}
