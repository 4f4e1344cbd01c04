import { EMPTY_BYTES } from '../message.ts'
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
 * One PUBLISH to be written: its fields are set, {@link PublishFrame.measure} says how much room it needs, and
 * {@link PublishFrame.writeTo} writes it there.
 *
 * Made once and filled again for every delivery, so that a frame costs no garbage on the hottest path. Whoever fills it
 * sets every field and lets nothing else run until it is written.
 */
export class PublishFrame {
  version: ProtocolVersion = 4
  topicBytes: Uint8Array = EMPTY_BYTES
  payload: Uint8Array = EMPTY_BYTES
  qos: Qos = 0
  dup = false
  retain = false
  /** Ignored at QoS 0; may be patched later, see {@link packetIdOffset}. */
  packetId = 0
  /** The forwardable block, see `Message.properties`. */
  properties: Uint8Array = EMPTY_BYTES
  /** Remaining Message Expiry Interval, -1 for none. */
  expirySeconds = -1
  /** `undefined` for none. */
  subscriptionIds: readonly number[] | undefined = undefined
  /** 0 for none. */
  topicAlias = 0
  /** False leaves the name out; only with a Topic Alias. v5 section 3.3.2.3.4 */
  sendTopic = true
  private bodyBytes = 0
  private propertiesBytes = 0

  /** @returns bytes of the whole frame, fixed header included, with the fields as they are */
  measure(): number {
    let body = 2 + (this.qos === 0 ? 0 : 2) + (this.sendTopic ? this.topicBytes.length : 0) + this.payload.length
    if (this.version === 5) {
      const bytes = this.measureProperties()
      this.propertiesBytes = bytes
      body += varintLength(bytes) + bytes
    }
    this.bodyBytes = body
    return 1 + varintLength(body) + body
  }

  /**
   * Writes the frame at `offset`, where there must be room for what {@link PublishFrame.measure} has returned for the
   * same fields.
   * @returns the offset behind the frame
   */
  writeTo(target: Uint8Array, offset: number): number {
    const { qos, topicBytes } = this
    target[offset] = 0x30 | (this.dup ? 0x08 : 0) | (qos << 1) | (this.retain ? 0x01 : 0)
    let at = writeVarint(target, offset + 1, this.bodyBytes)
    if (this.sendTopic) {
      at = writeUint16(target, at, topicBytes.length)
      at = writeBytes(target, at, topicBytes)
    } else {
      at = writeUint16(target, at, 0)
    }
    if (qos !== 0) at = writeUint16(target, at, this.packetId)
    if (this.version === 5) {
      at = writeVarint(target, at, this.propertiesBytes)
      if (this.propertiesBytes !== 0) at = this.writeProperties(target, at)
    }
    return writeBytes(target, at, this.payload)
  }

  private measureProperties(): number {
    let length = this.properties.length
    if (this.expirySeconds >= 0) length += 5
    if (this.topicAlias !== 0) length += 3
    const ids = this.subscriptionIds
    if (ids !== undefined) for (let i = 0; i < ids.length; i++) length += 1 + varintLength(ids[i] as number)
    return length
  }

  private writeProperties(target: Uint8Array, offset: number): number {
    let at = offset
    if (this.expirySeconds >= 0) {
      target[at++] = PropertyId.messageExpiryInterval
      at = writeUint32(target, at, this.expirySeconds)
    }
    if (this.topicAlias !== 0) {
      target[at++] = PropertyId.topicAlias
      at = writeUint16(target, at, this.topicAlias)
    }
    const ids = this.subscriptionIds
    if (ids !== undefined) {
      for (let i = 0; i < ids.length; i++) {
        target[at++] = PropertyId.subscriptionIdentifier
        at = writeVarint(target, at, ids[i] as number)
      }
    }
    return writeBytes(target, at, this.properties)
  }
}

/**
 * Where the Packet Identifier of a written QoS 1 or 2 PUBLISH is, so that a frame encoded once serves every
 * subscriber with an identifier of its own.
 *
 * @param frameStart - offset at which the frame was written
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
