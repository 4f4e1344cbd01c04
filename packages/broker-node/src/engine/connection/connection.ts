import type { Duplex } from 'node:stream'
import {
  BrokerError,
  EMPTY_BYTES,
  encodeAck,
  encodeDisconnect,
  fitProperties,
  type InstanceName,
  type Message,
  NO_PROPERTIES,
  PacketType,
  type Properties,
  ProtocolError,
  type ProtocolVersion,
  PublishFrame,
  type PublishRun,
  patchPacketId,
  type Qos,
  ReasonCode,
  remainingExpirySeconds,
} from '@midge/protocol-core'
import type { Limits } from '../../config/schema.ts'
import { type Counters, DropReason } from '../../counters.ts'
import type { ConnectionInfo, ReadSink } from '../../ports.ts'
import type { Client } from '../ground/client.ts'
import type { CloseHow } from '../ground/close-how.ts'
import { type DeliveryForm, formOf } from '../ground/delivery-form.ts'
import { describe } from '../ground/describe.ts'
import type { CloseOptions, Outlet } from '../ground/outlet.ts'
import type { PacketSink } from '../ground/packet-sink.ts'
import type { PlainFrame } from '../ground/plain-frame.ts'
import type { Rights } from '../ground/rights.ts'
import type { EngineServices } from '../ground/services.ts'
import type { Flushable, FlushList } from '../ground/tick.ts'
import type { RoomWaiter, Usage } from '../ground/usage.ts'
import { type AcceptedStream, streamFormOf } from './accepted-stream.ts'
import { type Bound, UNBOUND } from './bound.ts'
import { copyPatched } from './frame-copy.ts'
import { FrameInput, type InputOwner } from './frame-input.ts'
import type { Linger } from './linger.ts'
import { copyBytes, OutputBuffer } from './output-buffer.ts'
import { Phase } from './phase.ts'

/** QoS 1 and 2 messages stay in their queue while more than this waits for the socket. */
const QUEUED_OUTPUT_BYTES_MAX = 1024 * 1024
/** Packet Identifier and Reason Code, in bytes. */
const ACK_BODY_BYTES = 3
/** Reason Code, in bytes. */
const DISCONNECT_BODY_BYTES = 1
/** What setting a topic alias adds to a frame: the property, and one byte more for each of two lengths. */
const ALIAS_BYTES_MAX = 5

/** The frame that is being written; no other code runs between its filling and its writing. */
const frame = new PublishFrame()

/** What every connection of the node is built on. */
export interface ConnectionParts {
  readonly services: Pick<EngineServices, 'counters' | 'hooks' | 'limits' | 'logger' | 'nowMs'>
  /** Connections with output, flushed at the end of the tick. */
  readonly outlets: FlushList<Flushable>
  /** Streams whose end was sent, until they close. */
  readonly linger: Linger
  /** Who handles the packets of a new connection. */
  readonly sinkOf: (connection: Connection) => PacketSink
}

/** Why a packet is acknowledged without success. */
export interface AckRefusal {
  reasonCode: number
  /** Reason String. */
  text?: string
}

/**
 * One Network Connection: what comes in goes to its {@link PacketSink}, what goes out is collected and leaves with one
 * write per tick. It knows of its client what CONNECT has bound, and of the broker nothing.
 */
export class Connection implements Client, Outlet, Flushable, InputOwner, RoomWaiter {
  readonly info: ConnectionInfo
  readonly stream: Duplex
  readonly openedAtMs: number
  private readonly parts: ConnectionParts
  private readonly counters: Counters
  private readonly limits: Limits
  private readonly nowMs: () => number
  private readonly output: OutputBuffer
  private readonly sink: PacketSink
  private readonly input: FrameInput
  private readonly onEnded: (connection: Connection) => void
  private bound: Bound = UNBOUND
  // Of `bound`, for those who deliver to many connections: one cache line less to touch on each.
  rights: Rights = UNBOUND.rights
  private usage: Usage = UNBOUND.usage
  private speaksV5 = false
  private fitsPlainFrames = false
  private currentPhase: Phase = Phase.awaitingConnect
  private hasBeenOpen = false
  private isDirty = false
  private lastProgressMs: number
  /** Messages in flight, while somebody wants to know which of them are acknowledged. */
  private unacked: Map<number, Message> | undefined = undefined

  /** @param onEnded - called once, before the sink hears of the end */
  constructor(parts: ConnectionParts, peer: AcceptedStream, onEnded: (connection: Connection) => void) {
    const { stream, info, takesReads } = peer
    const { counters, limits, nowMs } = parts.services
    this.parts = parts
    this.counters = counters
    this.limits = limits
    this.nowMs = nowMs
    this.stream = stream
    this.info = info
    this.onEnded = onEnded
    this.openedAtMs = nowMs()
    this.lastProgressMs = this.openedAtMs
    this.output = new OutputBuffer(streamFormOf(peer), () => this.onOutputProgress())
    this.sink = parts.sinkOf(this)
    const packetBytesMax = limits.maxPacketBytes
    this.input = new FrameInput({ stream, takesReads, sink: this.sink, owner: this, packetBytesMax, counters, nowMs })
    stream.on('error', (error: Error) => this.onStreamError(error))
    stream.on('close', () => this.onStreamClosed())
  }

  // --- what CONNECT has settled ------------------------------------------------------------------------------------

  get phase(): Phase {
    return this.currentPhase
  }

  get isClosed(): boolean {
    return this.currentPhase === Phase.closed
  }

  get isGone(): boolean {
    return this.isClosed
  }

  get isEstablished(): boolean {
    return this.hasBeenOpen
  }

  get instance(): InstanceName {
    return this.bound.instance
  }

  get clientId(): string {
    return this.bound.clientId
  }

  /** A bridge of MQTT 3.x; see `Terms`. */
  get isBridge(): boolean {
    return this.bound.terms.isBridge
  }

  get username(): string | undefined {
    return this.bound.username
  }

  get version(): ProtocolVersion {
    return this.bound.version
  }

  get keepAliveMs(): number {
    return this.bound.terms.keepAliveMs
  }

  get isBehind(): boolean {
    return this.input.isWaiting
  }

  get isV5(): boolean {
    return this.speaksV5
  }

  get isClean(): boolean {
    return this.bound.terms.sessionExpirySeconds === 0
  }

  get acceptsQueued(): boolean {
    if (this.currentPhase !== Phase.open || this.output.unsentBytes >= QUEUED_OUTPUT_BYTES_MAX) return false
    return this.usage.outbound?.admits(this) !== false
  }

  get takesPlainFrames(): boolean {
    return this.fitsPlainFrames && !this.rights.filtersForward && this.usage.outbound?.isAmple !== false
  }

  /** CONNECT is being handled, and so much is known of the client. */
  bind(bound: Bound): void {
    this.settle(bound)
    this.currentPhase = Phase.connecting
  }

  /** CONNECT is accepted: CONNACK follows, then messages may. */
  open(bound: Bound): void {
    this.settle(bound)
    this.currentPhase = Phase.open
    this.hasBeenOpen = true
    this.input.open(bound.packetBytesMax)
  }

  private settle(bound: Bound): void {
    this.bound = bound
    this.rights = bound.rights
    this.usage = bound.usage
    this.speaksV5 = bound.version === 5
    this.fitsPlainFrames = bound.takesPlainFrames
  }

  // --- input -------------------------------------------------------------------------------------------------------

  get reads(): ReadSink {
    return this.input
  }

  /** True while the packet at hand is in a buffer that others will read into: what is kept of it has to be copied. */
  get isInputLent(): boolean {
    return this.input.isLent
  }

  /** Runs an asynchronous step of the packet at hand; later packets wait until it has settled. */
  waitFor(step: Promise<void>): void {
    this.input.waitFor(step)
  }

  onTooLarge(): void {
    this.close(ReasonCode.packetTooLarge, `packet larger than ${this.input.packetBytesMax} bytes`)
    this.usage.tooLarge(this.clientId)
  }

  /** A packet was wrong, or handling it failed. Nobody else is concerned. */
  onPacketFailure(error: unknown): void {
    if (error instanceof ProtocolError) {
      this.logProtocolError(error)
      this.parts.services.hooks.failed(this, new Error(error.text))
      this.close(error.reasonCode, error.text)
      return
    }
    this.onInternalError(error)
    this.close(ReasonCode.unspecifiedError, 'internal error')
  }

  onStepFailure(error: unknown): void {
    if (this.isClosed) return
    if (error instanceof ProtocolError) this.onPacketFailure(error)
    else this.onStoreFailure(error)
  }

  /** The peer sends nothing more, but may still read what it was owed. */
  onInputEnd(): void {
    if (this.isClosed) return
    this.flush()
    this.ended('network')
    if (this.output.isIdle) {
      // The kernel has all that this side had to say, and sends it before the end.
      this.stream.destroy()
      return
    }
    this.stream.end()
    this.parts.linger.add(this.stream)
  }

  // --- output ------------------------------------------------------------------------------------------------------

  /** Appends a control packet (never PUBLISH). */
  send(packet: Uint8Array): void {
    if (this.isClosed) return
    this.countSent((packet[0] as number) >>> 4, 1)
    this.output.append(packet, 0, packet.length)
    this.markDirty()
  }

  /** PUBACK, PUBREC, PUBREL or PUBCOMP; the four-byte form without an allocation when there is nothing to say. */
  sendAck(type: 4 | 5 | 6 | 7, packetId: number, refusal?: AckRefusal): void {
    if (this.isClosed) return
    if (refusal !== undefined && this.isV5) {
      const properties = this.fitted(this.reasonProperties(refusal.text), ACK_BODY_BYTES)
      this.send(encodeAck(5, type, packetId, refusal.reasonCode, properties))
      return
    }
    this.countSent(type, 1)
    const at = this.output.reserve(4)
    const { target } = this.output
    target[at] = type === PacketType.pubrel ? 0x62 : type << 4
    target[at + 1] = 2
    target[at + 2] = packetId >>> 8
    target[at + 3] = packetId & 0xff
    this.markDirty()
  }

  sendPubrel(packetId: number): void {
    this.sendAck(PacketType.pubrel, packetId)
  }

  sendPublish(message: Message, form: DeliveryForm, packetId: number): boolean {
    if (!this.takesDelivery(form)) return false
    if (this.rights.filtersForward) return this.sendReviewed(message, form, { packetId, dup: false })
    frame.dup = false
    return this.appendPublish(message, form, packetId)
  }

  resendPublish(message: Message, form: DeliveryForm, packetId: number): boolean {
    if (!this.takesDelivery(form)) return false
    if (this.rights.filtersForward) return this.sendReviewed(message, form, { packetId, dup: true })
    frame.dup = true
    return this.appendPublish(message, form, packetId)
  }

  private takesDelivery(form: DeliveryForm): boolean {
    if (this.currentPhase !== Phase.open) return false
    return form.qos > 0 || this.hasRoomFor(1)
  }

  /** Sends what somebody may have kept from this client, or changed for it. */
  private sendReviewed(message: Message, form: DeliveryForm, exchange: { packetId: number; dup: boolean }): boolean {
    const reviewed = this.rights.reviewForward(this, message, form.retain)
    if (reviewed === undefined) {
      this.counters.drop(DropReason.forwardDenied)
      return false
    }
    const { retain } = reviewed
    if (form.qos > 0 && reviewed.qos === 0) {
      frame.dup = false
      this.appendPublish(reviewed, formOf(0, retain, form.subscriptionIds), 0)
      // Nothing will be acknowledged: the caller frees the packet id as if nothing had been sent.
      return false
    }
    frame.dup = exchange.dup
    return this.appendPublish(reviewed, formOf(form.qos, retain, form.subscriptionIds), exchange.packetId)
  }

  /** Goes on with {@link frame}, whose DUP is set. */
  private appendPublish(message: Message, form: DeliveryForm, packetId: number): boolean {
    const { bound, output } = this
    const isV5 = this.speaksV5
    frame.version = bound.version
    frame.topicBytes = message.topicBytes
    frame.payload = message.payload
    frame.qos = form.qos
    frame.retain = form.retain
    frame.packetId = packetId
    frame.properties = isV5 ? message.properties : EMPTY_BYTES
    frame.expirySeconds = isV5 ? remainingExpirySeconds(message.expiresAtMs, this.nowMs()) : -1
    frame.subscriptionIds = form.subscriptionIds
    frame.topicAlias = 0
    frame.sendTopic = true
    let size = frame.measure()
    if (size > bound.terms.packetBytesMax) {
      this.counters.drop(DropReason.packetTooLarge)
      return false
    }
    const { aliasesOut } = bound
    if (aliasesOut !== undefined && size + ALIAS_BYTES_MAX <= bound.terms.packetBytesMax) {
      const assigned = aliasesOut.assign(message.topicName)
      frame.topicAlias = Math.abs(assigned)
      frame.sendTopic = assigned <= 0
      size = frame.measure()
    }
    const at = output.reserve(size)
    frame.writeTo(output.target, at)
    this.countPublish(form.qos, 1, size)
    this.markDirty()
    if (form.qos > 0 && this.parts.services.hooks.observesAck) {
      this.unacked ??= new Map()
      this.unacked.set(packetId, message)
    }
    return true
  }

  onAcknowledged(packetId: number, isQos2: boolean): void {
    const { hooks } = this.parts.services
    if (hooks.observesAck) hooks.acknowledged(this, packetId, isQos2 ? undefined : this.unacked?.get(packetId))
    this.unacked?.delete(packetId)
  }

  appendRun(run: PublishRun): void {
    if (!this.hasRoomFor(run.count)) return
    this.output.append(run.bytes, run.start, run.end)
    this.countPublish(0, run.count, run.end - run.start)
    this.markDirty()
  }

  appendFrame(encoded: Uint8Array): void {
    if (!this.hasRoomFor(1)) return
    this.output.append(encoded, 0, encoded.length)
    this.countPublish(0, 1, encoded.length)
    this.markDirty()
  }

  appendPatched(encoded: Uint8Array, packetId: number): void {
    const at = this.output.reserve(encoded.length)
    copyPatched(encoded, this.output.target, at, packetId)
    this.countPublish(1, 1, encoded.length)
    this.markDirty()
  }

  appendPlain(plain: PlainFrame, packetId: number): void {
    const { start, end } = plain
    const at = this.output.reserve(end - start)
    const { target } = this.output
    copyBytes(plain.bytes, start, end, target, at)
    patchPacketId(target, at + plain.packetIdAt - start, packetId)
    this.countPublish(1, 1, end - start)
    this.markDirty()
  }

  /** QoS 0 waits for no socket and for no plan: without room it is dropped. */
  private hasRoomFor(messages: number): boolean {
    const isFull = this.output.unsentBytes >= this.limits.outputBufferBytesMax
    if (!isFull && this.usage.outbound?.isDry !== true) return true
    this.counters.drop(isFull ? DropReason.outputFull : DropReason.planRate, messages)
    return false
  }

  private countPublish(qos: Qos, count: number, bytes: number): void {
    this.usage.outbound?.take(count, bytes)
    const { messagesSent } = this.counters
    messagesSent[qos] = (messagesSent[qos] ?? 0) + count
    this.countSent(PacketType.publish, count)
  }

  private countSent(type: number, count: number): void {
    const { packetsSent } = this.counters
    packetsSent[type] = (packetsSent[type] ?? 0) + count
  }

  private markDirty(): void {
    if (this.isDirty) return
    this.isDirty = true
    this.parts.outlets.add(this)
  }

  /** Called once per tick for every connection with output. */
  flush(): void {
    this.isDirty = false
    if (this.stream.destroyed) return
    const { output } = this
    const wasIdle = output.isIdle
    const bytes = output.flush(this.stream)
    this.counters.bytesSent += bytes
    if (!output.isIdle) {
      if (wasIdle) this.lastProgressMs = this.nowMs()
    } else if (bytes >= QUEUED_OUTPUT_BYTES_MAX) {
      // With less than that nobody was held back.
      this.onOutputProgress()
    }
  }

  private onOutputProgress(): void {
    this.lastProgressMs = this.nowMs()
    this.onRoom()
  }

  onRoom(): void {
    if (this.output.unsentBytes < QUEUED_OUTPUT_BYTES_MAX) this.sink.onRoom()
  }

  /** Reason String, unless the client asked for none. v5 [MQTT-3.1.2-29]. */
  reasonProperties(reason: string | undefined): Properties {
    if (reason === undefined || reason === '' || !this.bound.terms.requestProblemInformation) return NO_PROPERTIES
    return { reasonString: reason }
  }

  /** True when the client takes a packet of so many bytes. v5 [MQTT-3.1.2-24]. */
  takes(packetBytes: number): boolean {
    return packetBytes <= this.bound.terms.packetBytesMax
  }

  /**
   * What the client takes of the properties of a packet with so many other bytes in its body. v5 [MQTT-3.1.2-24].
   * @returns `undefined` when it does not take the packet at all
   */
  fitted(properties: Properties, bodyBytes: number): Properties | undefined {
    return fitProperties({ properties, bodyBytes, packetBytesMax: this.bound.terms.packetBytesMax })
  }

  // --- time --------------------------------------------------------------------------------------------------------

  /** The clock is no measure of what the client did since the last look. */
  restartTimeouts(nowMs: number): void {
    this.input.lastReceivedMs = nowMs
    this.lastProgressMs = nowMs
  }

  /** Called about once a second. v5 [MQTT-3.1.2-22], v3.1.1 [MQTT-3.1.2-24]. */
  checkTimeouts(nowMs: number): void {
    const { counters, input, limits } = this
    const { keepAliveMs } = this.bound.terms
    if (this.currentPhase !== Phase.open) {
      if (nowMs - this.openedAtMs < limits.connectTimeoutMs) return
      counters.connectTimeouts++
      this.shut('no CONNECT in time', 'refused')
      return
    }
    if (input.isWaiting) input.answerPings()
    if (keepAliveMs > 0 && nowMs - input.lastReceivedMs > keepAliveMs && !input.isWaiting) {
      counters.keepAliveTimeouts++
      this.parts.services.hooks.silent(this)
      this.close(ReasonCode.keepAliveTimeout, 'keep alive timeout')
      return
    }
    if (this.output.isIdle && !input.isWaiting && this.sink.hasExceeded(nowMs)) {
      this.close(ReasonCode.receiveMaximumExceeded, 'more QoS 2 messages than the Receive Maximum wait for PUBREL')
      return
    }
    if (!this.output.isIdle && nowMs - this.lastProgressMs > limits.drainTimeoutMs) {
      counters.drainTimeouts++
      this.close(ReasonCode.unspecifiedError, 'client does not read')
      this.stream.destroy()
    }
  }

  /** The limits of its instance have changed. */
  onLimits(): void {
    this.sink.onLimits()
  }

  // --- end ---------------------------------------------------------------------------------------------------------

  close(reasonCode: number, reason: string, options: CloseOptions = {}): void {
    if (this.isClosed) return
    this.counters.closedWith(reasonCode)
    if (this.currentPhase === Phase.open && this.isV5) {
      const { serverReference } = options
      const properties = { ...this.reasonProperties(reason) }
      if (serverReference !== undefined) properties.serverReference = serverReference
      this.send(encodeDisconnect(reasonCode, this.fitted(properties, DISCONNECT_BODY_BYTES)))
    }
    this.shut(reason, options.isFenced === true ? 'fenced' : 'error')
  }

  /** Ends the connection after DISCONNECT of the client, or after a refused CONNECT has been answered. */
  shut(reason: string, how: CloseHow): void {
    if (this.isClosed) return
    this.flush()
    const ending = this.finish(reason, how)
    // A client that said goodbye sees the end of its connection when the store has the end of its session.
    if (how !== 'goodbye' || ending === undefined) this.stream.end()
    else void ending.then(() => this.stream.end())
    this.parts.linger.add(this.stream)
  }

  private onStreamClosed(): void {
    this.parts.linger.remove(this.stream)
    this.ended('network')
  }

  private ended(reason: string): void {
    if (!this.isClosed) void this.finish(reason, 'error')
  }

  private finish(reason: string, how: CloseHow): Promise<void> | undefined {
    const { logger } = this.parts.services
    this.currentPhase = Phase.closed
    this.input.close()
    this.onEnded(this)
    if (this.hasBeenOpen && logger.isLevelEnabled('info')) {
      logger.info({ event: 'client.disconnected', ...describe(this), reason }, 'client disconnected')
    }
    return this.sink.onEnded(how)
  }

  // --- failures ----------------------------------------------------------------------------------------------------

  logProtocolError(error: ProtocolError): void {
    const { logger } = this.parts.services
    if (!logger.isLevelEnabled('debug')) return
    logger.debug({ event: 'client.protocol_error', ...describe(this), reasonCode: error.reasonCode }, error.text)
  }

  onStoreFailure(error: unknown): void {
    if (this.isClosed) return
    if (error instanceof BrokerError && error.code === 'MIDGE_SESSION_FENCED') {
      this.counters.fencedWrites++
      this.close(ReasonCode.sessionTakenOver, 'session taken over', { isFenced: true })
      return
    }
    if (!(error instanceof BrokerError)) this.onInternalError(error)
    this.close(ReasonCode.serverBusy, 'store not available')
  }

  private onStreamError(error: Error): void {
    if (this.isClosed) return
    const { hooks, logger } = this.parts.services
    if (logger.isLevelEnabled('debug')) {
      logger.debug({ event: 'connection.error', ...describe(this), err: error }, 'connection failed')
    }
    hooks.failed(this, error)
    this.ended(`network: ${error.message}`)
    this.stream.destroy()
  }

  private onInternalError(error: unknown): void {
    const { hooks, logger } = this.parts.services
    logger.error({ event: 'connection.bug', ...describe(this), err: error }, 'unexpected failure in one connection')
    hooks.failed(this, error instanceof Error ? error : new Error(String(error)))
  }
}
