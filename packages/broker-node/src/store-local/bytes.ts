import { BrokerError } from '@midge/protocol-core'

const U48_UPPER = 0x1_0000_0000

/** Builds one key or value after the other in a buffer that is reused: {@link done} is valid until the next `start`. */
export class ByteWriter {
  #buffer: Buffer = Buffer.allocUnsafeSlow(1024)
  #at = 0

  start(): this {
    this.#at = 0
    return this
  }

  u8(value: number): this {
    this.#reserve(1)
    this.#buffer[this.#at++] = value
    return this
  }

  u16(value: number): this {
    return this.u8(value >>> 8).u8(value & 0xff)
  }

  u32(value: number): this {
    this.#reserve(4)
    this.#at = this.#buffer.writeUInt32BE(value, this.#at)
    return this
  }

  u48(value: number): this {
    this.#reserve(6)
    this.#buffer.writeUInt16BE(Math.floor(value / U48_UPPER), this.#at)
    this.#at = this.#buffer.writeUInt32BE(value % U48_UPPER, this.#at + 2)
    return this
  }

  bytes(value: Uint8Array): this {
    this.#reserve(value.length)
    this.#buffer.set(value, this.#at)
    this.#at += value.length
    return this
  }

  /** UTF-8 without a length: only for the last field. */
  text(value: string): this {
    this.#reserve(value.length * 3)
    this.#at += this.#buffer.write(value, this.#at)
    return this
  }

  /** UTF-8 behind its size in 32 bits. */
  sizedText(value: string): this {
    const sizeAt = this.#at
    this.u32(0).text(value)
    this.#buffer.writeUInt32BE(this.#at - sizeAt - 4, sizeAt)
    return this
  }

  done(): Uint8Array {
    return this.#buffer.subarray(0, this.#at)
  }

  #reserve(size: number): void {
    if (this.#at + size <= this.#buffer.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#buffer.length * 2, this.#at + size))
    this.#buffer.copy(larger, 0, 0, this.#at)
    this.#buffer = larger
  }
}

/** Reads what a {@link ByteWriter} wrote; anything that does not fit is `MIDGE_STORE_CORRUPT`. */
export class ByteReader {
  readonly #buffer: Buffer
  #at: number

  constructor(bytes: Uint8Array, at = 0) {
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#at = at
  }

  u8(): number {
    return this.#buffer[this.#take(1)] ?? 0
  }

  u16(): number {
    return this.#buffer.readUInt16BE(this.#take(2))
  }

  u32(): number {
    return this.#buffer.readUInt32BE(this.#take(4))
  }

  u48(): number {
    return this.u16() * U48_UPPER + this.u32()
  }

  sizedText(): string {
    const size = this.u32()
    const at = this.#take(size)
    return this.#buffer.toString('utf8', at, at + size)
  }

  /** What is left, as a view. */
  rest(): Uint8Array {
    return this.#buffer.subarray(this.#at)
  }

  text(): string {
    return this.#buffer.toString('utf8', this.#at)
  }

  #take(size: number): number {
    const at = this.#at
    if (at + size > this.#buffer.length) throw new BrokerError('MIDGE_STORE_CORRUPT', 'a stored record is cut off')
    this.#at = at + size
    return at
  }
}
