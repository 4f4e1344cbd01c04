import { PacketType, type ProtocolVersion } from '../packet.ts'
import { ReasonCode } from '../reason-code.ts'
import { byteAt } from './bytes.ts'

/*
 * Fixed header, v5 section 2.1 (v3.1.1 section 2.2):
 *
 *   byte 0      type (4 bits) | flags (4 bits)
 *   byte 1..4   Remaining Length, a Variable Byte Integer: bytes of the body that follows
 */

/**
 * Finds the end of the packet that begins at `start`.
 *
 * Allocates nothing, reads at most five bytes and does not look at the first.
 *
 * @returns 0 when more bytes are needed to know the length (not: to have the whole body); -1 when the Remaining Length
 * is malformed; else `remainingLength * 8 + headerLength`, header length being 2 to 5. The largest result is below
 * 2^31, so it is a small integer: take it apart with `>>> 3` and `& 7`.
 *
 * Spec: v5 [MQTT-1.5.5-1] shortest form; v3.1.1 section 2.2.3 at most four bytes.
 */
export function scanFrame(buf: Uint8Array, start: number, end: number): number {
  if (end - start < 2) return 0
  const first = byteAt(buf, start + 1)
  if (first < 0x80) return (first << 3) | 2
  let length = first & 0x7f
  for (let i = 2; i <= 4; i++) {
    if (start + i >= end) return 0
    const byte = byteAt(buf, start + i)
    length |= (byte & 0x7f) << (7 * (i - 1))
    if (byte < 0x80) return byte === 0 ? -1 : (length << 3) | (i + 1)
  }
  return -1
}

/** DUP of an MQTT 3.1 packet that is sent at QoS 1. */
const DUP_FLAG = 0x08

/** One entry per first byte, so that the check of every packet is a load. */
const problemsOf3: Uint8Array = problemTable(3)
const problemsOf4: Uint8Array = problemTable(4)
const problemsOf5: Uint8Array = problemTable(5)

/**
 * Checks type and flags of a packet that a client sent; the flags of PUBLISH are left to `decodePublish`, those of
 * CONNECT to `decodeConnect`, because only its body tells the version.
 *
 * @param version - before CONNECT is read, any: the answer for CONNECT is the same in all
 * @returns 0, 0x81 for the reserved type 0 and reserved flags, or 0x82 for a type that only servers send
 *
 * Spec: v5 [MQTT-2.1.3-1]; v3.1.1 [MQTT-2.2.2-2], [MQTT-3.6.1-1], [MQTT-3.8.1-1], [MQTT-3.10.1-1].
 */
export function firstByteProblem(firstByte: number, version: ProtocolVersion): number {
  const table = version === 5 ? problemsOf5 : version === 4 ? problemsOf4 : problemsOf3
  return table[firstByte] ?? ReasonCode.malformedPacket
}

function problemTable(version: ProtocolVersion): Uint8Array {
  const table = new Uint8Array(256)
  for (let byte = 0; byte < table.length; byte++) table[byte] = computeProblem(byte >> 4, byte & 0x0f, version)
  return table
}

function computeProblem(type: number, flags: number, version: ProtocolVersion): number {
  switch (type) {
    case PacketType.connect:
    case PacketType.publish:
      return ReasonCode.success
    case PacketType.pubrel:
    case PacketType.subscribe:
    case PacketType.unsubscribe:
      // MQTT 3.1 sends these at QoS 1 and lets a client mark a repetition with DUP (sections 3.6, 3.8 and 3.10 there).
      if (version === 3 && (flags & ~DUP_FLAG) === 2) return ReasonCode.success
      return flags === 2 ? ReasonCode.success : ReasonCode.malformedPacket
    case PacketType.connack:
    case PacketType.suback:
    case PacketType.unsuback:
    case PacketType.pingresp:
      return ReasonCode.protocolError
    case PacketType.auth:
      return version === 5 && flags === 0 ? ReasonCode.success : ReasonCode.malformedPacket
    case 0:
      return ReasonCode.malformedPacket
    default:
      return flags === 0 ? ReasonCode.success : ReasonCode.malformedPacket
  }
}
