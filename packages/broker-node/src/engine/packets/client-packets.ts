import {
  type AckPacket,
  type AuthPacket,
  type ClientPacket,
  type DisconnectPacket,
  decodePacket,
  firstByteProblem,
  PacketType,
  PINGRESP_BYTES,
  ProtocolError,
  ReasonCode,
  shortAckPacketId,
} from '@midge/protocol-core'
import type { AckRefusal, Connection } from '../connection/connection.ts'
import { Phase } from '../connection/phase.ts'
import type { CloseHow } from '../ground/close-how.ts'
import type { PacketSink } from '../ground/packet-sink.ts'
import type { EngineServices } from '../ground/services.ts'
import type { ConnectionSlot } from '../limits/connection-slots.ts'
import type { Session } from '../sessions/session.ts'
import { Authentication } from './authentication.ts'
import { type ConnectEvents, ConnectHandler, type ConnectParts } from './connect-handler.ts'
import { InboundPublishes } from './inbound-publishes.ts'
import type { AdmittedClient, OpenClient } from './open-client.ts'
import { handleSubscribe, handleUnsubscribe, type SubscribeParts } from './subscribe.ts'

const ID_NOT_FOUND: AckRefusal = { reasonCode: ReasonCode.packetIdentifierNotFound }

/** What the handlers of all packets work with. */
export interface PacketParts extends ConnectParts, SubscribeParts {
  readonly services: EngineServices
}

/** The packets of one connection, each type to its handler; what throws `ProtocolError` a client must not send. */
export class ClientPackets implements PacketSink, ConnectEvents {
  private readonly parts: PacketParts
  private readonly connection: Connection
  private readonly authentication: Authentication
  private connect: ConnectHandler | undefined = undefined
  private client: AdmittedClient | undefined = undefined
  /** Made with the first PUBLISH: most connections of a fleet are idle. */
  private inbound: InboundPublishes | undefined = undefined
  /** Its place among those that are counted. */
  private slot: ConnectionSlot | undefined = undefined

  constructor(parts: PacketParts, connection: Connection) {
    this.parts = parts
    this.connection = connection
    this.authentication = new Authentication(parts.services.door, connection)
  }

  onPublish(chunk: Uint8Array, start: number, bodyStart: number, bodyEnd: number): boolean {
    const inbound = this.inbound ?? this.beginInbound()
    return inbound === undefined || inbound.onFrame(chunk, start, bodyStart, bodyEnd)
  }

  endRun(): void {
    this.inbound?.endRun()
  }

  onPacket(first: number, chunk: Uint8Array, bodyStart: number, bodyEnd: number): void {
    const { connection, client } = this
    const problem = firstByteProblem(first, connection.version)
    if (problem !== 0) throw new ProtocolError(problem, 'packet type or flags not allowed here')
    const type = first >>> 4
    const { packetsReceived } = this.parts.services.counters
    packetsReceived[type] = (packetsReceived[type] ?? 0) + 1
    if (client !== undefined && type === PacketType.puback) {
      // The short form is what nearly every acknowledgement is.
      const packetId = shortAckPacketId(chunk, bodyStart, bodyEnd)
      if (packetId !== 0) {
        onPuback(client.session, packetId)
        return
      }
    }
    if (connection.phase === Phase.awaitingConnect) {
      // v5 [MQTT-3.1.0-1]
      if (type !== PacketType.connect) throw new ProtocolError(ReasonCode.protocolError, 'first packet is not CONNECT')
      this.connect = new ConnectHandler(this.parts, { connection, authentication: this.authentication }, this)
      this.connect.start(first, chunk, bodyStart, bodyEnd)
      return
    }
    const packet = decodePacket(first, chunk, bodyStart, bodyEnd, connection.version)
    if (client !== undefined) this.handle(client, packet)
    else if (packet.type === PacketType.auth) this.connect?.continue(packet)
    else if (packet.type === PacketType.disconnect) connection.shut('disconnected while authenticating', 'refused')
    // v5 section 4.12: until CONNACK only AUTH and DISCONNECT.
    else throw new ProtocolError(ReasonCode.protocolError, 'packet before the end of authentication')
  }

  hasExceeded(nowMs: number): boolean {
    return this.inbound?.hasExceeded(nowMs) === true
  }

  onRoom(): void {
    this.client?.session.pump()
  }

  onLimits(): void {
    const { client, connection, slot } = this
    if (client !== undefined && slot === undefined && !connection.isClosed) this.slot = client.usage.adopt(connection)
  }

  onSlot(slot: ConnectionSlot): void {
    this.slot = slot
    if (this.connection.isClosed) slot.free()
  }

  onEnded(how: CloseHow): Promise<void> | undefined {
    const { client } = this
    this.slot?.free()
    if (client === undefined) return undefined
    this.inbound?.forget()
    const ending = this.parts.ends.end(client.session, how)
    this.parts.services.hooks.disconnected(this.connection, client.session.subscriptions.keys())
    return ending
  }

  onOpened(opened: AdmittedClient): void {
    this.connect = undefined
    this.client = opened
  }

  private beginInbound(): InboundPublishes | undefined {
    if (this.client !== undefined) this.inbound = new InboundPublishes(this.parts, this.client)
    return this.inbound
  }

  private handle(client: OpenClient, packet: ClientPacket): void {
    const { connection } = this
    switch (packet.type) {
      case PacketType.puback:
      case PacketType.pubrec:
      case PacketType.pubrel:
      case PacketType.pubcomp:
        this.handleAck(client, packet)
        return
      case PacketType.subscribe:
        connection.waitFor(
          handleSubscribe(this.parts, { ...client, hasPending: this.inbound?.hasPending === true }, packet),
        )
        return
      case PacketType.unsubscribe:
        connection.waitFor(handleUnsubscribe(this.parts, client, packet))
        return
      case PacketType.pingreq:
        connection.send(PINGRESP_BYTES)
        this.parts.services.hooks.pinged(connection)
        return
      case PacketType.disconnect:
        this.handleDisconnect(client, packet)
        return
      case PacketType.auth:
        this.reauthenticate(packet)
        return
      case PacketType.connect:
        throw new ProtocolError(ReasonCode.protocolError, 'second CONNECT')
    }
  }

  private handleAck(client: OpenClient, packet: AckPacket): void {
    const { session } = client
    switch (packet.type) {
      case PacketType.puback:
        onPuback(session, packet.packetId)
        return
      case PacketType.pubrec: {
        const outcome = session.onPubrec(packet.packetId, packet.reasonCode)
        if (outcome === 'mismatch') throw new ProtocolError(ReasonCode.protocolError, 'PUBREC for a QoS 1 message')
        // v5 section 4.3.3: the client still gets PUBREL, so that its half of the exchange can end.
        if (outcome !== 'unknown') session.pump()
        else if (packet.reasonCode < 0x80) this.connection.sendAck(PacketType.pubrel, packet.packetId, ID_NOT_FOUND)
        return
      }
      case PacketType.pubrel:
        this.handlePubrel(client, packet.packetId)
        return
      case PacketType.pubcomp: {
        const outcome = session.onPubcomp(packet.packetId)
        if (outcome === 'mismatch') throw new ProtocolError(ReasonCode.protocolError, 'PUBCOMP out of place')
        session.pump()
      }
    }
  }

  /** v5 [MQTT-4.3.3-11]; an id that is not known is answered with 0x92 and nothing else happens. */
  private handlePubrel(client: OpenClient, packetId: number): void {
    const { connection, session } = client
    const { publisher, services } = this.parts
    if (!session.hasInbound(packetId)) {
      connection.sendAck(PacketType.pubcomp, packetId, ID_NOT_FOUND)
      return
    }
    if (!session.isStored) {
      this.finishInbound(client, packetId)
      return
    }
    connection.waitFor(
      publisher
        .settled()
        .then(() => services.store.forgetInbound(session.instance, session.clientId, session.epoch, packetId))
        .then(() => this.finishInbound(client, packetId)),
    )
  }

  private finishInbound({ connection, session }: OpenClient, packetId: number): void {
    if (session.removeInbound(packetId)) this.inbound?.released()
    connection.sendAck(PacketType.pubcomp, packetId)
  }

  private handleDisconnect({ connection, session, usage }: OpenClient, packet: DisconnectPacket): void {
    const expiry = packet.properties.sessionExpiryInterval
    if (expiry !== undefined) {
      // v5 [MQTT-3.14.2-2] section 3.14.2.2.2
      if (session.expirySeconds === 0 && expiry !== 0) {
        throw new ProtocolError(ReasonCode.protocolError, 'session expiry set with DISCONNECT')
      }
      session.expirySeconds = usage.sessionExpiryOf(
        Math.min(expiry, this.parts.services.limits.sessionExpirySecondsMax),
      )
    }
    // v5 [MQTT-3.14.4-3]; with another reason than 0 the will is published.
    connection.shut('client disconnected', packet.reasonCode === 0 ? 'goodbye' : 'error')
  }

  /** AUTH of an open connection. v5 section 4.12.1. */
  private reauthenticate(packet: AuthPacket): void {
    const { authentication, connection } = this
    const isFirst = !authentication.isUnderWay
    authentication.check(packet, isFirst ? ReasonCode.reauthenticate : ReasonCode.continueAuthentication)
    if (isFirst) authentication.beginAgain()
    connection.waitFor(this.stepAgain(packet.properties.authenticationData))
  }

  private async stepAgain(data: Uint8Array | undefined): Promise<void> {
    const step = await this.authentication.step(data)
    if (step === undefined) return
    // v5 [MQTT-4.12.1-2]: a failed re-authentication ends the connection.
    if (step.kind === 'refused') throw new ProtocolError(step.reasonCode, step.text)
    const { username, instance } = step.admitted
    if (username !== this.connection.username || instance !== this.connection.instance)
      throw new ProtocolError(ReasonCode.notAuthorized, 'another user')
    this.authentication.send(ReasonCode.success, step.data)
  }
}

function onPuback(session: Session, packetId: number): void {
  if (session.onPuback(packetId) === 'mismatch')
    throw new ProtocolError(ReasonCode.protocolError, 'PUBACK for a QoS 2 message')
  session.pump()
}
