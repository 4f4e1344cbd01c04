import type { ProtocolVersion, Qos } from '../packet.ts'
import { byteAt, uint16At, varintLength, writeBytes, writeUint16, writeUint32, writeVarint } from './bytes.ts'
import { PropertyId } from './property.ts'

/*
 * PUBLISH as a server sends it:
 *
 *   3 | DUP | QoS | RETAIN,  Remaining Length
 *   Topic Name          empty when the Topic Alias alone names the topic
 *   Packet Identifier   only at QoS 1 and 2
 *   Property Length     v5
 *     Message Expiry Interval, Topic Alias, Subscription Identifiers, then the publisher's own block as it came
 *   payload
 *
 * Before v5 there are no properties. User Properties stay in order because the block is copied as a whole,
 * v5 [MQTT-3.3.2-18].
 */

/**
 * Size of a PUBLISH frame; what {@link writePublish} with the same values writes.
 *
 * @param properties - the forwardable block, see `Message.properties`
 * @param expirySeconds - remaining Message Expiry Interval, -1 for none
 * @param subscriptionIds - `undefined` for none
 * @param topicAlias - 0 for none
 * @param sendTopic - false leaves the name out; only with a Topic Alias, v5 section 3.3.2.3.4
 * @returns bytes of the whole frame, fixed header included
 */
export function publishSize(
  version: ProtocolVersion,
  topicBytes: Uint8Array,
  qos: Qos,
  properties: Uint8Array,
  expirySeconds: number,
  subscriptionIds: readonly number[] | undefined,
  topicAlias: number,
  sendTopic: boolean,
  payloadLength: number,
): number {
  let body = 2 + (qos === 0 ? 0 : 2) + (sendTopic ? topicBytes.length : 0) + payloadLength
  if (version === 5) {
    const length = propertiesLength(properties, expirySeconds, subscriptionIds, topicAlias)
    body += varintLength(length) + length
  }
  return 1 + varintLength(body) + body
}

/**
 * Writes a PUBLISH frame at `offset`; there must be room for {@link publishSize} bytes.
 *
 * Positional arguments, because an options object per delivery would be garbage of the hottest path.
 *
 * @param packetId - ignored at QoS 0; may be patched later, see {@link packetIdOffset}
 * @returns the offset behind the frame
 */
export function writePublish(
  target: Uint8Array,
  offset: number,
  version: ProtocolVersion,
  topicBytes: Uint8Array,
  payload: Uint8Array,
  qos: Qos,
  dup: boolean,
  retain: boolean,
  packetId: number,
  properties: Uint8Array,
  expirySeconds: number,
  subscriptionIds: readonly number[] | undefined,
  topicAlias: number,
  sendTopic: boolean,
): number {
  const topicLength = sendTopic ? topicBytes.length : 0
  let body = 2 + (qos === 0 ? 0 : 2) + topicLength + payload.length
  let listLength = 0
  if (version === 5) {
    listLength = propertiesLength(properties, expirySeconds, subscriptionIds, topicAlias)
    body += varintLength(listLength) + listLength
  }
  target[offset] = 0x30 | (dup ? 0x08 : 0) | (qos << 1) | (retain ? 0x01 : 0)
  let at = writeVarint(target, offset + 1, body)
  at = writeUint16(target, at, topicLength)
  if (sendTopic) at = writeBytes(target, at, topicBytes)
  if (qos !== 0) at = writeUint16(target, at, packetId)
  if (version === 5) {
    at = writeVarint(target, at, listLength)
    if (listLength !== 0) at = writeList(target, at, properties, expirySeconds, subscriptionIds, topicAlias)
  }
  return writeBytes(target, at, payload)
}

/**
 * Where the Packet Identifier of a written QoS 1 or 2 PUBLISH is, so that a frame encoded once serves every
 * subscriber with an identifier of its own.
 *
 * @param frameStart - offset that {@link writePublish} was given
 * @returns offset in `target`, for {@link patchPacketId}
 */
export function packetIdOffset(target: Uint8Array, frameStart: number): number {
  let at = frameStart + 1
  while (byteAt(target, at) >= 0x80) at++
  at++
  return at + 2 + uint16At(target, at)
}

/** Replaces the Packet Identifier at an offset from {@link packetIdOffset}. */
export function patchPacketId(target: Uint8Array, at: number, packetId: number): void {
  writeUint16(target, at, packetId)
}

function propertiesLength(
  properties: Uint8Array,
  expirySeconds: number,
  subscriptionIds: readonly number[] | undefined,
  topicAlias: number,
): number {
  let length = properties.length
  if (expirySeconds >= 0) length += 5
  if (topicAlias !== 0) length += 3
  if (subscriptionIds !== undefined) {
    for (let i = 0; i < subscriptionIds.length; i++) length += 1 + varintLength(subscriptionIds[i] as number)
  }
  return length
}

function writeList(
  target: Uint8Array,
  offset: number,
  properties: Uint8Array,
  expirySeconds: number,
  subscriptionIds: readonly number[] | undefined,
  topicAlias: number,
): number {
  let at = offset
  if (expirySeconds >= 0) {
    target[at++] = PropertyId.messageExpiryInterval
    at = writeUint32(target, at, expirySeconds)
  }
  if (topicAlias !== 0) {
    target[at++] = PropertyId.topicAlias
    at = writeUint16(target, at, topicAlias)
  }
  if (subscriptionIds !== undefined) {
    for (let i = 0; i < subscriptionIds.length; i++) {
      target[at++] = PropertyId.subscriptionIdentifier
      at = writeVarint(target, at, subscriptionIds[i] as number)
    }
  }
  return writeBytes(target, at, properties)
}
