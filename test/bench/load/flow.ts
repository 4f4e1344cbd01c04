import type { BenchClient } from './client.ts'
import { type FrameLayout, PUBACK_BYTES, publishFrames } from './wire.ts'

const BATCH_BYTES = 65_536

/** What one topic has on its way. */
export class Flow {
  readonly topic: string
  /** Deliveries that one publish makes. */
  readonly fanOut: number
  readonly outstandingMax: number
  /** Deliveries due, arrived, and no longer waited for. */
  due = 0
  received = 0
  #forgiven = 0

  constructor(topic: string, fanOut: number, outstandingMax: number) {
    this.topic = topic
    this.fanOut = fanOut
    this.outstandingMax = outstandingMax
  }

  /** Messages that may be published now. */
  get room(): number {
    return Math.floor((this.outstandingMax - (this.due - this.received - this.#forgiven)) / this.fanOut)
  }

  /** Stops waiting for what a broker has dropped; otherwise drops would choke the publishers. */
  forgive(): void {
    this.#forgiven = this.due - this.received
  }
}

/** Receives the frames of one subscription, which all have the same size. */
export class Receiver {
  readonly client: BenchClient
  readonly flow: Flow
  readonly #layout: FrameLayout
  readonly #carry: Buffer
  /** Bytes of the frame that the last read has cut. */
  #carried = 0
  #acks: Buffer = Buffer.alloc(0)
  #acksBytes = 0
  /** Looks at every frame; `undefined` only counts. */
  onFrame: ((bytes: Buffer, payloadAt: number) => void) | undefined = undefined
  /** Called after each read. */
  onProgress: () => void = () => undefined

  constructor(client: BenchClient, flow: Flow, layout: FrameLayout) {
    this.client = client
    this.flow = flow
    this.#layout = layout
    this.#carry = Buffer.alloc(layout.bytes)
    client.onBytes = (bytes, length) => {
      if (layout.packetIdOffset === 0 && this.onFrame === undefined) this.#count(bytes, length)
      else this.#scan(bytes, length)
      this.onProgress()
    }
  }

  /** QoS 0: frames are counted by their bytes; the first of each read is looked at. */
  #count(bytes: Buffer, length: number): void {
    const size = this.#layout.bytes
    const first = this.#carried === 0 ? 0 : size - this.#carried
    if (first < length) this.#check(bytes, first, length)
    const total = this.#carried + length
    this.flow.received += Math.floor(total / size)
    this.#carried = total % size
  }

  #check(bytes: Buffer, at: number, end: number): void {
    // Without DUP, which a redelivery has.
    const isFrame =
      ((bytes[at] ?? 0) & 0xf7) === this.#layout.firstByte &&
      (at + 1 >= end || bytes[at + 1] === this.#layout.bytes - 2)
    if (!isFrame) throw new Error(`not the frame that was published: ${bytes.toString('hex', at, at + 16)}`)
  }

  #scan(bytes: Buffer, length: number): void {
    const size = this.#layout.bytes
    this.#acks = Buffer.allocUnsafe(PUBACK_BYTES * (Math.floor(length / size) + 1))
    this.#acksBytes = 0
    let at = 0
    if (this.#carried > 0) {
      at = Math.min(size - this.#carried, length)
      bytes.copy(this.#carry, this.#carried, 0, at)
      this.#carried += at
      if (this.#carried < size) return
      this.#carried = 0
      this.#take(this.#carry, 0)
    }
    for (; at + size <= length; at += size) this.#take(bytes, at)
    if (at < length) {
      bytes.copy(this.#carry, 0, at, length)
      this.#carried = length - at
    }
    if (this.#acksBytes > 0) this.client.socket.write(this.#acks.subarray(0, this.#acksBytes))
  }

  #take(bytes: Buffer, at: number): void {
    this.#check(bytes, at, at + 2)
    this.flow.received++
    const { packetIdOffset, payloadOffset } = this.#layout
    if (packetIdOffset > 0) {
      const acks = this.#acks
      const to = this.#acksBytes
      acks[to] = 0x40
      acks[to + 1] = 2
      acks[to + 2] = bytes[at + packetIdOffset] ?? 0
      acks[to + 3] = bytes[at + packetIdOffset + 1] ?? 0
      this.#acksBytes = to + PUBACK_BYTES
    }
    this.onFrame?.(bytes, at + payloadOffset)
  }
}

/** Publishes as fast as socket, acknowledgements and the bound of its flow allow. */
export class Publisher {
  readonly client: BenchClient
  /** Where it publishes: one flow, or several in turn. */
  readonly flows: readonly Flow[]
  readonly #layout: FrameLayout
  readonly #frames: Buffer
  readonly #framesCount: number
  readonly #unackedMax: number
  #next = 0
  #ackBytes = 0
  sent = 0
  isWritable = true
  /** Called when more can be published. */
  onReady: () => void = () => undefined

  constructor(client: BenchClient, flows: readonly Flow[], layout: FrameLayout, unackedMax: number) {
    this.client = client
    this.flows = flows
    this.#layout = layout
    const roomMax = flows.reduce((sum, flow) => sum + flow.outstandingMax / flow.fanOut, 0)
    const batch = Math.min(Math.floor(BATCH_BYTES / layout.bytes), Math.ceil(roomMax / flows.length / 4))
    this.#unackedMax = layout.packetIdOffset > 0 ? unackedMax : Number.POSITIVE_INFINITY
    const wanted = layout.packetIdOffset > 0 ? unackedMax : batch
    // Whole turns, so that a frame's place tells its topic.
    this.#framesCount = Math.ceil(wanted / flows.length) * flows.length
    const topics = flows.map(({ topic }) => topic)
    this.#frames = publishFrames(layout, topics, this.#framesCount)
    client.socket.on('drain', () => {
      this.isWritable = true
      this.onReady()
    })
    client.onBytes = (bytes, length) => {
      const first = (PUBACK_BYTES - (this.#ackBytes % PUBACK_BYTES)) % PUBACK_BYTES
      if (first < length && bytes[first] !== 0x40) throw new Error(`not a PUBACK: ${bytes[first]}`)
      this.#ackBytes += length
      this.onReady()
    }
  }

  /** Messages sent and not acknowledged; only for QoS 1. */
  get unacked(): number {
    return this.sent - Math.floor(this.#ackBytes / PUBACK_BYTES)
  }

  /** Publishes at most one batch. */
  pump(): void {
    if (!this.isWritable) return
    const open = this.#unackedMax - (this.#layout.packetIdOffset > 0 ? this.unacked : 0)
    const untilWrap = this.#framesCount - this.#next
    const count = Math.min(open, this.#room(), untilWrap)
    // At QoS 0 only whole batches: small ones would measure the generator.
    if (count <= 0 || (this.#layout.packetIdOffset === 0 && count < untilWrap)) return
    const from = this.#next * this.#layout.bytes
    if (this.flows.length > 1) this.#noteInTurn(this.#next, count)
    else this.#note(this.flows[0], count)
    this.#next = (this.#next + count) % this.#framesCount
    this.#send(this.#frames.subarray(from, from + count * this.#layout.bytes), count)
  }

  /** Room of the fullest flow, for every one. */
  #room(): number {
    let room = Number.POSITIVE_INFINITY
    for (const flow of this.flows) room = Math.min(room, flow.room)
    return room * this.flows.length
  }

  #note(flow: Flow | undefined, count: number): void {
    if (flow !== undefined) flow.due += count * flow.fanOut
  }

  #noteInTurn(from: number, count: number): void {
    for (let i = from; i < from + count; i++) this.#note(this.flows[i % this.flows.length], 1)
  }

  /** Writes `count` frames that the caller has made for the first flow. */
  write(frames: Buffer, count: number): void {
    this.#note(this.flows[0], count)
    this.#send(frames, count)
  }

  /** Topic of the first flow. */
  get topic(): string {
    return this.flows[0]?.topic ?? ''
  }

  #send(frames: Buffer, count: number): void {
    this.sent += count
    this.isWritable = this.client.socket.write(frames)
  }
}
