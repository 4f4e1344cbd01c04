import { ProtocolError } from '../errors.ts'
import {
  type AckPacket,
  type AuthPacket,
  type ClientPacket,
  type DisconnectPacket,
  PacketType,
  type PingreqPacket,
  type ProtocolVersion,
  type Qos,
  type SubscribePacket,
  type SubscribeRequest,
  type UnsubscribePacket,
} from '../packet.ts'
import { ReasonCode } from '../reason-code.ts'
import { checkFilterForm } from '../topic-filter.ts'
import { BodyReader, malformed, protocolError } from './body-reader.ts'
import { uint16At } from './bytes.ts'
import { NO_PROPERTIES, readProperties } from './decode-properties.ts'
import { firstByteProblem } from './frame.ts'

const PINGREQ: PingreqPacket = Object.freeze({ type: PacketType.pingreq })

/** v5 table 3-4 (PUBACK) and table 3-5 (PUBREC). */
const RECEIPT_CODES: ReadonlySet<number> = new Set([0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99])
/** v5 table 3-6 (PUBREL) and table 3-7 (PUBCOMP). */
const RELEASE_CODES: ReadonlySet<number> = new Set([0x00, 0x92])
/** v5 section 3.14.2.1, also the codes meant for servers: the connection ends in any case. */
const DISCONNECT_CODES: ReadonlySet<number> = new Set([
  0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98,
  0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2,
])

/**
 * Decodes any packet that a client sends after CONNECT, except PUBLISH.
 *
 * Checks the first byte too. All strings and bytes in the result are copies.
 *
 * @throws {@link ProtocolError} with the reason code to close the connection with; 0x82 for a second CONNECT
 */
export function decodePacket(
  firstByte: number,
  buf: Uint8Array,
  bodyStart: number,
  bodyEnd: number,
  version: ProtocolVersion,
): ClientPacket {
  const problem = firstByteProblem(firstByte, version)
  if (problem !== 0) throw new ProtocolError(problem, 'packet type or flags')
  const reader = new BodyReader(buf, bodyStart, bodyEnd)
  const type = firstByte >> 4
  switch (type) {
    case PacketType.puback:
    case PacketType.pubrec:
    case PacketType.pubrel:
    case PacketType.pubcomp:
      return readAck(reader, type, version)
    case PacketType.subscribe:
      return readSubscribe(reader, version)
    case PacketType.unsubscribe:
      return readUnsubscribe(reader, version)
    case PacketType.pingreq:
      reader.expectEnd()
      return PINGREQ
    case PacketType.disconnect:
      return readDisconnect(reader, version)
    case PacketType.auth:
      return readAuth(reader)
    default:
      // v5 [MQTT-3.1.0-2], v3.1.1 [MQTT-3.1.0-2]: a second CONNECT. PUBLISH has a decoder of its own.
      throw protocolError('packet is not expected here')
  }
}

/**
 * The usual acknowledgement, read without allocating: nothing but a Packet Identifier, which means success.
 *
 * @returns the Packet Identifier; 0 when the body has anything else in it and is for {@link decodePacket}
 */
export function shortAckPacketId(buf: Uint8Array, bodyStart: number, bodyEnd: number): number {
  return bodyEnd - bodyStart === 2 ? uint16At(buf, bodyStart) : 0
}

/*
 * PUBACK, PUBREC, PUBREL, PUBCOMP, v5 sections 3.4 to 3.7:
 *
 *   Packet Identifier
 *   Reason Code   v5, may be left out together with the properties when it is 0
 *   properties    v5, may be left out when there are none
 */
function readAck(reader: BodyReader, type: AckPacket['type'], version: ProtocolVersion): AckPacket {
  const packetId = reader.packetId()
  let reasonCode: number = ReasonCode.success
  let properties = NO_PROPERTIES
  if (version === 5 && !reader.isAtEnd) {
    reasonCode = reader.byte()
    // v5 [MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1], [MQTT-3.7.2-1]
    const codes = type === PacketType.puback || type === PacketType.pubrec ? RECEIPT_CODES : RELEASE_CODES
    if (!codes.has(reasonCode)) throw protocolError('reason code of an acknowledgement')
    if (!reader.isAtEnd) properties = readProperties(reader, type)
  }
  reader.expectEnd()
  return { type, packetId, reasonCode, properties }
}

/*
 * SUBSCRIBE, v5 section 3.8 (v3.1.1 section 3.8):
 *
 *   Packet Identifier
 *   properties   v5
 *   (Topic Filter, options)+
 *     options v5     reserved (2 bits) | Retain Handling (2) | Retain As Published | No Local | QoS (2)
 *     options v3.x   reserved (6 bits) | QoS (2)
 */
function readSubscribe(reader: BodyReader, version: ProtocolVersion): SubscribePacket {
  const packetId = reader.packetId()
  const properties = version === 5 ? readProperties(reader, PacketType.subscribe) : NO_PROPERTIES
  const requests: SubscribeRequest[] = []
  while (!reader.isAtEnd) {
    const topicFilter = readFilter(reader, version)
    const options = reader.byte()
    requests.push(version === 5 ? subscribeRequest(topicFilter, options) : subscribeRequest3(topicFilter, options))
  }
  // v5 [MQTT-3.8.3-2], v3.1.1 [MQTT-3.8.3-3]
  if (requests.length === 0) throw protocolError('SUBSCRIBE without a topic filter')
  const subscriptionId = properties.subscriptionIdentifiers?.[0] ?? 0
  return { type: PacketType.subscribe, packetId, requests, subscriptionId, properties }
}

function subscribeRequest(topicFilter: string, options: number): SubscribeRequest {
  // v5 [MQTT-3.8.3-5]
  if ((options & 0xc0) !== 0) throw malformed('reserved subscription options')
  const qos = options & 3
  if (qos === 3) throw protocolError('subscription with QoS 3')
  const retainHandling = (options >> 4) & 3
  if (retainHandling === 3) throw protocolError('retain handling 3')
  const noLocal = (options & 0x04) !== 0
  // v5 [MQTT-3.8.3-4]
  if (noLocal && topicFilter.startsWith('$share/')) throw protocolError('no local on a shared subscription')
  return {
    topicFilter,
    qos: qos as Qos,
    noLocal,
    retainAsPublished: (options & 0x08) !== 0,
    retainHandling: retainHandling as 0 | 1 | 2,
  }
}

function subscribeRequest3(topicFilter: string, options: number): SubscribeRequest {
  // v3.1.1 [MQTT-3.8.3-4]: anything but 0, 1 and 2.
  if (options > 2) throw malformed('requested QoS')
  return { topicFilter, qos: options as Qos, noLocal: false, retainAsPublished: false, retainHandling: 0 }
}

/** Only the form, which makes the packet malformed: a filter that is not accepted is answered by the engine. */
function readFilter(reader: BodyReader, version: ProtocolVersion): string {
  const topicFilter = reader.text()
  if (checkFilterForm(topicFilter, version) !== 0) throw malformed('ill-formed topic filter')
  return topicFilter
}

/*
 * UNSUBSCRIBE, v5 section 3.10 (v3.1.1 section 3.10):
 *
 *   Packet Identifier
 *   properties   v5
 *   Topic Filter+
 */
function readUnsubscribe(reader: BodyReader, version: ProtocolVersion): UnsubscribePacket {
  const packetId = reader.packetId()
  const properties = version === 5 ? readProperties(reader, PacketType.unsubscribe) : NO_PROPERTIES
  const topicFilters: string[] = []
  while (!reader.isAtEnd) topicFilters.push(readFilter(reader, version))
  // v5 [MQTT-3.10.3-2], v3.1.1 [MQTT-3.10.3-2]
  if (topicFilters.length === 0) throw protocolError('UNSUBSCRIBE without a topic filter')
  return { type: PacketType.unsubscribe, packetId, topicFilters, properties }
}

/*
 * DISCONNECT, v5 section 3.14: Reason Code and properties, both may be left out. v3.x: an empty body.
 */
function readDisconnect(reader: BodyReader, version: ProtocolVersion): DisconnectPacket {
  let reasonCode: number = ReasonCode.success
  let properties = NO_PROPERTIES
  if (version === 5 && !reader.isAtEnd) {
    reasonCode = reader.byte()
    // v5 [MQTT-3.14.2-1]
    if (!DISCONNECT_CODES.has(reasonCode)) throw protocolError('reason code of DISCONNECT')
    if (!reader.isAtEnd) properties = readProperties(reader, PacketType.disconnect)
  }
  reader.expectEnd()
  return { type: PacketType.disconnect, reasonCode, properties }
}

/*
 * AUTH, v5 section 3.15: Reason Code and properties. The empty body means 0x00, which only a server may send.
 */
function readAuth(reader: BodyReader): AuthPacket {
  const reasonCode = reader.isAtEnd ? ReasonCode.success : reader.byte()
  // v5 [MQTT-3.15.2-1]; success is the server's word.
  if (reasonCode !== ReasonCode.continueAuthentication && reasonCode !== ReasonCode.reauthenticate) {
    throw protocolError('reason code of AUTH')
  }
  const properties = readProperties(reader, PacketType.auth)
  // v5 section 3.15.2.2.2
  if (properties.authenticationMethod === undefined) throw protocolError('AUTH without authentication method')
  reader.expectEnd()
  return { type: PacketType.auth, reasonCode, properties }
}
