/** Topics all have this length, so that every frame of a run has the same size. */
export function topicName(index: number): string {
  return `bench/${String(index).padStart(5, '0')}`
}

/** Topic of one device of a group, or with '+' the filter for all of the group; topics all have the same length. */
export function deviceTopic(group: number, device: number | '+'): string {
  return `${topicName(group)}/${device === '+' ? device : String(device).padStart(5, '0')}`
}

/** Bytes of a PUBACK. */
export const PUBACK_BYTES = 4

const PUBLISH_HEADER_BYTES = 2
const REMAINING_LENGTH_ONE_BYTE_MAX = 127

function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes])
}

function packet(firstByte: number, body: Buffer): Buffer {
  const length: number[] = []
  let rest = body.length
  do {
    const low = rest & 0x7f
    rest >>= 7
    length.push(rest > 0 ? low | 0x80 : low)
  } while (rest > 0)
  return Buffer.concat([Buffer.from([firstByte, ...length]), body])
}

/** CONNECT of MQTT 3.1.1, the version that all measured brokers speak; no keep-alive. */
export function connectPacket(clientId: string, cleanSession: boolean, user?: string, password?: string): Buffer {
  const parts = [text(clientId)]
  let flags = cleanSession ? 0x02 : 0
  if (user !== undefined) {
    flags |= 0x80
    parts.push(text(user))
  }
  if (password !== undefined) {
    flags |= 0x40
    parts.push(text(password))
  }
  return packet(0x10, Buffer.concat([text('MQTT'), Buffer.from([4, flags, 0, 0]), ...parts]))
}

/** SUBSCRIBE of one filter under packet id 1. */
export function subscribePacket(topicFilter: string, qos: 0 | 1): Buffer {
  return packet(0x82, Buffer.concat([Buffer.from([0, 1]), text(topicFilter), Buffer.from([qos])]))
}

/** Where the fields of the run's PUBLISH frames are; every broker forwards them in the same layout. */
export interface FrameLayout {
  readonly bytes: number
  readonly firstByte: number
  /** 0 at QoS 0. */
  readonly packetIdOffset: number
  readonly payloadOffset: number
}

/** Layout of every PUBLISH of a run; `topic` is any of its topics. */
export function frameLayout(qos: 0 | 1, payloadBytes: number, topic: string): FrameLayout {
  const packetIdOffset = PUBLISH_HEADER_BYTES + 2 + topic.length
  const payloadOffset = packetIdOffset + (qos === 0 ? 0 : 2)
  const bytes = payloadOffset + payloadBytes
  if (bytes - PUBLISH_HEADER_BYTES > REMAINING_LENGTH_ONE_BYTE_MAX) throw new RangeError(`payload of ${payloadBytes} B`)
  return { bytes, firstByte: qos === 0 ? 0x30 : 0x32, packetIdOffset: qos === 0 ? 0 : packetIdOffset, payloadOffset }
}

/** `count` PUBLISH frames in a row, taking the topics in turn; at QoS 1 with the packet ids 1 to `count`. */
export function publishFrames(layout: FrameLayout, topics: readonly string[], count: number): Buffer {
  const frames = Buffer.alloc(layout.bytes * count, 0x2e)
  for (let i = 0; i < count; i++) {
    const at = i * layout.bytes
    frames[at] = layout.firstByte
    frames[at + 1] = layout.bytes - PUBLISH_HEADER_BYTES
    frames.set(text(topics[i % topics.length] ?? ''), at + PUBLISH_HEADER_BYTES)
    if (layout.packetIdOffset > 0) frames.writeUInt16BE(i + 1, at + layout.packetIdOffset)
  }
  return frames
}
