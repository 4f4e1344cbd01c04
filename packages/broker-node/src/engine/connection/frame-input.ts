import type { Duplex } from 'node:stream'
import { PacketType, ProtocolError, ReasonCode, scanFrame } from '@midge/protocol-core'
import type { Counters } from '../../counters.ts'
import type { ReadSink } from '../../ports.ts'
import type { PacketSink } from '../ground/packet-sink.ts'

const PARTIAL_BYTES_MIN = 4096
/**
 * A read of at least so much is copied once as a whole, and whoever keeps something of it refers to the copy. What is
 * smaller is handled where it is: nothing of it is large enough to be sent by reference (`OutputBuffer`).
 */
const OWN_READ_BYTES_MIN = 1024
/**
 * Keep-alive counts packets (v5 section 3.1.2.10), so that bytes of one that never ends keep nobody alive; but so much
 * more of a large one (16 KiB) counts too, which a slow link may take longer for than the keep-alive.
 */
const PROGRESS_BYTES_LOG2 = 14

const PINGREQ_FIRST_BYTE = 0xc0

/** Whom the input tells what goes wrong, and that nothing more comes. */
export interface InputOwner {
  /** A packet is larger than allowed; nothing of the input is handled from here on. */
  onTooLarge(): void
  /** The sink has thrown, or the bytes are no packets. */
  onPacketFailure(error: unknown): void
  /** A step given to `waitFor` has failed. */
  onStepFailure(error: unknown): void
  /** The peer sends nothing more, and all that it has sent is handled. */
  onInputEnd(): void
}

/** What a {@link FrameInput} is made of. */
export interface FrameInputOptions {
  stream: Duplex
  /** True when the bytes come by `onRead`; otherwise they are the stream's `data`. */
  takesReads?: boolean
  sink: Pick<PacketSink, 'onPublish' | 'endRun' | 'onPacket'>
  owner: InputOwner
  packetBytesMax: number
  counters: Pick<Counters, 'bytesReceived'>
  nowMs: () => number
}

/**
 * Bytes in, packets out, strictly in the order of arrival: while one packet waits for a step, later bytes wait here, and
 * with the first of them the stream is paused: who goes away before is noticed by reading.
 */
export class FrameInput implements ReadSink {
  /** True while the bytes at hand are in a buffer that others will read into: what is kept of them has to be copied. */
  isLent = false
  /** When a packet was last handled, or a good part of a large one came. */
  lastReceivedMs: number
  /** Larger ones end the connection. */
  packetBytesMax: number
  private readonly stream: Duplex
  private readonly sink: FrameInputOptions['sink']
  private readonly owner: InputOwner
  private readonly counters: Pick<Counters, 'bytesReceived'>
  private readonly nowMs: () => number
  private partial: Buffer | undefined = undefined
  private partialBytes = 0
  private rest: Uint8Array | undefined = undefined
  /** PINGREQ packets in `rest` that have been answered. */
  private pingsAhead = 0
  /** Steps under way; usually none or one. */
  private waits = 0
  private isProcessing = false
  private hasEnded = false
  private isOpen = false
  private isPaused = false
  private isClosed = false

  constructor(options: FrameInputOptions) {
    this.stream = options.stream
    this.sink = options.sink
    this.owner = options.owner
    this.packetBytesMax = options.packetBytesMax
    this.counters = options.counters
    this.nowMs = options.nowMs
    this.lastReceivedMs = options.nowMs()
    if (options.takesReads !== true) this.stream.on('data', (chunk: Buffer) => this.onData(chunk))
    this.stream.on('end', () => this.onStreamEnd())
  }

  /** True while a step is under way. */
  get isWaiting(): boolean {
    return this.waits > 0
  }

  /** CONNECT was accepted: PUBLISH packets take their own way from here on, and no packet is larger than this. */
  open(packetBytesMax: number): void {
    this.isOpen = true
    this.packetBytesMax = Math.min(packetBytesMax, this.packetBytesMax)
  }

  /** Drops what has not been handled; nothing more is handed on. */
  close(): void {
    this.isClosed = true
    this.partial = undefined
    this.rest = undefined
  }

  /** Runs an asynchronous step of the packet at hand; later packets wait until it has settled. */
  waitFor(step: Promise<void>): void {
    this.waits++
    step.then(
      () => this.resume(),
      (error: unknown) => {
        this.owner.onStepFailure(error)
        this.resume()
      },
    )
  }

  /**
   * Answers PINGREQ behind packets that wait, so that a client which is read no further does not take the server for
   * dead. Called about once a second.
   */
  answerPings(): void {
    const { rest } = this
    if (rest === undefined || !this.isOpen) return
    let seen = 0
    for (let at = 0; at < rest.length; ) {
      const scan = scanFrame(rest, at, rest.length)
      const bodyStart = at + (scan & 7)
      const bodyEnd = bodyStart + (scan >>> 3)
      if (scan <= 0 || bodyEnd > rest.length) return
      if (isPingreq(rest, at) && ++seen > this.pingsAhead) {
        this.pingsAhead++
        this.sink.onPacket(PINGREQ_FIRST_BYTE, rest, bodyStart, bodyEnd)
      }
      at = bodyEnd
    }
  }

  private resume(): void {
    if (--this.waits > 0) return
    if (this.isProcessing || this.isClosed) return
    // What the client has sent meanwhile was not read: the time does not count against it.
    this.lastReceivedMs = this.nowMs()
    const rest = this.rest
    this.rest = undefined
    if (rest !== undefined) this.consume(rest, rest.length)
    if (this.isWaiting || this.isClosed) return
    if (this.hasEnded) this.owner.onInputEnd()
    else if (this.isPaused) {
      this.isPaused = false
      this.stream.resume()
    }
  }

  private onStreamEnd(): void {
    // What came before the end is still handled: a packet that waits for the store delays the end.
    this.hasEnded = true
    if (!this.isWaiting) this.owner.onInputEnd()
  }

  onRead(buffer: Buffer, length: number): void {
    if (length >= OWN_READ_BYTES_MIN || this.isWaiting || this.partial !== undefined) {
      this.onData(Buffer.from(buffer.subarray(0, length)))
      return
    }
    this.counters.bytesReceived += length
    if (this.isClosed) return
    this.isLent = true
    this.consume(buffer, length)
    this.isLent = false
  }

  private onData(chunk: Buffer): void {
    this.counters.bytesReceived += chunk.length
    if (this.isClosed) return
    if (this.isWaiting) this.keep(chunk)
    else if (this.partial === undefined) this.consume(chunk, chunk.length)
    else this.consumePartial(this.partial, chunk)
  }

  /** Bytes that have to wait for the step under way; more of them stay in the socket. */
  private keep(chunk: Uint8Array): void {
    this.rest = this.rest === undefined ? chunk : Buffer.concat([this.rest, chunk])
    this.pause()
  }

  private pause(): void {
    if (this.isPaused) return
    this.isPaused = true
    this.stream.pause()
  }

  /** Goes on with a packet that began in an earlier chunk. */
  private consumePartial(partial: Buffer, chunk: Buffer): void {
    // First the header alone decides how much is missing; then only the missing bytes are copied.
    const headEnd = Math.min(chunk.length, 5)
    const known =
      this.partialBytes >= 5
        ? partial
        : Buffer.concat([partial.subarray(0, this.partialBytes), chunk.subarray(0, headEnd)])
    const scan = scanFrame(known, 0, known === partial ? this.partialBytes : known.length)
    const total = scan <= 0 ? 0 : (scan >>> 3) + (scan & 7)
    if (total === 0 || total <= this.partialBytes) {
      this.partial = undefined
      const whole = Buffer.concat([partial.subarray(0, this.partialBytes), chunk])
      this.consume(whole, whole.length)
      return
    }
    const missing = total - this.partialBytes
    const taken = Math.min(missing, chunk.length)
    const grown = this.growPartial(partial, this.partialBytes + taken, total)
    chunk.copy(grown, this.partialBytes, 0, taken)
    this.partialBytes += taken
    if (taken < missing) {
      this.partial = grown
      if (this.partialBytes >>> PROGRESS_BYTES_LOG2 !== (this.partialBytes - taken) >>> PROGRESS_BYTES_LOG2)
        this.lastReceivedMs = this.nowMs()
      if (total > this.packetBytesMax) this.owner.onTooLarge()
      return
    }
    this.partial = undefined
    this.consume(grown, total)
    if (taken === chunk.length || this.isClosed) return
    const remainder = chunk.subarray(taken)
    if (this.isWaiting) this.keep(remainder)
    else this.consume(remainder, remainder.length)
  }

  /** Doubles, so that a client which announces a large packet and sends little of it holds little memory. */
  private growPartial(partial: Buffer, needed: number, total: number): Buffer {
    if (partial.length >= needed) return partial
    const grown = Buffer.allocUnsafe(Math.min(total, Math.max(needed, partial.length * 2, PARTIAL_BYTES_MIN)))
    partial.copy(grown, 0, 0, this.partialBytes)
    return grown
  }

  /** Handles the packets of `chunk[0, end)`. */
  private consume(chunk: Uint8Array, end: number): void {
    this.isProcessing = true
    let rest = 0
    try {
      rest = this.handleFrames(chunk, end)
    } catch (error) {
      this.owner.onPacketFailure(error)
      rest = end
    }
    this.isProcessing = false
    if (this.isClosed || rest === end) return
    const left = chunk.subarray(rest, end)
    if (this.isWaiting) {
      const kept = this.isLent ? Buffer.from(left) : left
      this.rest = this.rest === undefined ? kept : Buffer.concat([kept, this.rest])
      this.pause()
      return
    }
    this.partial = Buffer.allocUnsafe(Math.max(left.length, PARTIAL_BYTES_MIN))
    this.partial.set(left, 0)
    this.partialBytes = left.length
  }

  /** @returns the offset of the first byte that was not consumed */
  private handleFrames(chunk: Uint8Array, end: number): number {
    const { sink } = this
    let at = 0
    while (at < end && this.waits === 0 && !this.isClosed) {
      const scan = scanFrame(chunk, at, end)
      if (scan === 0) break
      if (scan < 0) {
        sink.endRun()
        throw new ProtocolError(ReasonCode.malformedPacket, 'malformed remaining length')
      }
      const bodyStart = at + (scan & 7)
      const bodyEnd = bodyStart + (scan >>> 3)
      if (bodyEnd - at > this.packetBytesMax) {
        sink.endRun()
        this.owner.onTooLarge()
        return end
      }
      if (bodyEnd > end) break
      const first = chunk[at] as number
      if (first >>> 4 === PacketType.publish && this.isOpen) {
        if (!sink.onPublish(chunk, at, bodyStart, bodyEnd)) break
      } else if (this.pingsAhead > 0 && isPingreq(chunk, at)) {
        this.pingsAhead--
      } else {
        sink.endRun()
        sink.onPacket(first, chunk, bodyStart, bodyEnd)
      }
      at = bodyEnd
    }
    sink.endRun()
    if (at > 0) this.lastReceivedMs = this.nowMs()
    return this.isClosed ? end : at
  }
}

function isPingreq(chunk: Uint8Array, at: number): boolean {
  return chunk[at] === PINGREQ_FIRST_BYTE && chunk[at + 1] === 0
}
