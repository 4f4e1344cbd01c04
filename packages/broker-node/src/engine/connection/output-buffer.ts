import type { Writable } from 'node:stream'

const CHUNK_BYTES_SMALL = 4096
const CHUNK_BYTES_LARGE = 65_536
/** From this size on a slice is written by reference instead of being copied. */
const REFERENCE_BYTES_MIN = 1024
/** Below this size a byte loop beats `TypedArray.prototype.set` (test/bench/micro/copy.ts). */
const LOOP_BYTES_MAX = 36
const POOL_CHUNKS_MAX = 256
const EMPTY = new Uint8Array(0)

/** Chunks of one size that wait for their next tick of use. */
class ChunkPool {
  private readonly free: Buffer[] = []
  private readonly sizeBytes: number

  constructor(sizeBytes: number) {
    this.sizeBytes = sizeBytes
  }

  take(): Buffer {
    return this.free.pop() ?? Buffer.allocUnsafeSlow(this.sizeBytes)
  }

  give(chunk: Buffer): void {
    if (this.free.length < POOL_CHUNKS_MAX) this.free.push(chunk)
  }
}

const smallChunks = new ChunkPool(CHUNK_BYTES_SMALL)
const largeChunks = new ChunkPool(CHUNK_BYTES_LARGE)

/** Copies `source[start, end)` to `target[offset…]`. */
export function copyBytes(source: Uint8Array, start: number, end: number, target: Uint8Array, offset: number): void {
  if (end - start > LOOP_BYTES_MAX) {
    target.set(source.subarray(start, end), offset)
    return
  }
  let to = offset
  for (let from = start; from < end; from++) target[to++] = source[from] as number
}

/** What is known of the stream that an {@link OutputBuffer} writes to. */
export interface OutputForm {
  /** A socket of `node:net`: whether it has taken a write shows as soon as `write` returns. */
  isSocket: boolean
  /** A write that has completed is done with its bytes; a stream that hands them on inside this process may not be. */
  reusesChunks: boolean
}

/** Pieces of one flush that the operating system has not taken yet. */
interface InFlight {
  readonly bytes: number
  readonly chunks: readonly Buffer[]
}

/**
 * What one connection sends in one tick: frames are appended, `flush` makes one write of them.
 *
 * Memory is taken from shared pools with the first frame of a tick and given back when the socket has it, so an idle
 * connection holds no buffer. `unsentBytes` covers everything not yet accepted by the operating system and is what the
 * bound of the connection is compared with.
 */
export class OutputBuffer {
  /** Bytes appended or written whose write has not completed. */
  unsentBytes = 0
  /** Where {@link reserve} wants its caller to write; valid until the next call. */
  target: Uint8Array = EMPTY
  private chunk: Buffer | null = null
  private used = 0
  private sealed = 0
  /** What is ready before the open part of `chunk`; `undefined` in the ordinary tick, whose frames fit one chunk. */
  private pieces: Uint8Array[] | undefined = undefined
  private piecesBytes = 0
  /** Chunks of the tick before the open one. */
  private chunks: Buffer[] | undefined = undefined
  private inFlight: InFlight[] | undefined = undefined
  private onWritten: (() => void) | undefined = undefined
  private readonly form: OutputForm
  private readonly onProgress: () => void

  /** @param onProgress - called when a write has completed later than in its flush */
  constructor(form: OutputForm, onProgress: () => void) {
    this.form = form
    this.onProgress = onProgress
  }

  /**
   * Makes room for `size` bytes at the end and counts them as appended.
   * @returns the offset in `target` at which the caller must now write exactly `size` bytes
   */
  reserve(size: number): number {
    let chunk = this.chunk
    if (chunk === null || this.used + size > chunk.length) chunk = this.nextChunk(size)
    const offset = this.used
    this.used = offset + size
    this.unsentBytes += size
    this.target = chunk
    return offset
  }

  /** Appends `source[start, end)`; large slices are referenced, so the caller must not change them afterwards. */
  append(source: Uint8Array, start: number, end: number): void {
    const size = end - start
    if (size >= REFERENCE_BYTES_MIN) {
      this.seal()
      this.addPiece(source.subarray(start, end))
      this.unsentBytes += size
      return
    }
    const offset = this.reserve(size)
    copyBytes(source, start, end, this.target, offset)
  }

  /** True while nothing waits to be accepted by the operating system. */
  get isIdle(): boolean {
    return this.inFlight === undefined
  }

  /** Writes everything appended since the last flush. @returns the number of bytes */
  flush(stream: Writable): number {
    const bytes = this.piecesBytes + this.used - this.sealed
    if (bytes === 0) return 0
    if (!this.form.isSocket || this.inFlight !== undefined) {
      this.track(bytes)
      this.write(stream, this.onWritten)
    } else {
      this.write(stream, undefined)
      // A socket that had nothing to send has given a write to the kernel when `write` returns, unless it was too much:
      // asking costs less than a callback for each write.
      if (stream.writableLength === 0) {
        this.unsentBytes -= bytes
        if (this.chunk !== null) this.giveBack(this.chunk)
        if (this.chunks !== undefined) for (const full of this.chunks) this.giveBack(full)
      } else {
        this.track(bytes)
        // The callback of nothing comes when all before it is gone.
        stream.write(EMPTY, this.onWritten)
      }
    }
    this.chunk = null
    this.used = 0
    this.sealed = 0
    this.pieces = undefined
    this.piecesBytes = 0
    this.chunks = undefined
    return bytes
  }

  private write(stream: Writable, onWritten: (() => void) | undefined): void {
    if (this.pieces === undefined && this.chunk !== null) {
      stream.write(this.chunk.subarray(this.sealed, this.used), onWritten)
      return
    }
    this.seal()
    const pieces = this.pieces ?? []
    const last = pieces.length - 1
    if (last > 0) stream.cork()
    for (let i = 0; i < last; i++) stream.write(pieces[i])
    stream.write(pieces[last], onWritten)
    if (last > 0) stream.uncork()
  }

  /** What is being flushed is not with the operating system yet. */
  private track(bytes: number): void {
    const chunks = this.chunks ?? []
    if (this.chunk !== null) chunks.push(this.chunk)
    this.inFlight ??= []
    this.inFlight.push({ bytes, chunks })
    this.onWritten ??= () => this.written()
  }

  private nextChunk(size: number): Buffer {
    this.seal()
    let chunk: Buffer
    if (size > CHUNK_BYTES_LARGE) chunk = Buffer.allocUnsafeSlow(size)
    else if (this.chunk === null && size <= CHUNK_BYTES_SMALL) chunk = smallChunks.take()
    else chunk = largeChunks.take()
    if (this.chunk !== null) {
      this.chunks ??= []
      this.chunks.push(this.chunk)
    }
    this.chunk = chunk
    this.used = 0
    this.sealed = 0
    return chunk
  }

  private seal(): void {
    if (this.chunk === null || this.used === this.sealed) return
    this.addPiece(this.chunk.subarray(this.sealed, this.used))
    this.sealed = this.used
  }

  private addPiece(piece: Uint8Array): void {
    this.pieces ??= []
    this.pieces.push(piece)
    this.piecesBytes += piece.length
  }

  private written(): void {
    const done = this.inFlight?.shift()
    if (done === undefined) return
    if (this.inFlight?.length === 0) this.inFlight = undefined
    this.unsentBytes -= done.bytes
    for (const chunk of done.chunks) this.giveBack(chunk)
    this.onProgress()
  }

  private giveBack(chunk: Buffer): void {
    if (!this.form.reusesChunks) return
    if (chunk.length === CHUNK_BYTES_SMALL) smallChunks.give(chunk)
    else if (chunk.length === CHUNK_BYTES_LARGE) largeChunks.give(chunk)
  }
}
