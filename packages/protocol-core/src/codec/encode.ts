import { EMPTY_BYTES } from '../message.ts'
import { PacketType, type Properties, type ProtocolVersion } from '../packet.ts'
import { varintLength, writeUint16, writeVarint } from './bytes.ts'
import { encodePropertyList, propertyFieldSize, writePropertyField } from './encode-properties.ts'

/** Types that {@link encodeAck} writes. */
export type AckType =
  | typeof PacketType.puback
  | typeof PacketType.pubrec
  | typeof PacketType.pubrel
  | typeof PacketType.pubcomp

/** PINGRESP, the same two bytes in every version. Spec: section 3.13. */
export const PINGRESP_BYTES: Uint8Array = Uint8Array.of(PacketType.pingresp << 4, 0)

/*
 * CONNACK, v5 section 3.2 (v3.1.1 section 3.2):
 *
 *   reserved (7 bits) | Session Present
 *   Reason Code (v5) or return code
 *   properties   v5
 */

/**
 * Encodes CONNACK.
 *
 * @param sessionPresent - ignored (0) when `code` refuses, v5 [MQTT-3.2.2-6], v3.1.1 [MQTT-3.2.2-4], and in MQTT 3.1,
 * where the byte is unused
 * @param code - Reason Code in v5, return code before
 */
export function encodeConnack(
  version: ProtocolVersion,
  sessionPresent: boolean,
  code: number,
  properties?: Properties,
): Uint8Array {
  const present = sessionPresent && code === 0 && version !== 3 ? 1 : 0
  if (version !== 5) return Uint8Array.of(PacketType.connack << 4, 2, present, code)
  const list = listOf(properties)
  const frame = newFrame(PacketType.connack << 4, 2 + propertyFieldSize(list))
  const at = frame.length - propertyFieldSize(list)
  frame[at - 2] = present
  frame[at - 1] = code
  writePropertyField(frame, at, list)
  return frame
}

/*
 * PUBACK, PUBREC, PUBREL, PUBCOMP: see the decoder. The shortest form is always used: without Property Length when
 * there are no properties, and in v5 without Reason Code when that is 0.
 */

/** Encodes PUBACK, PUBREC, PUBREL or PUBCOMP; before v5 reason code and properties do not exist and are left out. */
export function encodeAck(
  version: ProtocolVersion,
  type: AckType,
  packetId: number,
  reasonCode: number,
  properties?: Properties,
): Uint8Array {
  const list = version === 5 ? listOf(properties) : EMPTY_BYTES
  if (list.length === 0) {
    const frame = new Uint8Array(shortAckSize(version, reasonCode))
    writeAck(frame, 0, version, type, packetId, reasonCode)
    return frame
  }
  const frame = newFrame(ackFirstByte(type), 3 + propertyFieldSize(list))
  const at = frame.length - propertyFieldSize(list)
  writeUint16(frame, at - 3, packetId)
  frame[at - 1] = reasonCode
  writePropertyField(frame, at, list)
  return frame
}

/** @returns bytes that {@link writeAck} writes: 4, or 5 with a reason code other than 0 in v5 */
export function shortAckSize(version: ProtocolVersion, reasonCode: number): number {
  return version === 5 && reasonCode !== 0 ? 5 : 4
}

/**
 * Writes an acknowledgement without properties straight into an output buffer.
 *
 * @returns the offset behind it
 */
export function writeAck(
  target: Uint8Array,
  offset: number,
  version: ProtocolVersion,
  type: AckType,
  packetId: number,
  reasonCode: number,
): number {
  const withCode = version === 5 && reasonCode !== 0
  target[offset] = ackFirstByte(type)
  target[offset + 1] = withCode ? 3 : 2
  target[offset + 2] = packetId >>> 8
  target[offset + 3] = packetId
  if (!withCode) return offset + 4
  target[offset + 4] = reasonCode
  return offset + 5
}

/** v5 [MQTT-3.6.1-1], v3.1.1 [MQTT-3.6.1-1]: PUBREL has the flags 0010. */
function ackFirstByte(type: AckType): number {
  return type === PacketType.pubrel ? 0x62 : type << 4
}

/*
 * SUBACK, v5 section 3.9 (v3.1.1 section 3.9): Packet Identifier, properties (v5), one code per Topic Filter.
 */

/**
 * Encodes SUBACK.
 *
 * @param codes - one Reason Code per filter, in the order of the SUBSCRIBE, [MQTT-3.9.3-1]; before v5 every failure
 * becomes 0x80, v3.1.1 [MQTT-3.9.3-2]
 */
export function encodeSuback(
  version: ProtocolVersion,
  packetId: number,
  codes: readonly number[],
  properties?: Properties,
): Uint8Array {
  const known = version === 5 ? codes : codes.map(code => (code > 2 ? 0x80 : code))
  return encodeCodes(PacketType.suback << 4, version, packetId, known, properties)
}

/*
 * UNSUBACK, v5 section 3.11: Packet Identifier, properties, one code per Topic Filter. v3.x: Packet Identifier.
 */

/** Encodes UNSUBACK; before v5 it has no codes. v5 [MQTT-3.11.3-1] order of the codes. */
export function encodeUnsuback(
  version: ProtocolVersion,
  packetId: number,
  codes: readonly number[],
  properties?: Properties,
): Uint8Array {
  return encodeCodes(PacketType.unsuback << 4, version, packetId, version === 5 ? codes : [], properties)
}

/** @returns bytes of a v5 SUBACK or UNSUBACK with so many codes and no properties */
export function codesAnswerSize(codes: number): number {
  const body = 3 + codes
  return 1 + varintLength(body) + body
}

function encodeCodes(
  firstByte: number,
  version: ProtocolVersion,
  packetId: number,
  codes: readonly number[],
  properties: Properties | undefined,
): Uint8Array {
  const list = version === 5 ? listOf(properties) : EMPTY_BYTES
  const fieldSize = version === 5 ? propertyFieldSize(list) : 0
  const body = 2 + fieldSize + codes.length
  const frame = newFrame(firstByte, body)
  const at = writeUint16(frame, frame.length - body, packetId)
  if (version === 5) writePropertyField(frame, at, list)
  frame.set(codes, at + fieldSize)
  return frame
}

/*
 * DISCONNECT and AUTH, v5 sections 3.14 and 3.15: Reason Code and properties, in the shortest form.
 */

/** Encodes DISCONNECT; servers send it in v5 only. */
export function encodeDisconnect(reasonCode: number, properties?: Properties): Uint8Array {
  const list = listOf(properties)
  const firstByte = PacketType.disconnect << 4
  if (list.length > 0) return encodeCodeAndList(firstByte, reasonCode, list)
  return reasonCode === 0 ? Uint8Array.of(firstByte, 0) : Uint8Array.of(firstByte, 1, reasonCode)
}

/** Encodes AUTH; v5 only. The standard wants an Authentication Method unless the whole body is left out. */
export function encodeAuth(reasonCode: number, properties?: Properties): Uint8Array {
  const list = listOf(properties)
  const firstByte = PacketType.auth << 4
  if (list.length === 0 && reasonCode === 0) return Uint8Array.of(firstByte, 0)
  return encodeCodeAndList(firstByte, reasonCode, list)
}

function encodeCodeAndList(firstByte: number, reasonCode: number, list: Uint8Array): Uint8Array {
  const fieldSize = propertyFieldSize(list)
  const frame = newFrame(firstByte, 1 + fieldSize)
  frame[frame.length - fieldSize - 1] = reasonCode
  writePropertyField(frame, frame.length - fieldSize, list)
  return frame
}

function listOf(properties: Properties | undefined): Uint8Array {
  return properties === undefined ? EMPTY_BYTES : encodePropertyList(properties)
}

/** A frame with its fixed header written; the body is its last `bodyLength` bytes. */
function newFrame(firstByte: number, bodyLength: number): Uint8Array {
  const frame = new Uint8Array(1 + varintLength(bodyLength) + bodyLength)
  frame[0] = firstByte
  writeVarint(frame, 1, bodyLength)
  return frame
}
