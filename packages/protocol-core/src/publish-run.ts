import { scanFrame } from './codec/frame.ts'
import { EMPTY_BYTES, Message } from './message.ts'

/** First byte of a QoS 0 PUBLISH without RETAIN, the only kind that a run is made of. */
export const RUN_FIRST_BYTE = 0x30

/** What a new {@link PublishRun} is made of; see the fields of the class. */
export interface PublishRunFields {
  topicName: string
  topicBytes: Uint8Array
  publisherId: string
  isV5: boolean
  bytes: Uint8Array
  start: number
  end: number
  count: number
}

/**
 * Neighbouring PUBLISH frames of one client and one topic, as they came in: QoS 0, no RETAIN, no properties.
 *
 * A subscriber or a node that takes the same wire form gets all of them with one append. The bytes are a view of a
 * receive buffer and must not be changed.
 */
export class PublishRun {
  readonly topicName: string
  readonly topicBytes: Uint8Array
  readonly publisherId: string
  /** The frames have the (empty) property field of v5. */
  readonly isV5: boolean
  readonly bytes: Uint8Array
  readonly start: number
  readonly end: number
  readonly count: number

  constructor(fields: PublishRunFields) {
    this.topicName = fields.topicName
    this.topicBytes = fields.topicBytes
    this.publisherId = fields.publisherId
    this.isV5 = fields.isV5
    this.bytes = fields.bytes
    this.start = fields.start
    this.end = fields.end
    this.count = fields.count
  }

  /** The messages one by one, for whoever cannot take the frames as they are; payloads are views of the bytes. */
  messages(): Message[] {
    const messages: Message[] = []
    const skip = 2 + this.topicBytes.length + (this.isV5 ? 1 : 0)
    let at = this.start
    while (at < this.end) {
      const scan = scanFrame(this.bytes, at, this.end)
      const bodyStart = at + (scan & 7)
      const bodyEnd = bodyStart + (scan >>> 3)
      messages.push(
        new Message({
          topicName: this.topicName,
          topicBytes: this.topicBytes,
          payload: this.bytes.subarray(bodyStart + skip, bodyEnd),
          qos: 0,
          retain: false,
          properties: EMPTY_BYTES,
          expiresAtMs: 0,
          publisherId: this.publisherId,
        }),
      )
      at = bodyEnd
    }
    return messages
  }

  /** @returns false when the bytes are not `count` frames of this topic; for runs that came over a wire */
  isSound(): boolean {
    let at = this.start
    let count = 0
    while (at < this.end) {
      const bodyEnd = this.frameEnd(at)
      if (bodyEnd === 0) return false
      at = bodyEnd
      count++
    }
    return at === this.end && count === this.count
  }

  /** @returns the end of the frame that begins at `at`, or 0 when it is not one of this run */
  private frameEnd(at: number): number {
    const { bytes, topicBytes } = this
    if (bytes[at] !== RUN_FIRST_BYTE) return 0
    const scan = scanFrame(bytes, at, this.end)
    if (scan <= 0) return 0
    const bodyStart = at + (scan & 7)
    const bodyEnd = bodyStart + (scan >>> 3)
    const topicEnd = bodyStart + 2 + topicBytes.length
    if (bodyEnd > this.end || topicEnd + (this.isV5 ? 1 : 0) > bodyEnd) return 0
    if (((bytes[bodyStart] as number) << 8) + (bytes[bodyStart + 1] as number) !== topicBytes.length) return 0
    for (let i = 0; i < topicBytes.length; i++) if (bytes[bodyStart + 2 + i] !== topicBytes[i]) return 0
    return this.isV5 && bytes[topicEnd] !== 0 ? 0 : bodyEnd
  }
}
