import { EMPTY_BYTES, Message } from '@midge/protocol-core'

/** First byte of a PUBLISH at QoS 1 without DUP and RETAIN. */
export const PLAIN_FIRST_BYTE = 0x32

/**
 * A PUBLISH at QoS 1 without DUP, RETAIN and properties, as it came: a subscriber that takes the same form gets its bytes
 * under a packet id of its own, so that it is taken apart only for the others.
 *
 * Made once and filled again for every packet, and so valid during a call only. Measured by test/bench/load.
 */
export class PlainFrame {
  bytes: Uint8Array = EMPTY_BYTES
  start = 0
  end = 0
  packetIdAt = 0
  payloadStart = 0
  /** The frame has the (empty) property field of v5. */
  isV5 = false
  /** The bytes are in a buffer that others will read into: what is kept of them has to be copied. */
  isLent = false
  publisherId = ''
  topicName = ''
  topicBytes: Uint8Array = EMPTY_BYTES

  /** The same as a message that may be kept, for whoever cannot take the frame as it is. */
  toMessage(): Message {
    const payload = this.bytes.subarray(this.payloadStart, this.end)
    return new Message({
      topicName: this.topicName,
      topicBytes: this.topicBytes,
      payload: this.isLent ? Buffer.from(payload) : payload,
      qos: 1,
      retain: false,
      properties: EMPTY_BYTES,
      expiresAtMs: 0,
      publisherId: this.publisherId,
    })
  }
}
