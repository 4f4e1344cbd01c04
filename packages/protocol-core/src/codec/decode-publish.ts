import { EMPTY_BYTES } from '../message.ts'
import type { ProtocolVersion, Qos } from '../packet.ts'
import { ReasonCode } from '../reason-code.ts'
import { isValidUtf8 } from '../utf8.ts'
import { byteAt, scanVarint, uint16At, uint32At } from './bytes.ts'
import {
  copyForwardable,
  isAllowedIn,
  isForwardable,
  MISPLACED_PROPERTY,
  PropertyId,
  propertyValueEnd,
  WireType,
  wireTypeOf,
} from './property.ts'

const PUBLISH = 3
const PLUS = 0x2b
const HASH = 0x23

/**
 * A received PUBLISH as offsets into the receive buffer.
 *
 * One instance per connection is filled again and again, so nothing of it may be kept beyond the next
 * {@link decodePublish}; after an error the fields are meaningless.
 */
export class PublishView {
  qos: Qos
  dup: boolean
  retain: boolean
  /** 0 at QoS 0. */
  packetId: number
  /** The Topic Name is not checked here: the engine does that when it sees a name for the first time. */
  topicStart: number
  topicEnd: number
  /** 0 for none. */
  topicAlias: number
  /** -1 for none. */
  messageExpirySeconds: number
  /** 0 bytes, 1 UTF-8, -1 not stated. */
  payloadFormat: number
  /** See `Message.properties`; a view of the receive buffer where the client's own order allows it. */
  properties: Uint8Array
  payloadStart: number
  payloadEnd: number

  constructor() {
    this.qos = 0
    this.dup = false
    this.retain = false
    this.packetId = 0
    this.topicStart = 0
    this.topicEnd = 0
    this.topicAlias = 0
    this.messageExpirySeconds = -1
    this.payloadFormat = -1
    this.properties = EMPTY_BYTES
    this.payloadStart = 0
    this.payloadEnd = 0
  }
}

/*
 * PUBLISH, v5 section 3.3 (v3.1.1 section 3.3):
 *
 *   byte 0        3 (4 bits) | DUP | QoS (2 bits) | RETAIN
 *   body          Topic Name            UTF-8 string
 *                 Packet Identifier     Two Byte Integer, only at QoS 1 and 2
 *                 Property Length       Variable Byte Integer, v5
 *                 properties            v5
 *                 payload               the rest
 */

/**
 * Decodes a PUBLISH sent by a client into `view`.
 *
 * Allocates nothing unless there are properties. Left to the caller: validity of the Topic Name, the Topic Alias
 * (range and meaning), whether the payload is UTF-8 where `payloadFormat` is 1.
 *
 * @param buf - holds the whole body, `bodyStart` to `bodyEnd`
 * @returns 0, or the reason code to close the connection with
 */
export function decodePublish(
  view: PublishView,
  firstByte: number,
  buf: Uint8Array,
  bodyStart: number,
  bodyEnd: number,
  version: ProtocolVersion,
): number {
  const qos = (firstByte >> 1) & 3
  // [MQTT-3.3.1-4]: both QoS bits set.
  if (qos === 3) return ReasonCode.malformedPacket
  const dup = (firstByte & 0x08) !== 0
  // [MQTT-3.3.1-2]
  if (dup && qos === 0) return ReasonCode.malformedPacket
  let at = bodyStart + 2
  if (at > bodyEnd) return ReasonCode.malformedPacket
  const topicStart = at
  at += uint16At(buf, bodyStart)
  const topicEnd = at
  if (qos !== 0) at += 2
  if (at > bodyEnd) return ReasonCode.malformedPacket
  view.packetId = 0
  if (qos !== 0) {
    const packetId = uint16At(buf, topicEnd)
    // v5 [MQTT-2.2.1-3], v3.1.1 [MQTT-2.3.1-1]
    if (packetId === 0) return ReasonCode.protocolError
    view.packetId = packetId
  }
  view.qos = qos as Qos
  view.dup = dup
  view.retain = (firstByte & 0x01) !== 0
  view.topicStart = topicStart
  view.topicEnd = topicEnd
  view.topicAlias = 0
  view.messageExpirySeconds = -1
  view.payloadFormat = -1
  view.properties = EMPTY_BYTES
  if (version === 5) {
    const problem = readPropertyList(view, buf, at, bodyEnd)
    if (problem !== 0) return problem
  } else {
    view.payloadStart = at
  }
  view.payloadEnd = bodyEnd
  if (topicStart === topicEnd && view.topicAlias === 0) {
    // v5 section 3.3.2.1: without an alias an empty name is a Protocol Error. v3.1.1 [MQTT-4.7.3-1].
    return version === 5 ? ReasonCode.protocolError : ReasonCode.malformedPacket
  }
  return ReasonCode.success
}

/** Reads Property Length and properties; sets `payloadStart`. */
function readPropertyList(view: PublishView, buf: Uint8Array, start: number, bodyEnd: number): number {
  // The usual case, no properties at all.
  if (start < bodyEnd && byteAt(buf, start) === 0) {
    view.payloadStart = start + 1
    return ReasonCode.success
  }
  const scanned = scanVarint(buf, start, bodyEnd)
  if (scanned <= 0) return ReasonCode.malformedPacket
  const listStart = start + (scanned & 7)
  const listEnd = listStart + (scanned >>> 3)
  if (listEnd > bodyEnd) return ReasonCode.malformedPacket
  view.payloadStart = listEnd
  return readProperties(view, buf, listStart, listEnd)
}

function readProperties(view: PublishView, buf: Uint8Array, start: number, end: number): number {
  // Every property of a PUBLISH has an identifier below 64, so two words remember which were seen.
  let seenLow = 0
  let seenHigh = 0
  let forwardStart = -1
  let forwardEnd = -1
  let forwardBytes = 0
  for (let at = start; at < end; ) {
    const id = byteAt(buf, at)
    const wireType = wireTypeOf(id)
    const next = propertyValueEnd(wireType, buf, at + 1, end)
    if (next < 0) return ReasonCode.malformedPacket
    if (!isAllowedIn(id, PUBLISH)) return MISPLACED_PROPERTY
    if (id !== PropertyId.userProperty) {
      const bit = 1 << (id & 31)
      // v5 section 2.2.2.2 and the section of each property: more than once is a Protocol Error.
      if (((id < 32 ? seenLow : seenHigh) & bit) !== 0) return ReasonCode.protocolError
      if (id < 32) seenLow |= bit
      else seenHigh |= bit
    }
    const problem = takeProperty(view, id, wireType, buf, at + 1, next)
    if (problem !== 0) return problem
    if (isForwardable(id)) {
      if (forwardStart < 0) forwardStart = at
      forwardEnd = next
      forwardBytes += next - at
    }
    at = next
  }
  if (forwardBytes === 0) return ReasonCode.success
  // v5 [MQTT-3.3.2-4], [MQTT-3.3.2-15] to [MQTT-3.3.2-20]: unaltered and, for User Properties, in order.
  view.properties =
    forwardEnd - forwardStart === forwardBytes
      ? buf.subarray(forwardStart, forwardEnd)
      : copyForwardable(buf, forwardStart, forwardEnd)
  return ReasonCode.success
}

function takeProperty(
  view: PublishView,
  id: number,
  wireType: number,
  buf: Uint8Array,
  start: number,
  end: number,
): number {
  switch (id) {
    case PropertyId.payloadFormatIndicator:
      view.payloadFormat = byteAt(buf, start)
      return view.payloadFormat > 1 ? ReasonCode.protocolError : ReasonCode.success
    case PropertyId.messageExpiryInterval:
      view.messageExpirySeconds = uint32At(buf, start)
      return ReasonCode.success
    case PropertyId.topicAlias:
      view.topicAlias = uint16At(buf, start)
      // v5 [MQTT-3.3.2-8]
      return view.topicAlias === 0 ? ReasonCode.topicAliasInvalid : ReasonCode.success
    case PropertyId.subscriptionIdentifier:
      // v5 [MQTT-3.3.4-6]: only a server sends these in a PUBLISH.
      return ReasonCode.protocolError
    case PropertyId.responseTopic:
      return responseTopicProblem(buf, start + 2, end)
    default:
      return isTextValid(wireType, buf, start, end) ? ReasonCode.success : ReasonCode.malformedPacket
  }
}

/**
 * Checks a Response Topic (without its length): a Topic Name of at least one character and without wildcards.
 *
 * @returns 0 or a reason code
 *
 * Spec: v5 [MQTT-3.3.2-13], [MQTT-3.3.2-14], [MQTT-4.7.3-1].
 */
export function responseTopicProblem(buf: Uint8Array, start: number, end: number): number {
  if (!isValidUtf8(buf, start, end)) return ReasonCode.malformedPacket
  if (start === end) return ReasonCode.protocolError
  for (let at = start; at < end; at++) {
    const byte = byteAt(buf, at)
    if (byte === PLUS || byte === HASH) return ReasonCode.protocolError
  }
  return ReasonCode.success
}

/** True for properties without text, and for text and pairs of text that are valid UTF-8. */
function isTextValid(wireType: number, buf: Uint8Array, start: number, end: number): boolean {
  if (wireType !== WireType.text && wireType !== WireType.pair) return true
  for (let at = start; at < end; ) {
    const next = at + 2 + uint16At(buf, at)
    if (!isValidUtf8(buf, at + 2, next)) return false
    at = next
  }
  return true
}
