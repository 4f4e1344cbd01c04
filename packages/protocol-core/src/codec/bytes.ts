/*
 * Reading and writing the data types of v5 section 1.5. Nothing here checks bounds of reads unless it takes an `end`:
 * the callers have compared with the end of the packet body before.
 */

/** Short topics and property blocks are copied byte by byte, anything longer by `TypedArray.set`. */
const LOOP_COPY_MAX = 12

/** @returns the byte at `at`, which the caller knows to be inside `buf`. */
export function byteAt(buf: Uint8Array, at: number): number {
  // The cast is the one place that trades the compiler's doubt for the caller's bound check.
  return buf[at] as number
}

/** Two Byte Integer, big-endian. */
export function uint16At(buf: Uint8Array, at: number): number {
  return (byteAt(buf, at) << 8) | byteAt(buf, at + 1)
}

/** Four Byte Integer, big-endian, unsigned. */
export function uint32At(buf: Uint8Array, at: number): number {
  return uint16At(buf, at) * 0x1_0000 + uint16At(buf, at + 2)
}

/**
 * Reads a Variable Byte Integer.
 *
 * @returns `value * 8 + length` (length 1 to 4); 0 when `end` comes first; -1 when there is a fifth byte or the value
 * is not in its shortest form. Two results in one number, so that nothing is allocated.
 *
 * Spec: v5 section 1.5.5, [MQTT-1.5.5-1].
 */
export function scanVarint(buf: Uint8Array, start: number, end: number): number {
  let value = 0
  let shift = 0
  for (let at = start; at < end; at++) {
    const byte = byteAt(buf, at)
    value |= (byte & 0x7f) << shift
    const length = at - start + 1
    if (byte < 0x80) return byte === 0 && length > 1 ? -1 : value * 8 + length
    if (length === 4) return -1
    shift += 7
  }
  return 0
}

/** @returns the bytes that {@link writeVarint} takes: 1 to 4. */
export function varintLength(value: number): number {
  if (value < 0x80) return 1
  if (value < 0x4000) return 2
  return value < 0x20_0000 ? 3 : 4
}

/** Writes a Variable Byte Integer in its shortest form; returns the next offset. */
export function writeVarint(target: Uint8Array, offset: number, value: number): number {
  let at = offset
  let rest = value
  while (rest >= 0x80) {
    target[at++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  target[at++] = rest
  return at
}

/** Writes a Two Byte Integer; returns the next offset. */
export function writeUint16(target: Uint8Array, offset: number, value: number): number {
  target[offset] = value >>> 8
  target[offset + 1] = value
  return offset + 2
}

/** Writes a Four Byte Integer; returns the next offset. */
export function writeUint32(target: Uint8Array, offset: number, value: number): number {
  target[offset] = value >>> 24
  target[offset + 1] = value >>> 16
  target[offset + 2] = value >>> 8
  target[offset + 3] = value
  return offset + 4
}

/** Copies `source` to `offset`; returns the next offset. */
export function writeBytes(target: Uint8Array, offset: number, source: Uint8Array): number {
  const length = source.length
  if (length > LOOP_COPY_MAX) {
    target.set(source, offset)
  } else {
    for (let i = 0; i < length; i++) target[offset + i] = byteAt(source, i)
  }
  return offset + length
}
