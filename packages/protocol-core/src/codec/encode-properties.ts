import { STRING_BYTES_MAX } from '../limits.ts'
import { EMPTY_BYTES } from '../message.ts'
import type { Properties } from '../packet.ts'
import { encodeUtf8 } from '../utf8.ts'
import { varintLength, writeBytes, writeUint16, writeUint32, writeVarint } from './bytes.ts'
import { isForwardable, PropertyId, WireType, wireTypeOf } from './property.ts'

type NumberKey = {
  [K in keyof Properties]-?: NonNullable<Properties[K]> extends number ? K : never
}[keyof Properties]
type TextKey = { [K in keyof Properties]-?: NonNullable<Properties[K]> extends string ? K : never }[keyof Properties]
type BytesKey = 'correlationData' | 'authenticationData'

const numberKeys: readonly (readonly [NumberKey, number])[] = [
  ['payloadFormatIndicator', PropertyId.payloadFormatIndicator],
  ['messageExpiryInterval', PropertyId.messageExpiryInterval],
  ['sessionExpiryInterval', PropertyId.sessionExpiryInterval],
  ['serverKeepAlive', PropertyId.serverKeepAlive],
  ['requestProblemInformation', PropertyId.requestProblemInformation],
  ['willDelayInterval', PropertyId.willDelayInterval],
  ['requestResponseInformation', PropertyId.requestResponseInformation],
  ['receiveMaximum', PropertyId.receiveMaximum],
  ['topicAliasMaximum', PropertyId.topicAliasMaximum],
  ['topicAlias', PropertyId.topicAlias],
  ['maximumQos', PropertyId.maximumQos],
  ['retainAvailable', PropertyId.retainAvailable],
  ['maximumPacketSize', PropertyId.maximumPacketSize],
  ['wildcardSubscriptionAvailable', PropertyId.wildcardSubscriptionAvailable],
  ['subscriptionIdentifierAvailable', PropertyId.subscriptionIdentifierAvailable],
  ['sharedSubscriptionAvailable', PropertyId.sharedSubscriptionAvailable],
]
const textKeys: readonly (readonly [TextKey, number])[] = [
  ['contentType', PropertyId.contentType],
  ['responseTopic', PropertyId.responseTopic],
  ['assignedClientIdentifier', PropertyId.assignedClientIdentifier],
  ['authenticationMethod', PropertyId.authenticationMethod],
  ['responseInformation', PropertyId.responseInformation],
  ['serverReference', PropertyId.serverReference],
  ['reasonString', PropertyId.reasonString],
]
const bytesKeys: readonly (readonly [BytesKey, number])[] = [
  ['correlationData', PropertyId.correlationData],
  ['authenticationData', PropertyId.authenticationData],
]

/**
 * Encodes a property list without its length: numbers, then strings, binary data, Subscription Identifiers and User
 * Properties (in their order). The standard leaves the order of different properties open.
 *
 * Writes what it is given; whether a packet may have a property is the caller's to know.
 *
 * @throws RangeError for a string or binary value over 65,535 bytes: nothing on the wire can express it
 */
export function encodePropertyList(properties: Properties): Uint8Array {
  return encodeSelected(properties, everything)
}

/**
 * Encodes the properties of a message that a server hands on, see `Message.properties`; others are left out.
 *
 * @throws RangeError for a string or binary value over 65,535 bytes
 */
export function encodeForwardableProperties(properties: Properties): Uint8Array {
  return encodeSelected(properties, isForwardable)
}

function everything(): boolean {
  return true
}

function encodeSelected(properties: Properties, isWanted: (id: number) => boolean): Uint8Array {
  const parts: Uint8Array[] = []
  for (const [key, id] of numberKeys) {
    const value = properties[key]
    if (value !== undefined && isWanted(id)) parts.push(numberPart(id, value))
  }
  for (const [key, id] of textKeys) {
    const text = properties[key]
    if (text !== undefined && isWanted(id)) parts.push(prefixedPart([id], encodeUtf8(text)))
  }
  for (const [key, id] of bytesKeys) {
    const bytes = properties[key]
    if (bytes !== undefined && isWanted(id)) parts.push(prefixedPart([id], bytes))
  }
  if (isWanted(PropertyId.subscriptionIdentifier)) {
    for (const id of properties.subscriptionIdentifiers ?? []) {
      parts.push(numberPart(PropertyId.subscriptionIdentifier, id))
    }
  }
  for (const [name, value] of properties.userProperties ?? []) {
    parts.push(prefixedPart([PropertyId.userProperty], encodeUtf8(name)), prefixedPart([], encodeUtf8(value)))
  }
  return joined(parts)
}

function numberPart(id: number, value: number): Uint8Array {
  const part = new Uint8Array(5)
  part[0] = id
  switch (wireTypeOf(id)) {
    case WireType.byte:
      part[1] = value
      return part.subarray(0, 2)
    case WireType.uint16:
      return part.subarray(0, writeUint16(part, 1, value))
    case WireType.uint32:
      return part.subarray(0, writeUint32(part, 1, value))
    default:
      return part.subarray(0, writeVarint(part, 1, value))
  }
}

function prefixedPart(head: readonly number[], bytes: Uint8Array): Uint8Array {
  if (bytes.length > STRING_BYTES_MAX) throw new RangeError('property value is longer than 65,535 bytes')
  const part = new Uint8Array(head.length + 2 + bytes.length)
  part.set(head)
  writeBytes(part, writeUint16(part, head.length, bytes.length), bytes)
  return part
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  if (length === 0) return EMPTY_BYTES
  const all = new Uint8Array(length)
  let at = 0
  for (const part of parts) at = writeBytes(all, at, part)
  return all
}

/** @returns bytes of Property Length and list together. */
export function propertyFieldSize(list: Uint8Array): number {
  return varintLength(list.length) + list.length
}

/** Writes Property Length and list; returns the next offset. */
export function writePropertyField(target: Uint8Array, offset: number, list: Uint8Array): number {
  return writeBytes(target, writeVarint(target, offset, list.length), list)
}
