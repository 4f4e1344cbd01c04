import { ProtocolError } from '../errors.ts'
import { PACKET_BYTES_MAX } from '../limits.ts'
import { EMPTY_BYTES } from '../message.ts'
import { type ConnectPacket, PacketType, type ProtocolVersion, type Qos, type Will } from '../packet.ts'
import { ReasonCode } from '../reason-code.ts'
import { isWellFormedUtf8 } from '../utf8.ts'
import { BodyReader, malformed } from './body-reader.ts'
import { byteAt, uint16At } from './bytes.ts'
import { NO_PROPERTIES, readProperties } from './decode-properties.ts'
import { copyForwardable, WILL_PROPERTIES } from './property.ts'

const HEADER_FLAGS = 0x0f
/** Bit 7 of the level, "private" in Mosquitto's words: a bridge of version 3.1 or 3.1.1. */
const BRIDGE_LEVEL_BIT = 0x80
const RESERVED_FLAG = 0x01
const CLEAN_START_FLAG = 0x02
const WILL_FLAG = 0x04
const WILL_RETAIN_FLAG = 0x20
const WILL_BITS = 0x38
const PASSWORD_FLAG = 0x40
const USERNAME_FLAG = 0x80
const CONNECT_FLAGS_AND_KEEP_ALIVE_BYTES = 3
const CLIENT_ID_CHARACTERS_MAX_V31 = 23

/** CONNECT names a protocol or a level that this codec does not speak; `reasonCode` is 0x84. */
export class UnsupportedProtocolError extends ProtocolError {
  /**
   * True when the name is one of MQTT's and only the level is unknown: then the client understands a CONNACK. After
   * another name a server may close without one. v5 [MQTT-3.1.2-1], v3.1.1 [MQTT-3.1.2-1].
   */
  readonly nameIsValid: boolean
  /** The client speaks a later version than 5, so it understands a CONNACK of v5. */
  readonly isLater: boolean

  constructor(nameIsValid: boolean, isLater: boolean) {
    super(ReasonCode.unsupportedProtocolVersion, nameIsValid ? 'unsupported protocol level' : 'unknown protocol name')
    this.nameIsValid = nameIsValid
    this.isLater = isLater
  }
}

/*
 * CONNECT, v5 section 3.1 (v3.1.1 section 3.1):
 *
 *   Protocol Name    UTF-8 string: `MQIsdp` (3.1) or `MQTT`
 *   Protocol Level   3 with `MQIsdp`, 4 or 5 with `MQTT`; 0x83 or 0x84 from a bridge
 *   Connect Flags    username | password | will retain | will QoS (2 bits) | will | clean start | reserved
 *   Keep Alive       Two Byte Integer
 *   properties       v5
 *   Client Identifier
 *   Will Properties (v5), Will Topic, Will Payload (binary)   if the will flag is set
 *   User Name                                                 if its flag is set
 *   Password (binary)                                         if its flag is set
 */

/** What can be known of a CONNECT that is malformed further on. */
export interface ConnectBeginning {
  /** 0 when the body does not begin with a name and level that this codec speaks. */
  version: ProtocolVersion | 0
  /** v5 Maximum Packet Size of the client, which binds the refusal too; the protocol's own bound when unknown. */
  packetBytesMax: number
}

/**
 * Decodes a CONNECT: its first byte and its body.
 *
 * All bytes in the result are copies.
 *
 * @throws {@link UnsupportedProtocolError} 0x84; {@link ProtocolError} with 0x81, 0x82, 0x85 (Client Identifier not
 * allowed), 0x90 (will topic, v5) or 0x99 (will payload is not the UTF-8 it claims to be)
 */
export function decodeConnect(firstByte: number, buf: Uint8Array, bodyStart: number, bodyEnd: number): ConnectPacket {
  const reader = new BodyReader(buf, bodyStart, bodyEnd)
  const { version, isBridge } = readProtocol(reader)
  // v5 [MQTT-2.1.3-1], v3.1.1 [MQTT-2.2.2-2]; MQTT 3.1 section 3.1 calls DUP, QoS and RETAIN of a CONNECT unused.
  if (version !== 3 && (firstByte & HEADER_FLAGS) !== 0) throw malformed('flags of CONNECT')
  const flags = reader.byte()
  checkFlags(flags, version)
  const keepAliveSeconds = reader.uint16()
  const properties = version === 5 ? readProperties(reader, PacketType.connect) : NO_PROPERTIES
  const clientId = reader.text()
  checkClientId(clientId, flags, version)
  const will = (flags & WILL_FLAG) === 0 ? undefined : readWill(reader, flags, version)
  const username = isPresent(reader, flags, USERNAME_FLAG, version) ? reader.text() : undefined
  const password = isPresent(reader, flags, PASSWORD_FLAG, version) ? reader.binary() : undefined
  reader.expectEnd()
  return {
    type: PacketType.connect,
    version,
    isBridge,
    cleanStart: (flags & CLEAN_START_FLAG) !== 0,
    keepAliveSeconds,
    clientId,
    will,
    username,
    password,
    properties,
  }
}

/**
 * Reads only the beginning of a CONNECT, so that a server can answer a malformed one in the client's own version and
 * within its Maximum Packet Size. Never throws.
 */
export function peekConnect(buf: Uint8Array, bodyStart: number, bodyEnd: number): ConnectBeginning {
  const beginning: ConnectBeginning = { version: 0, packetBytesMax: PACKET_BYTES_MAX }
  try {
    const reader = new BodyReader(buf, bodyStart, bodyEnd)
    beginning.version = readProtocol(reader).version
    if (beginning.version !== 5) return beginning
    reader.advance(CONNECT_FLAGS_AND_KEEP_ALIVE_BYTES)
    const { maximumPacketSize } = readProperties(reader, PacketType.connect)
    beginning.packetBytesMax = maximumPacketSize ?? PACKET_BYTES_MAX
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
  }
  return beginning
}

/** Protocol Name and Protocol Level. */
function readProtocol(reader: BodyReader): Pick<ConnectPacket, 'version' | 'isBridge'> {
  const length = uint16At(reader.buf, reader.advance(2))
  const start = reader.advance(length)
  if (isName(reader.buf, start, length, 'MQTT')) {
    const level = reader.byte()
    if (level === 5) return { version: 5, isBridge: false }
    if ((level & ~BRIDGE_LEVEL_BIT) === 4) return { version: 4, isBridge: level !== 4 }
    throw new UnsupportedProtocolError(true, level > 5)
  }
  if (isName(reader.buf, start, length, 'MQIsdp')) {
    const level = reader.byte()
    if ((level & ~BRIDGE_LEVEL_BIT) === 3) return { version: 3, isBridge: level !== 3 }
    throw new UnsupportedProtocolError(true, false)
  }
  throw new UnsupportedProtocolError(false, false)
}

function isName(buf: Uint8Array, start: number, length: number, name: string): boolean {
  if (length !== name.length) return false
  for (let i = 0; i < length; i++) {
    if (byteAt(buf, start + i) !== name.charCodeAt(i)) return false
  }
  return true
}

function checkFlags(flags: number, version: ProtocolVersion): void {
  const hasWill = (flags & WILL_FLAG) !== 0
  if (hasWill && (flags & 0x18) === 0x18) {
    // v5 [MQTT-3.1.2-12], v3.1.1 [MQTT-3.1.2-14]
    throw malformed('will QoS 3')
  }
  const hasPasswordOnly = (flags & (USERNAME_FLAG | PASSWORD_FLAG)) === PASSWORD_FLAG
  // v3.1.1 [MQTT-3.1.2-22]; MQTT 5 allows it.
  if (hasPasswordOnly && version !== 5) throw malformed('password without user name')
  // MQTT 3.1 leaves the reserved bit, and the will bits of a packet without will, unused.
  if (version === 3) return
  // [MQTT-3.1.2-3]
  if ((flags & RESERVED_FLAG) !== 0) throw malformed('reserved connect flag')
  // v5 [MQTT-3.1.2-11], [MQTT-3.1.2-13]; v3.1.1 [MQTT-3.1.2-11], [MQTT-3.1.2-13], [MQTT-3.1.2-15].
  if (!hasWill && (flags & WILL_BITS) !== 0) throw malformed('will QoS or retain without will')
}

function checkClientId(clientId: string, flags: number, version: ProtocolVersion): void {
  // MQTT 3.1 section 3.1: 1 to 23 characters.
  if (version === 3 && clientId.length > CLIENT_ID_CHARACTERS_MAX_V31) {
    throw new ProtocolError(ReasonCode.clientIdentifierNotValid, 'client identifier longer than 23 characters')
  }
  if (clientId.length > 0 || version === 5) return
  // v3.1.1 [MQTT-3.1.3-7], [MQTT-3.1.3-8]: an empty one wants Clean Session.
  if (version === 3 || (flags & CLEAN_START_FLAG) === 0) {
    throw new ProtocolError(ReasonCode.clientIdentifierNotValid, 'empty client identifier')
  }
}

/** MQTT 3.1 section 3.1: the Remaining Length has precedence over the user name and password flags. */
function isPresent(reader: BodyReader, flags: number, flag: number, version: ProtocolVersion): boolean {
  return (flags & flag) !== 0 && !(version === 3 && reader.isAtEnd)
}

function readWill(reader: BodyReader, flags: number, version: ProtocolVersion): Will {
  const listStart = reader.at
  const properties = version === 5 ? readProperties(reader, WILL_PROPERTIES) : NO_PROPERTIES
  const listEnd = reader.at
  const topicName = reader.text()
  if (topicName.length === 0 || topicName.includes('#') || topicName.includes('+')) {
    // [MQTT-4.7.3-1], [MQTT-4.7.1-1] (v5: [MQTT-4.7.0-1]); a 3.x server has no return code for it and just closes.
    const code = version === 5 ? ReasonCode.topicNameInvalid : ReasonCode.malformedPacket
    throw new ProtocolError(code, 'will topic is not a topic name')
  }
  const payload = reader.binary()
  if (properties.payloadFormatIndicator === 1 && !isWellFormedUtf8(payload, 0, payload.length)) {
    throw new ProtocolError(ReasonCode.payloadFormatInvalid, 'will payload is not UTF-8')
  }
  return {
    topicName,
    payload,
    qos: ((flags >> 3) & 3) as Qos,
    retain: (flags & WILL_RETAIN_FLAG) !== 0,
    willDelaySeconds: properties.willDelayInterval ?? 0,
    messageExpirySeconds: properties.messageExpiryInterval,
    properties: properties === NO_PROPERTIES ? EMPTY_BYTES : forwardableBlock(reader.buf, listStart, listEnd),
  }
}

/** @param start - at the Property Length, which has been checked */
function forwardableBlock(buf: Uint8Array, start: number, end: number): Uint8Array {
  let at = start
  while (byteAt(buf, at) >= 0x80) at++
  return copyForwardable(buf, at + 1, end)
}
