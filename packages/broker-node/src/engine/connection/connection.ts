import type { Duplex } from 'node:stream'
import {
  type ConnectPacket,
  EMPTY_BYTES,
  encodeAck,
  encodeDisconnect,
  firstByteProblem,
  type Message,
  type OutboundTopicAliases,
  PacketType,
  ProtocolError,
  type ProtocolVersion,
  publishSize,
  type Qos,
  ReasonCode,
  remainingExpirySeconds,
  scanFrame,
  writePublish,
} from '@midge/protocol-core'
import { DropReason } from '../../counters.ts'
import type { AuthExchange, ConnectionInfo } from '../../ports.ts'
import type { ClientView } from '../aedes/client-view.ts'
import type { BrokerCore } from '../broker-core.ts'
import type { CloseHow } from '../ground/close-how.ts'
import { handlePacket } from '../packets/handle-packet.ts'
import { InboundPublishes } from '../packets/inbound-publishes.ts'
import type { Router } from '../routing/router.ts'
import type { Session } from '../sessions/session.ts'
import { copyPatched } from './frame-copy.ts'
import { OutputBuffer } from './output-buffer.ts'
import { Phase } from './phase.ts'
import { NO_TERMS, type Terms } from './terms.ts'

/** QoS 1 and 2 messages stay in their queue while more than this waits for the socket. */
const QUEUED_OUTPUT_BYTES_MAX = 1024 * 1024
const PARTIAL_BYTES_MIN = 4096
/**
 * Keep-alive counts packets (v5 section 3.1.2.10), so that bytes of one that never ends keep nobody alive; but so much
 * more of a large one (16 KiB) counts too, which a slow link may take longer for than the keep-alive.
 */
const PROGRESS_BYTES_LOG2 = 14
const REASON_STRING_BYTES_MAX = 256
/** What setting a topic alias adds to a frame: the property, and one byte more for each of two lengths. */
const ALIAS_BYTES_MAX = 5

/**
 * One Network Connection: bytes in, packets handled in their order, frames out with one write per tick.
 *
 * Packets take effect strictly in the order of arrival: while one waits for the store, later bytes wait here.
 */
export class Connection {
  readonly broker: BrokerCore
  readonly info: ConnectionInfo
  readonly stream: Duplex
  readonly output: OutputBuffer
  readonly inbound: InboundPublishes
  /** Of the instance that the connection belongs to. */
  readonly router: Router
  phase: Phase = Phase.awaitingConnect
  version: ProtocolVersion = 4
  clientId = ''
  username: string | undefined = undefined
  terms: Terms = NO_TERMS
  session: Session | undefined = undefined
  view: ClientView | undefined = undefined
  exchange: AuthExchange | undefined = undefined
  /** CONNECT that waits for the end of its enhanced authentication. */
  pendingConnect: ConnectPacket | undefined = undefined
  aliasesOut: OutboundTopicAliases | undefined = undefined
  /** True when frames that came in can go out to this client as they are: no aliases, no size limit of its own. */
  takesPlainFrames = true
  lastReceivedMs: number
  lastProgressMs: number
  readonly openedAtMs: number
  /** Why the connection ended, for the log and the close event. */
  closeReason = ''
  isDirty = false
  /** Publishes of this client that are on their way into the store. */
  pendingCount = 0
  /** Packet ids among them at QoS 2. */
  readonly pendingQos2: Set<number> = new Set()
  /** Topics delivered live while retained messages are being sent; see `retained-replay.ts`. */
  private liveTopics: Set<string> | undefined = undefined
  private replaysQueued = 0
  private lastReplay: Promise<void> = Promise.resolve()
  private roomWaiter: (() => void) | undefined = undefined
  private partial: Buffer | undefined = undefined
  private partialBytes = 0
  private rest: Uint8Array | undefined = undefined
  private isWaiting = false
  /** Steps under way; usually none or one. */
  private waits = 0
  private isProcessing = false
  private streamEnded = false

  constructor(broker: BrokerCore, stream: Duplex, info: ConnectionInfo) {
    this.broker = broker
    this.stream = stream
    this.info = info
    this.output = new OutputBuffer(() => this.onOutputProgress())
    this.inbound = new InboundPublishes(this)
    this.router = broker.routerOf(info.instance)
    this.openedAtMs = broker.nowMs()
    this.lastReceivedMs = this.openedAtMs
    this.lastProgressMs = this.openedAtMs
    stream.on('data', (chunk: Buffer) => this.onData(chunk))
    stream.on('error', (error: Error) => this.onStreamError(error))
    stream.on('end', () => this.onStreamEnd())
    stream.on('close', () => this.ended('network'))
  }

  get isClosed(): boolean {
    return this.phase === Phase.closed
  }

  get hasPending(): boolean {
    return this.pendingCount > 0
  }

  /** True while the socket takes QoS 1 and 2 messages; beyond the bound they wait in their queue. */
  get acceptsQueued(): boolean {
    return this.phase === Phase.open && this.output.unsentBytes < QUEUED_OUTPUT_BYTES_MAX
  }

  // --- input -------------------------------------------------------------------------------------------------------

  /** Runs an asynchronous step of the packet at hand; later packets wait until it has settled. */
  waitFor(step: Promise<void>): void {
    this.isWaiting = true
    this.waits++
    this.stream.pause()
    step.then(
      () => this.resume(),
      (error: unknown) => {
        this.onStepFailure(error)
        this.resume()
      },
    )
  }

  private resume(): void {
    if (--this.waits > 0) return
    this.isWaiting = false
    if (this.isProcessing || this.isClosed) return
    // What the client has sent meanwhile was not read: the time does not count against it.
    this.lastReceivedMs = this.broker.nowMs()
    const rest = this.rest
    this.rest = undefined
    if (rest !== undefined) this.consume(rest)
    if (this.isWaiting || this.isClosed) return
    if (this.streamEnded) this.endAfterPeer()
    else this.stream.resume()
  }

  private onData(chunk: Buffer): void {
    this.broker.counters.bytesReceived += chunk.length
    if (this.isClosed) return
    if (this.isWaiting) {
      this.rest = this.rest === undefined ? chunk : Buffer.concat([this.rest, chunk])
      return
    }
    if (this.partial === undefined) this.consume(chunk)
    else this.consumePartial(chunk)
  }

  /** Goes on with a packet that began in an earlier chunk. */
  private consumePartial(chunk: Buffer): void {
    const partial = this.partial ?? Buffer.alloc(0)
    // First the header alone decides how much is missing; then only the missing bytes are copied.
    const headEnd = Math.min(chunk.length, 5)
    const known =
      this.partialBytes >= 5
        ? partial
        : Buffer.concat([partial.subarray(0, this.partialBytes), chunk.subarray(0, headEnd)])
    const scan = scanFrame(known, 0, known === partial ? this.partialBytes : known.length)
    const total = scan <= 0 ? 0 : (scan >>> 3) + (scan & 7)
    if (total === 0 || total <= this.partialBytes) {
      this.partial = undefined
      this.consume(Buffer.concat([partial.subarray(0, this.partialBytes), chunk]))
      return
    }
    const missing = total - this.partialBytes
    const taken = Math.min(missing, chunk.length)
    const grown = this.growPartial(partial, this.partialBytes + taken, total)
    chunk.copy(grown, this.partialBytes, 0, taken)
    this.partialBytes += taken
    if (taken < missing) {
      this.partial = grown
      if (this.partialBytes >>> PROGRESS_BYTES_LOG2 !== (this.partialBytes - taken) >>> PROGRESS_BYTES_LOG2)
        this.lastReceivedMs = this.broker.nowMs()
      if (total > this.broker.limits.maxPacketBytes) this.refuseTooLarge()
      return
    }
    this.partial = undefined
    this.consume(grown.subarray(0, total))
    if (taken === chunk.length || this.isClosed) return
    const remainder = chunk.subarray(taken)
    if (this.isWaiting) this.rest = this.rest === undefined ? remainder : Buffer.concat([this.rest, remainder])
    else this.consume(remainder)
  }

  /** Doubles, so that a client which announces a large packet and sends little of it holds little memory. */
  private growPartial(partial: Buffer, needed: number, total: number): Buffer {
    if (partial.length >= needed) return partial
    const grown = Buffer.allocUnsafe(Math.min(total, Math.max(needed, partial.length * 2, PARTIAL_BYTES_MIN)))
    partial.copy(grown, 0, 0, this.partialBytes)
    return grown
  }

  private consume(chunk: Uint8Array): void {
    this.isProcessing = true
    let rest = 0
    try {
      rest = this.handleFrames(chunk)
    } catch (error) {
      this.onPacketFailure(error)
      rest = chunk.length
    }
    this.isProcessing = false
    if (this.isClosed || rest === chunk.length) return
    if (this.isWaiting) {
      const left = chunk.subarray(rest)
      this.rest = this.rest === undefined ? left : Buffer.concat([left, this.rest])
      return
    }
    const left = chunk.length - rest
    this.partial = Buffer.allocUnsafe(Math.max(left, PARTIAL_BYTES_MIN))
    this.partial.set(chunk.subarray(rest), 0)
    this.partialBytes = left
  }

  /** @returns the offset of the first byte that was not consumed */
  private handleFrames(chunk: Uint8Array): number {
    const end = chunk.length
    const { inbound } = this
    let at = 0
    while (at < end && !this.isWaiting && this.phase !== Phase.closed) {
      const scan = scanFrame(chunk, at, end)
      if (scan === 0) break
      if (scan < 0) {
        inbound.endRun()
        throw new ProtocolError(ReasonCode.malformedPacket, 'malformed remaining length')
      }
      const bodyStart = at + (scan & 7)
      const bodyEnd = bodyStart + (scan >>> 3)
      if (bodyEnd - at > this.broker.limits.maxPacketBytes) {
        inbound.endRun()
        this.refuseTooLarge()
        return end
      }
      if (bodyEnd > end) break
      const first = chunk[at] as number
      if (first >>> 4 === PacketType.publish && this.phase === Phase.open) {
        if (!inbound.onFrame(chunk, at, bodyStart, bodyEnd)) break
      } else {
        inbound.endRun()
        this.handleOther(first, chunk, bodyStart, bodyEnd)
      }
      at = bodyEnd
    }
    inbound.endRun()
    if (at > 0) this.lastReceivedMs = this.broker.nowMs()
    return this.phase === Phase.closed ? end : at
  }

  private handleOther(first: number, chunk: Uint8Array, bodyStart: number, bodyEnd: number): void {
    const problem = firstByteProblem(first, this.version)
    if (problem !== 0) throw new ProtocolError(problem, 'packet type or flags not allowed here')
    this.broker.counters.packetsReceived[first >>> 4] = (this.broker.counters.packetsReceived[first >>> 4] ?? 0) + 1
    handlePacket(this, first, chunk, bodyStart, bodyEnd)
  }

  /** The clock is no measure of what the client did since the last look. */
  restartTimeouts(nowMs: number): void {
    this.lastReceivedMs = nowMs
    this.lastProgressMs = nowMs
  }

  /** Called about once a second. v5 [MQTT-3.1.2-22], v3.1.1 [MQTT-3.1.2-24]. */
  checkTimeouts(nowMs: number): void {
    const { broker } = this
    if (this.phase !== Phase.open) {
      if (nowMs - this.openedAtMs < broker.limits.connectTimeoutMs) return
      broker.counters.connectTimeouts++
      this.shut('no CONNECT in time', 'refused')
      return
    }
    if (this.terms.keepAliveMs > 0 && nowMs - this.lastReceivedMs > this.terms.keepAliveMs && !this.isWaiting) {
      broker.counters.keepAliveTimeouts++
      broker.hooks.silent(this)
      this.close(ReasonCode.keepAliveTimeout, 'keep alive timeout')
      return
    }
    if (!this.output.isIdle && nowMs - this.lastProgressMs > broker.limits.drainTimeoutMs) {
      broker.counters.drainTimeouts++
      this.close(ReasonCode.unspecifiedError, 'client does not read')
      this.stream.destroy()
    }
  }

  private refuseTooLarge(): void {
    this.close(ReasonCode.packetTooLarge, `packet larger than ${this.broker.limits.maxPacketBytes} bytes`)
  }

  // --- output ------------------------------------------------------------------------------------------------------

  /** Appends a control packet (never PUBLISH). */
  send(frame: Uint8Array): void {
    if (this.isClosed) return
    const type = (frame[0] as number) >>> 4
    this.broker.counters.packetsSent[type] = (this.broker.counters.packetsSent[type] ?? 0) + 1
    this.output.append(frame, 0, frame.length)
    this.markDirty()
  }

  /** PUBACK, PUBREC, PUBREL or PUBCOMP; the four-byte form without an allocation when there is nothing to say. */
  sendAck(type: 4 | 5 | 6 | 7, packetId: number, reasonCode: number, reason?: string): void {
    if (this.isClosed) return
    if (reasonCode !== 0 && this.version === 5) {
      this.send(encodeAck(5, type, packetId, reasonCode, this.reasonProperties(reason)))
      return
    }
    const { counters } = this.broker
    counters.packetsSent[type] = (counters.packetsSent[type] ?? 0) + 1
    const at = this.output.reserve(4)
    const { target } = this.output
    target[at] = type === PacketType.pubrel ? 0x62 : type << 4
    target[at + 1] = 2
    target[at + 2] = packetId >>> 8
    target[at + 3] = packetId & 0xff
    this.markDirty()
  }

  sendPubrel(packetId: number): void {
    this.sendAck(PacketType.pubrel, packetId, 0)
  }

  /**
   * Appends a PUBLISH of its own for this client.
   * @returns false when it was dropped: too large for the client (v5 [MQTT-3.1.2-25]), or QoS 0 and the output is full
   */
  sendPublish(
    message: Message,
    qos: Qos,
    retain: boolean,
    dup: boolean,
    packetId: number,
    subscriptionIds: readonly number[] | undefined,
  ): boolean {
    if (this.phase !== Phase.open) return false
    const { counters } = this.broker
    if (qos === 0 && this.output.unsentBytes >= this.broker.limits.outputBufferBytesMax) {
      counters.drop(DropReason.outputFull)
      return false
    }
    if (this.broker.hooks.filtersForward && !this.broker.hooks.mayForward(this, message)) {
      counters.drop(DropReason.forwardDenied)
      return false
    }
    const isV5 = this.version === 5
    const properties = isV5 ? message.properties : EMPTY_BYTES
    const expiry = isV5 ? remainingExpirySeconds(message.expiresAtMs, this.broker.nowMs()) : -1
    const { topicBytes, payload } = message
    let size = publishSize(this.version, topicBytes, qos, properties, expiry, subscriptionIds, 0, true, payload.length)
    if (size > this.terms.packetBytesMax) {
      counters.drop(DropReason.packetTooLarge)
      return false
    }
    let alias = 0
    let sendTopic = true
    if (this.aliasesOut !== undefined && size + ALIAS_BYTES_MAX <= this.terms.packetBytesMax) {
      const assigned = this.aliasesOut.assign(message.topicName)
      alias = Math.abs(assigned)
      sendTopic = assigned <= 0
      size = publishSize(
        this.version,
        topicBytes,
        qos,
        properties,
        expiry,
        subscriptionIds,
        alias,
        sendTopic,
        payload.length,
      )
    }
    const at = this.output.reserve(size)
    writePublish(
      this.output.target,
      at,
      this.version,
      topicBytes,
      payload,
      qos,
      dup,
      retain,
      packetId,
      properties,
      expiry,
      subscriptionIds,
      alias,
      sendTopic,
    )
    counters.messagesSent[qos] = (counters.messagesSent[qos] ?? 0) + 1
    counters.packetsSent[PacketType.publish] = (counters.packetsSent[PacketType.publish] ?? 0) + 1
    this.markDirty()
    return true
  }

  /** Appends `count` QoS 0 frames that can go to this client as they came in. */
  appendRun(chunk: Uint8Array, start: number, end: number, count: number): void {
    const { counters } = this.broker
    if (this.output.unsentBytes >= this.broker.limits.outputBufferBytesMax) {
      counters.drop(DropReason.outputFull, count)
      return
    }
    this.output.append(chunk, start, end)
    counters.messagesSent[0] = (counters.messagesSent[0] ?? 0) + count
    counters.packetsSent[PacketType.publish] = (counters.packetsSent[PacketType.publish] ?? 0) + count
    this.markDirty()
  }

  /** Appends an encoded QoS 1 frame under a packet id of this client. */
  appendPatched(frame: Uint8Array, packetId: number): void {
    const { counters } = this.broker
    const at = this.output.reserve(frame.length)
    copyPatched(frame, this.output.target, at, packetId)
    counters.messagesSent[1] = (counters.messagesSent[1] ?? 0) + 1
    counters.packetsSent[PacketType.publish] = (counters.packetsSent[PacketType.publish] ?? 0) + 1
    this.markDirty()
  }

  markDirty(): void {
    if (this.isDirty) return
    this.isDirty = true
    this.broker.queueFlush(this)
  }

  /** Called by the broker once per tick for every connection with output. */
  flush(): void {
    this.isDirty = false
    if (this.stream.destroyed) return
    if (this.output.isIdle) this.lastProgressMs = this.broker.nowMs()
    this.broker.counters.bytesSent += this.output.flush(this.stream)
  }

  private onOutputProgress(): void {
    this.lastProgressMs = this.broker.nowMs()
    if (this.session !== undefined && this.output.unsentBytes < QUEUED_OUTPUT_BYTES_MAX) this.session.pump()
    this.wakeRoomWaiter()
  }

  /** Runs one replay of retained messages after those of earlier subscriptions; packets are handled meanwhile. */
  queueReplay(replay: () => Promise<void>): void {
    this.liveTopics ??= new Set()
    this.replaysQueued++
    this.lastReplay = this.lastReplay
      .then(replay)
      .catch((error: unknown) => this.onStoreFailure(error))
      .then(() => {
        if (--this.replaysQueued === 0) this.liveTopics = undefined
      })
  }

  /** A message that replaces the retained one of its topic reaches this client. */
  noteLiveRetained(topicName: string): void {
    this.liveTopics?.add(topicName)
  }

  wasDeliveredLive(topicName: string): boolean {
    return this.liveTopics?.has(topicName) === true
  }

  /** Resolves when the client has taken most of what it was sent, or is gone. */
  async whenRoom(): Promise<void> {
    while (!this.isClosed && !this.hasRoom()) {
      await new Promise<void>(resolve => {
        this.roomWaiter = resolve
      })
    }
  }

  private hasRoom(): boolean {
    return this.output.unsentBytes < QUEUED_OUTPUT_BYTES_MAX && this.session?.hasBacklog !== true
  }

  /** Called when the output has shrunk or an acknowledgement has come. */
  wakeRoomWaiter(): void {
    if (this.roomWaiter === undefined || !(this.isClosed || this.hasRoom())) return
    const wake = this.roomWaiter
    this.roomWaiter = undefined
    wake()
  }

  /** Reason String, unless the client asked for none. v5 [MQTT-3.1.2-29]. */
  reasonProperties(reason: string | undefined): { reasonString?: string } {
    if (reason === undefined || reason === '' || !this.terms.requestProblemInformation) return {}
    return reason.length + REASON_STRING_BYTES_MAX > this.terms.packetBytesMax ? {} : { reasonString: reason }
  }

  // --- end ---------------------------------------------------------------------------------------------------------

  /**
   * Ends the connection from this side. A v5 client that has its CONNACK is told why (v5 section 3.14); its will is
   * fired unless the caller says otherwise.
   */
  close(reasonCode: number, reason: string, options: { serverReference?: string; isFenced?: boolean } = {}): void {
    if (this.isClosed) return
    this.broker.counters.closedWith(reasonCode)
    if (this.phase === Phase.open && this.version === 5) {
      const properties = this.reasonProperties(reason)
      this.send(
        encodeDisconnect(
          reasonCode,
          options.serverReference === undefined
            ? properties
            : { ...properties, serverReference: options.serverReference },
        ),
      )
    }
    this.shut(reason, options.isFenced === true ? 'fenced' : 'error')
  }

  /** Ends the connection after DISCONNECT of the client, or after a refused CONNECT has been answered. */
  shut(reason: string, how: CloseHow): void {
    if (this.isClosed) return
    this.flush()
    this.finish(reason, how)
    // A client that said goodbye sees the end of its connection when the store has the end of its session.
    const ending = how === 'goodbye' ? this.broker.endingOf(this.info.instance, this.clientId) : undefined
    if (ending === undefined) this.stream.end()
    else void ending.then(() => this.stream.end())
    // A peer that does not answer FIN must not keep the socket.
    this.broker.destroyLater(this.stream)
  }

  private ended(reason: string): void {
    if (!this.isClosed) this.finish(reason, 'error')
  }

  private finish(reason: string, how: CloseHow): void {
    this.closeReason = reason
    const wasOpen = this.phase === Phase.open || this.phase === Phase.connecting
    this.phase = Phase.closed
    this.partial = undefined
    this.rest = undefined
    this.inbound.forget()
    this.broker.onConnectionEnded(this, how, wasOpen)
    this.wakeRoomWaiter()
  }

  private onStreamEnd(): void {
    // What came before the end is still handled: a packet that waits for the store delays the end.
    this.streamEnded = true
    if (!this.isWaiting) this.endAfterPeer()
  }

  /** The peer sends nothing more, but may still read what it was owed. */
  private endAfterPeer(): void {
    if (this.isClosed) return
    this.flush()
    this.ended('network')
    this.stream.end()
    this.broker.destroyLater(this.stream)
  }

  private onStreamError(error: Error): void {
    if (this.isClosed) return
    this.broker.onStreamError(this, error)
    this.ended(`network: ${error.message}`)
    this.stream.destroy()
  }

  /** A packet was wrong, or handling it failed. Nobody else is concerned. */
  private onPacketFailure(error: unknown): void {
    if (error instanceof ProtocolError) {
      this.broker.onProtocolError(this, error)
      this.close(error.reasonCode, error.text)
      return
    }
    this.broker.onInternalError(this, error)
    this.close(ReasonCode.unspecifiedError, 'internal error')
  }

  private onStepFailure(error: unknown): void {
    if (this.isClosed) return
    if (error instanceof ProtocolError) this.onPacketFailure(error)
    else this.onStoreFailure(error)
  }

  /** The store did not answer, or has a newer owner for the session: nothing may be acknowledged any more. */
  onStoreFailure(error: unknown): void {
    if (this.isClosed) return
    this.broker.onStoreFailure(this, error)
  }
}
