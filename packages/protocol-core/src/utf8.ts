import { ProtocolError } from './errors.ts'
import { ReasonCode } from './reason-code.ts'

/** `ignoreBOM` keeps a leading U+FEFF in the string instead of removing it. v5 [MQTT-1.5.4-3], v3.1.1 [MQTT-1.5.3-3]. */
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const encoder = new TextEncoder()

/** Up to here ASCII is put together in place; longer and other text goes to the decoder. */
const LOOP_BYTES_MAX = 24

/**
 * Checks the bytes of an MQTT UTF-8 Encoded String.
 *
 * Allocates nothing. Refuses U+0000 as well as everything that RFC 3629 calls ill-formed.
 *
 * Spec: v5 [MQTT-1.5.4-1] and [MQTT-1.5.4-2]; v3.1.1 [MQTT-1.5.3-1] and [MQTT-1.5.3-2].
 */
export function isValidUtf8(buf: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    const byte = buf[at] as number
    if (byte === 0) return false
    if (byte >= 0x80) return isWellFormedUtf8(buf, at, end) && !hasZeroByte(buf, at, end)
  }
  return true
}

/**
 * Checks that bytes are well-formed UTF-8; U+0000 is allowed.
 *
 * This is the rule for a payload with Payload Format Indicator 1, which is character data and not an MQTT string.
 * Spec: v5 section 3.3.2.3.2.
 */
export function isWellFormedUtf8(buf: Uint8Array, start: number, end: number): boolean {
  let at = start
  while (at < end) {
    if ((buf[at] as number) < 0x80) {
      at++
      continue
    }
    const length = sequenceLength(buf, at, end)
    if (length === 0) return false
    at += length
  }
  return true
}

/*
 * Multi-byte sequences of RFC 3629 section 4; every further byte is 80..BF:
 *   C2..DF xx       E0 A0..BF xx    E1..EC xx xx    ED 80..9F xx    EE..EF xx xx
 *   F0 90..BF xx xx                 F1..F3 xx xx xx                 F4 80..8F xx xx
 * The narrowed second byte is what keeps out overlong forms, surrogates and code points above U+10FFFF.
 */
function sequenceLength(buf: Uint8Array, at: number, end: number): number {
  const lead = buf[at] as number
  if (lead < 0xc2 || lead > 0xf4) return 0
  const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
  if (at + length > end) return 0
  const second = buf[at + 1] as number
  const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80
  const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf
  if (second < low || second > high) return 0
  for (let i = 2; i < length; i++) {
    if (((buf[at + i] as number) & 0xc0) !== 0x80) return 0
  }
  return length
}

function hasZeroByte(buf: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    if (buf[at] === 0) return true
  }
  return false
}

/**
 * Decodes an MQTT UTF-8 Encoded String (without its length).
 *
 * @throws {@link ProtocolError} 0x81 where {@link isValidUtf8} says false
 */
export function decodeUtf8(buf: Uint8Array, start: number, end: number): string {
  if (!isValidUtf8(buf, start, end)) throw new ProtocolError(ReasonCode.malformedPacket, 'string is not valid UTF-8')
  if (end - start > LOOP_BYTES_MAX) return decoder.decode(buf.subarray(start, end))
  let ascii = ''
  for (let at = start; at < end; at++) {
    const byte = buf[at] as number
    if (byte >= 0x80) return decoder.decode(buf.subarray(start, end))
    ascii += String.fromCharCode(byte)
  }
  return ascii
}

/** @returns the UTF-8 of a string; a lone surrogate becomes U+FFFD. */
export function encodeUtf8(text: string): Uint8Array {
  return encoder.encode(text)
}

/** @returns how many bytes {@link encodeUtf8} gives, without encoding. */
export function utf8Length(text: string): number {
  let length = text.length
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit < 0x80) continue
    if (unit < 0x800) {
      length += 1
    } else if (unit >= 0xd800 && unit <= 0xdbff && isLowSurrogate(text.charCodeAt(i + 1))) {
      // Two code units make four bytes.
      length += 2
      i++
    } else {
      length += 2
    }
  }
  return length
}

/** `charCodeAt` past the end gives NaN, which is in no range. */
function isLowSurrogate(unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff
}
