import { PacketType } from '../packet.ts'
import { ReasonCode } from '../reason-code.ts'
import { byteAt, scanVarint, uint16At } from './bytes.ts'

/** Property identifiers. Spec: v5 table 2-4. */
export const PropertyId = {
  payloadFormatIndicator: 0x01,
  messageExpiryInterval: 0x02,
  contentType: 0x03,
  responseTopic: 0x08,
  correlationData: 0x09,
  subscriptionIdentifier: 0x0b,
  sessionExpiryInterval: 0x11,
  assignedClientIdentifier: 0x12,
  serverKeepAlive: 0x13,
  authenticationMethod: 0x15,
  authenticationData: 0x16,
  requestProblemInformation: 0x17,
  willDelayInterval: 0x18,
  requestResponseInformation: 0x19,
  responseInformation: 0x1a,
  serverReference: 0x1c,
  reasonString: 0x1f,
  receiveMaximum: 0x21,
  topicAliasMaximum: 0x22,
  topicAlias: 0x23,
  maximumQos: 0x24,
  retainAvailable: 0x25,
  userProperty: 0x26,
  maximumPacketSize: 0x27,
  wildcardSubscriptionAvailable: 0x28,
  subscriptionIdentifierAvailable: 0x29,
  sharedSubscriptionAvailable: 0x2a,
} as const

/** Data types of v5 section 1.5 as they occur in properties; 0 is "no such property". */
export const WireType = { unknown: 0, byte: 1, uint16: 2, uint32: 3, varint: 4, text: 5, binary: 6, pair: 7 } as const

/** Stands for the Will Properties where a packet type is asked for: type 0 is reserved on the wire. */
export const WILL_PROPERTIES = 0

/**
 * A property that its packet may not have: "not valid for its packet type" makes a Malformed Packet.
 * Spec: v5 section 2.2.2.2.
 */
export const MISPLACED_PROPERTY: number = ReasonCode.malformedPacket

const ID_COUNT = 0x2b
const wireTypes: Uint8Array = new Uint8Array(ID_COUNT)
const allowedIn: Uint16Array = new Uint16Array(ID_COUNT)

const { connect, connack, publish, puback, pubrec, pubrel, pubcomp, subscribe, suback, unsubscribe, unsuback } =
  PacketType
const { disconnect, auth } = PacketType
const answers = [connack, puback, pubrec, pubrel, pubcomp, suback, unsuback, disconnect, auth]

/** v5 table 2-4: identifier, data type, packets. */
const catalogue: readonly (readonly [id: number, wireType: number, packets: readonly number[]])[] = [
  [PropertyId.payloadFormatIndicator, WireType.byte, [publish, WILL_PROPERTIES]],
  [PropertyId.messageExpiryInterval, WireType.uint32, [publish, WILL_PROPERTIES]],
  [PropertyId.contentType, WireType.text, [publish, WILL_PROPERTIES]],
  [PropertyId.responseTopic, WireType.text, [publish, WILL_PROPERTIES]],
  [PropertyId.correlationData, WireType.binary, [publish, WILL_PROPERTIES]],
  [PropertyId.subscriptionIdentifier, WireType.varint, [publish, subscribe]],
  [PropertyId.sessionExpiryInterval, WireType.uint32, [connect, connack, disconnect]],
  [PropertyId.assignedClientIdentifier, WireType.text, [connack]],
  [PropertyId.serverKeepAlive, WireType.uint16, [connack]],
  [PropertyId.authenticationMethod, WireType.text, [connect, connack, auth]],
  [PropertyId.authenticationData, WireType.binary, [connect, connack, auth]],
  [PropertyId.requestProblemInformation, WireType.byte, [connect]],
  [PropertyId.willDelayInterval, WireType.uint32, [WILL_PROPERTIES]],
  [PropertyId.requestResponseInformation, WireType.byte, [connect]],
  [PropertyId.responseInformation, WireType.text, [connack]],
  [PropertyId.serverReference, WireType.text, [connack, disconnect]],
  [PropertyId.reasonString, WireType.text, answers],
  [PropertyId.receiveMaximum, WireType.uint16, [connect, connack]],
  [PropertyId.topicAliasMaximum, WireType.uint16, [connect, connack]],
  [PropertyId.topicAlias, WireType.uint16, [publish]],
  [PropertyId.maximumQos, WireType.byte, [connack]],
  [PropertyId.retainAvailable, WireType.byte, [connack]],
  [PropertyId.userProperty, WireType.pair, [...answers, connect, publish, WILL_PROPERTIES, subscribe, unsubscribe]],
  [PropertyId.maximumPacketSize, WireType.uint32, [connect, connack]],
  [PropertyId.wildcardSubscriptionAvailable, WireType.byte, [connack]],
  [PropertyId.subscriptionIdentifierAvailable, WireType.byte, [connack]],
  [PropertyId.sharedSubscriptionAvailable, WireType.byte, [connack]],
]
for (const [id, wireType, packets] of catalogue) {
  wireTypes[id] = wireType
  for (const packet of packets) allowedIn[id] = (allowedIn[id] ?? 0) | (1 << packet)
}

/** @returns the data type of a property, `WireType.unknown` for an identifier the standard does not have. */
export function wireTypeOf(id: number): number {
  return wireTypes[id] ?? WireType.unknown
}

/** @param packet - a packet type or {@link WILL_PROPERTIES} */
export function isAllowedIn(id: number, packet: number): boolean {
  return ((allowedIn[id] ?? 0) & (1 << packet)) !== 0
}

/** Properties that a server hands on unaltered, see `Message.properties`. */
export function isForwardable(id: number): boolean {
  switch (id) {
    case PropertyId.payloadFormatIndicator:
    case PropertyId.contentType:
    case PropertyId.responseTopic:
    case PropertyId.correlationData:
    case PropertyId.userProperty:
      return true
    default:
      return false
  }
}

/**
 * Finds the end of the value that follows a property identifier; looks at lengths only.
 *
 * @returns the offset behind the value; -1 when `end` comes first or a Variable Byte Integer is malformed
 */
export function propertyValueEnd(wireType: number, buf: Uint8Array, start: number, end: number): number {
  let next = -1
  switch (wireType) {
    case WireType.byte:
      next = start + 1
      break
    case WireType.uint16:
      next = start + 2
      break
    case WireType.uint32:
      next = start + 4
      break
    case WireType.varint: {
      const scanned = scanVarint(buf, start, end)
      next = scanned <= 0 ? -1 : start + (scanned & 7)
      break
    }
    case WireType.text:
    case WireType.binary:
      next = prefixedEnd(buf, start, end)
      break
    case WireType.pair:
      next = prefixedEnd(buf, start, end)
      if (next >= 0) next = prefixedEnd(buf, next, end)
      break
    default:
      return -1
  }
  return next <= end ? next : -1
}

function prefixedEnd(buf: Uint8Array, start: number, end: number): number {
  if (start + 2 > end) return -1
  const next = start + 2 + uint16At(buf, start)
  return next <= end ? next : -1
}

/**
 * Copies the forwardable properties out of a property list that has been checked, in their order.
 *
 * @param start - first byte after the Property Length
 */
export function copyForwardable(buf: Uint8Array, start: number, end: number): Uint8Array {
  const block = new Uint8Array(end - start)
  let length = 0
  for (let at = start; at < end; ) {
    const id = byteAt(buf, at)
    const next = propertyValueEnd(wireTypeOf(id), buf, at + 1, end)
    if (next < 0) break
    if (isForwardable(id)) {
      block.set(buf.subarray(at, next), length)
      length += next - at
    }
    at = next
  }
  return block.subarray(0, length)
}
