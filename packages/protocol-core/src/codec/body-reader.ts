import { ProtocolError } from '../errors.ts'
import { ReasonCode } from '../reason-code.ts'
import { decodeUtf8 } from '../utf8.ts'
import { byteAt, scanVarint, uint16At, uint32At } from './bytes.ts'

/** Reads the body of one packet from front to back; every method throws `ProtocolError` 0x81 at the end. */
export class BodyReader {
  readonly buf: Uint8Array
  readonly end: number
  at: number

  constructor(buf: Uint8Array, start: number, end: number) {
    this.buf = buf
    this.at = start
    this.end = end
  }

  get isAtEnd(): boolean {
    return this.at >= this.end
  }

  byte(): number {
    return byteAt(this.buf, this.advance(1))
  }

  uint16(): number {
    return uint16At(this.buf, this.advance(2))
  }

  uint32(): number {
    return uint32At(this.buf, this.advance(4))
  }

  varint(): number {
    const scanned = scanVarint(this.buf, this.at, this.end)
    if (scanned <= 0) throw malformed('variable byte integer')
    this.at += scanned & 7
    return scanned >>> 3
  }

  /** A UTF-8 Encoded String. */
  text(): string {
    const length = this.uint16()
    const start = this.advance(length)
    return decodeUtf8(this.buf, start, start + length)
  }

  /** Binary Data, copied: it outlives the receive buffer. */
  binary(): Uint8Array {
    const length = this.uint16()
    const start = this.advance(length)
    // Not `slice`: on a Node Buffer that is a view.
    return new Uint8Array(this.buf.subarray(start, start + length))
  }

  /** v5 [MQTT-2.2.1-3], v3.1.1 [MQTT-2.3.1-1]: 0 is not a Packet Identifier. */
  packetId(): number {
    const packetId = this.uint16()
    if (packetId === 0) throw new ProtocolError(ReasonCode.protocolError, 'packet identifier is 0')
    return packetId
  }

  /** Bytes behind the last field make a packet malformed. */
  expectEnd(): void {
    if (this.at !== this.end) throw malformed('bytes behind the end of the packet')
  }

  /** Steps over `count` bytes and returns where they begin. */
  advance(count: number): number {
    const start = this.at
    if (start + count > this.end) throw malformed('packet is shorter than its fields')
    this.at = start + count
    return start
  }
}

/** @param what - names the field, never its content */
export function malformed(what: string): ProtocolError {
  return new ProtocolError(ReasonCode.malformedPacket, `malformed: ${what}`)
}

/** @param what - names the rule, never the content */
export function protocolError(what: string): ProtocolError {
  return new ProtocolError(ReasonCode.protocolError, what)
}
