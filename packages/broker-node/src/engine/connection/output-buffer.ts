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
  private chunk: Buffer | null = null
  private used = 0
  private sealed = 0
  private pieces: Uint8Array[] = []
  private chunks: Buffer[] = []
  private piecesBytes = 0
  private readonly inFlight: { bytes: number; chunks: Buffer[] }[] = []
  private readonly onWritten: () => void
  private readonly onProgress: () => void

  /** @param onProgress - called whenever a write has completed */
  constructor(onProgress: () => void) {
    this.onProgress = onProgress
    this.onWritten = () => this.written()
  }

  /** Where {@link reserve} wants its caller to write; valid until the next call. */
  target: Uint8Array = EMPTY

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
      this.pieces.push(source.subarray(start, end))
      this.piecesBytes += size
      this.unsentBytes += size
      return
    }
    const offset = this.reserve(size)
    copyBytes(source, start, end, this.target, offset)
  }

  /** True while nothing waits to be accepted by the operating system. */
  get isIdle(): boolean {
    return this.inFlight.length === 0
  }

  /** Writes everything appended since the last flush. @returns the number of bytes */
  flush(stream: Writable): number {
    this.seal()
    const pieces = this.pieces
    const bytes = this.piecesBytes
    if (pieces.length === 0) return 0
    this.inFlight.push({ bytes, chunks: this.chunks })
    this.pieces = []
    this.chunks = []
    this.piecesBytes = 0
    this.chunk = null
    this.used = 0
    this.sealed = 0
    const last = pieces.length - 1
    if (last > 0) {
      stream.cork()
      for (let i = 0; i < last; i++) stream.write(pieces[i])
      stream.write(pieces[last], this.onWritten)
      stream.uncork()
    } else {
      stream.write(pieces[0], this.onWritten)
    }
    return bytes
  }

  private nextChunk(size: number): Buffer {
    this.seal()
    let chunk: Buffer
    if (size > CHUNK_BYTES_LARGE) chunk = Buffer.allocUnsafeSlow(size)
    else if (this.chunk === null && size <= CHUNK_BYTES_SMALL) chunk = smallChunks.take()
    else chunk = largeChunks.take()
    this.chunk = chunk
    this.chunks.push(chunk)
    this.used = 0
    this.sealed = 0
    return chunk
  }

  private seal(): void {
    if (this.chunk === null || this.used === this.sealed) return
    this.pieces.push(this.chunk.subarray(this.sealed, this.used))
    this.piecesBytes += this.used - this.sealed
    this.sealed = this.used
  }

  private written(): void {
    const done = this.inFlight.shift()
    if (done === undefined) return
    this.unsentBytes -= done.bytes
    for (const chunk of done.chunks) {
      if (chunk.length === CHUNK_BYTES_SMALL) smallChunks.give(chunk)
      else if (chunk.length === CHUNK_BYTES_LARGE) largeChunks.give(chunk)
    }
    this.onProgress()
  }
}
