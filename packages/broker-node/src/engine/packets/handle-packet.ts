import {
  type AckPacket,
  type DisconnectPacket,
  decodePacket,
  PacketType,
  PINGRESP_BYTES,
  ProtocolError,
  ReasonCode,
  shortAckPacketId,
} from '@midge/protocol-core'
import type { Connection } from '../connection/connection.ts'
import { Phase } from '../connection/phase.ts'
import { continueAuthentication, handleConnect, reauthenticate } from './handle-connect.ts'
import { handleSubscribe, handleUnsubscribe } from './handle-subscribe.ts'

/** Handles any packet but PUBLISH of an open connection. Throws `ProtocolError` for what a client must not send. */
export function handlePacket(
  connection: Connection,
  first: number,
  chunk: Uint8Array,
  bodyStart: number,
  bodyEnd: number,
): void {
  const type = first >>> 4
  if (connection.phase === Phase.open && type === PacketType.puback) {
    // The short form is what nearly every acknowledgement is.
    const packetId = shortAckPacketId(chunk, bodyStart, bodyEnd)
    if (packetId !== 0) {
      onPuback(connection, packetId)
      return
    }
  }
  if (connection.phase === Phase.awaitingConnect) {
    // v5 [MQTT-3.1.0-1]
    if (type !== PacketType.connect) throw new ProtocolError(ReasonCode.protocolError, 'first packet is not CONNECT')
    handleConnect(connection, first, chunk, bodyStart, bodyEnd)
    return
  }
  const packet = decodePacket(first, chunk, bodyStart, bodyEnd, connection.version)
  if (connection.phase === Phase.connecting) {
    if (packet.type === PacketType.auth) continueAuthentication(connection, packet)
    else if (packet.type === PacketType.disconnect) connection.shut('disconnected while authenticating', 'refused')
    // v5 section 4.12: until CONNACK only AUTH and DISCONNECT.
    else throw new ProtocolError(ReasonCode.protocolError, 'packet before the end of authentication')
    return
  }
  switch (packet.type) {
    case PacketType.puback:
    case PacketType.pubrec:
    case PacketType.pubrel:
    case PacketType.pubcomp:
      handleAck(connection, packet)
      return
    case PacketType.subscribe:
      connection.waitFor(handleSubscribe(connection, packet))
      return
    case PacketType.unsubscribe:
      connection.waitFor(handleUnsubscribe(connection, packet))
      return
    case PacketType.pingreq:
      connection.send(PINGRESP_BYTES)
      connection.broker.hooks.pinged(connection)
      return
    case PacketType.disconnect:
      handleDisconnect(connection, packet)
      return
    case PacketType.auth:
      reauthenticate(connection, packet)
      return
    case PacketType.connect:
      throw new ProtocolError(ReasonCode.protocolError, 'second CONNECT')
  }
}

function onPuback(connection: Connection, packetId: number): void {
  const { session } = connection
  if (session === undefined) return
  if (session.onPuback(packetId) === 'mismatch')
    throw new ProtocolError(ReasonCode.protocolError, 'PUBACK for a QoS 2 message')
  session.pump()
}

function handleAck(connection: Connection, packet: AckPacket): void {
  const { session } = connection
  if (session === undefined) return
  switch (packet.type) {
    case PacketType.puback:
      onPuback(connection, packet.packetId)
      return
    case PacketType.pubrec: {
      const outcome = session.onPubrec(packet.packetId, packet.reasonCode)
      if (outcome === 'mismatch') throw new ProtocolError(ReasonCode.protocolError, 'PUBREC for a QoS 1 message')
      // v5 section 4.3.3: the client still gets PUBREL, so that its half of the exchange can end.
      if (outcome !== 'unknown') session.pump()
      else if (packet.reasonCode < 0x80)
        connection.sendAck(PacketType.pubrel, packet.packetId, ReasonCode.packetIdentifierNotFound)
      return
    }
    case PacketType.pubrel:
      handlePubrel(connection, packet.packetId)
      return
    case PacketType.pubcomp: {
      const outcome = session.onPubcomp(packet.packetId)
      if (outcome === 'mismatch') throw new ProtocolError(ReasonCode.protocolError, 'PUBCOMP out of place')
      session.pump()
    }
  }
}

/** v5 [MQTT-4.3.3-11]; an id that is not known is answered with 0x92 and nothing else happens. */
function handlePubrel(connection: Connection, packetId: number): void {
  const { session, broker } = connection
  if (session === undefined) return
  if (!session.inboundIds.has(packetId)) {
    connection.sendAck(PacketType.pubcomp, packetId, ReasonCode.packetIdentifierNotFound)
    return
  }
  if (!session.isStored) {
    finishInbound(connection, packetId)
    return
  }
  connection.waitFor(
    broker.publisher
      .settled()
      .then(() => broker.store.forgetInbound(session.instance, session.clientId, session.epoch, packetId))
      .then(() => finishInbound(connection, packetId)),
  )
}

function finishInbound(connection: Connection, packetId: number): void {
  if (connection.session?.inboundIds.delete(packetId) === true) connection.inbound.settled()
  connection.sendAck(PacketType.pubcomp, packetId, 0)
}

function handleDisconnect(connection: Connection, packet: DisconnectPacket): void {
  const { terms } = connection
  const expiry = packet.properties.sessionExpiryInterval
  if (expiry !== undefined) {
    // v5 [MQTT-3.14.2-2] section 3.14.2.2.2
    if (terms.sessionExpirySeconds === 0 && expiry !== 0) {
      throw new ProtocolError(ReasonCode.protocolError, 'session expiry set with DISCONNECT')
    }
    terms.sessionExpirySeconds = Math.min(expiry, connection.broker.limits.sessionExpirySecondsMax)
  }
  // v5 [MQTT-3.14.4-3]; with another reason than 0 the will is published.
  connection.shut('client disconnected', packet.reasonCode === 0 ? 'goodbye' : 'error')
}
