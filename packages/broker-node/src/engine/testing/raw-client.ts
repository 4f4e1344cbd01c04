import { connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { encodeUtf8, PublishFrame, type Qos, scanFrame } from '@midge/protocol-core'

const WAIT_MS = 5000

/** One frame of the server. */
export interface Frame {
  type: number
  flags: number
  body: Buffer
}

/** A PUBLISH of the server, taken apart; properties are skipped. */
export interface Delivery {
  topic: string
  payload: string
  qos: number
  retain: boolean
  dup: boolean
  packetId: number
  /** The property block as sent; empty before v5. */
  properties: Buffer
}

function lengthPrefixed(text: string | Uint8Array): Buffer {
  const bytes = Buffer.from(text)
  return Buffer.concat([Buffer.from([bytes.length >>> 8, bytes.length & 0xff]), bytes])
}

function frame(first: number, body: Uint8Array): Buffer {
  const head = [first]
  let left = body.length
  do {
    head.push((left & 0x7f) | (left > 0x7f ? 0x80 : 0))
    left >>>= 7
  } while (left > 0)
  return Buffer.concat([Buffer.from(head), body])
}

/** What a CONNECT of a test asks for. */
export interface ConnectOptions {
  version?: 3 | 4 | 5
  clientId?: string
  clean?: boolean
  keepAliveSeconds?: number
  /** Encoded v5 properties without their length. */
  properties?: number[]
  username?: string
  password?: string
  will?: { topic: string; payload: string; qos?: Qos; properties?: number[] }
}

export function connectPacket(options: ConnectOptions = {}): Buffer {
  const version = options.version ?? 5
  const { will } = options
  let flags = options.clean === false ? 0 : 2
  if (will !== undefined) flags |= 4 | ((will.qos ?? 0) << 3)
  if (options.username !== undefined) flags |= 0x80
  if (options.password !== undefined) flags |= 0x40
  const keepAlive = options.keepAliveSeconds ?? 0
  const parts = [
    lengthPrefixed(version === 3 ? 'MQIsdp' : 'MQTT'),
    Buffer.from([version, flags, keepAlive >>> 8, keepAlive & 0xff]),
  ]
  if (version === 5) parts.push(Buffer.from([options.properties?.length ?? 0, ...(options.properties ?? [])]))
  parts.push(lengthPrefixed(options.clientId ?? 'client'))
  if (will !== undefined) {
    const { properties = [] } = will
    if (version === 5) parts.push(Buffer.from([properties.length, ...properties]))
    parts.push(lengthPrefixed(will.topic), lengthPrefixed(will.payload))
  }
  if (options.username !== undefined) parts.push(lengthPrefixed(options.username))
  if (options.password !== undefined) parts.push(lengthPrefixed(options.password))
  return frame(0x10, Buffer.concat(parts))
}

/** What a PUBLISH of a test carries. */
export interface PublishOptions {
  version?: 3 | 4 | 5
  qos?: Qos
  retain?: boolean
  dup?: boolean
  packetId?: number
  expirySeconds?: number
}

export function publishPacket(topic: string, payload: string | Uint8Array, options: PublishOptions = {}): Buffer {
  const qos = options.qos ?? 0
  const frame = Object.assign(new PublishFrame(), {
    version: options.version ?? 5,
    topicBytes: encodeUtf8(topic),
    payload: typeof payload === 'string' ? encodeUtf8(payload) : payload,
    qos,
    dup: options.dup ?? false,
    retain: options.retain ?? false,
    packetId: options.packetId ?? (qos === 0 ? 0 : 1),
    expirySeconds: options.expirySeconds ?? -1,
  })
  const packet = Buffer.alloc(frame.measure())
  frame.writeTo(packet, 0)
  return packet
}

/** One filter of a SUBSCRIBE; `options` is the whole byte, QoS included. */
export interface SubscribeFilter {
  filter: string
  options?: number
}

export function subscribePacket(
  version: 3 | 4 | 5,
  packetId: number,
  filters: SubscribeFilter[],
  subscriptionId = 0,
): Buffer {
  const parts: Buffer[] = [Buffer.from([packetId >>> 8, packetId & 0xff])]
  if (version === 5) parts.push(Buffer.from(subscriptionId === 0 ? [0] : [2, 0x0b, subscriptionId]))
  for (const { filter, options } of filters) parts.push(lengthPrefixed(filter), Buffer.from([options ?? 0]))
  return frame(0x82, Buffer.concat(parts))
}

export function unsubscribePacket(version: 3 | 4 | 5, packetId: number, filters: string[]): Buffer {
  const parts: Buffer[] = [Buffer.from([packetId >>> 8, packetId & 0xff])]
  if (version === 5) parts.push(Buffer.from([0]))
  for (const filter of filters) parts.push(lengthPrefixed(filter))
  return frame(0xa2, Buffer.concat(parts))
}

/** PUBACK 0x40, PUBREC 0x50, PUBREL 0x62, PUBCOMP 0x70. */
export function ackPacket(first: number, packetId: number, reasonCode = 0): Buffer {
  const body = [packetId >>> 8, packetId & 0xff]
  if (reasonCode !== 0) body.push(reasonCode)
  return frame(first, Buffer.from(body))
}

export const PINGREQ: Buffer = Buffer.from([0xc0, 0])
export const DISCONNECT: Buffer = Buffer.from([0xe0, 0])

export function disconnectPacket(reasonCode: number): Buffer {
  return Buffer.from([0xe0, 1, reasonCode])
}

/** Splits the frames off the front of `bytes`. */
export function splitFrames(bytes: Buffer): { frames: Frame[]; rest: Buffer } {
  const frames: Frame[] = []
  let at = 0
  for (;;) {
    const scan = scanFrame(bytes, at, bytes.length)
    if (scan < 0) throw new Error('the server sent a malformed frame')
    const bodyStart = at + (scan & 7)
    const bodyEnd = bodyStart + (scan >>> 3)
    if (scan === 0 || bodyEnd > bytes.length) return { frames, rest: bytes.subarray(at) }
    const first = bytes[at] ?? 0
    frames.push({ type: first >>> 4, flags: first & 15, body: bytes.subarray(bodyStart, bodyEnd) })
    at = bodyEnd
  }
}

export function toDelivery(found: Frame, version: 3 | 4 | 5): Delivery {
  const { body, flags } = found
  const topicEnd = 2 + body.readUInt16BE(0)
  const qos = (flags >>> 1) & 3
  let at = topicEnd
  let packetId = 0
  if (qos > 0) {
    packetId = body.readUInt16BE(at)
    at += 2
  }
  let properties = body.subarray(0, 0)
  if (version === 5) {
    let length = 0
    let shift = 0
    for (;;) {
      const byte = body[at++] ?? 0
      length |= (byte & 0x7f) << shift
      shift += 7
      if (byte < 0x80) break
    }
    properties = body.subarray(at, at + length)
    at += length
  }
  return {
    topic: body.toString('utf8', 2, topicEnd),
    payload: body.toString('utf8', at),
    qos,
    retain: (flags & 1) === 1,
    dup: (flags & 8) !== 0,
    packetId,
    properties,
  }
}

/** A client that speaks raw bytes over any stream and remembers every frame of the server. */
export class RawClient {
  readonly stream: Duplex
  readonly version: 3 | 4 | 5
  readonly frames: Frame[] = []
  isClosed = false
  private bytes: Buffer = Buffer.alloc(0)
  private taken = 0
  private wake: (() => void)[] = []

  constructor(stream: Duplex, version: 3 | 4 | 5 = 5) {
    this.stream = stream
    this.version = version
    stream.on('data', (chunk: Buffer) => {
      const { frames, rest } = splitFrames(Buffer.concat([this.bytes, chunk]))
      this.bytes = rest
      this.frames.push(...frames)
      this.notify()
    })
    stream.on('error', () => undefined)
    stream.on('close', () => {
      this.isClosed = true
      this.notify()
    })
  }

  static async dial(port: number, version: 3 | 4 | 5 = 5): Promise<RawClient> {
    const socket: Socket = connect(port, '127.0.0.1')
    socket.setNoDelay(true)
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    return new RawClient(socket, version)
  }

  send(...packets: Uint8Array[]): void {
    this.stream.write(Buffer.concat(packets))
  }

  /** The next frame that was not taken yet. */
  async next(): Promise<Frame> {
    await this.until(() => this.frames.length > this.taken || this.isClosed)
    const found = this.frames[this.taken++]
    if (found === undefined) throw new Error('the connection ended before the next frame')
    return found
  }

  /** The next frame, which has to be of this type. */
  async expect(type: number): Promise<Frame> {
    const found = await this.next()
    if (found.type !== type) throw new Error(`expected packet type ${type}, got ${found.type}`)
    return found
  }

  async delivery(): Promise<Delivery> {
    return toDelivery(await this.expect(3), this.version)
  }

  /** Sends CONNECT and waits for CONNACK. @returns its reason code */
  async open(options: ConnectOptions = {}): Promise<number> {
    this.send(connectPacket({ version: this.version, ...options }))
    return (await this.expect(2)).body[1] ?? -1
  }

  /** @returns the codes of SUBACK */
  async subscribe(filters: SubscribeFilter[], subscriptionId = 0): Promise<number[]> {
    this.send(subscribePacket(this.version, 77, filters, subscriptionId))
    const { body } = await this.expect(9)
    return [...body.subarray(this.version === 5 ? 3 : 2)]
  }

  deliveries(): Delivery[] {
    return this.frames.filter(found => found.type === 3).map(found => toDelivery(found, this.version))
  }

  async closed(): Promise<void> {
    await this.until(() => this.isClosed)
  }

  /** Waits for a condition on what was received, checked whenever something arrives. */
  async until(condition: () => boolean): Promise<void> {
    const deadline = Date.now() + WAIT_MS
    while (!condition()) {
      if (Date.now() > deadline) throw new Error(`not in ${WAIT_MS} ms: ${condition}`)
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, 20)
        this.wake.push(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
  }

  private notify(): void {
    for (const wake of this.wake.splice(0)) wake()
  }
}
