const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Up to here a loop over the bytes beats the call into the decoder, and most topics and client ids are as short. */
const LOOP_BYTES_MAX = 24

/**
 * Writes `text` as UTF-8 into `target`, which has room for `utf8Length(text)` bytes from `offset` on.
 *
 * @returns the offset behind it
 */
export function writeText(text: string, target: Uint8Array, offset: number): number {
  if (text.length > LOOP_BYTES_MAX) return offset + encoder.encodeInto(text, target.subarray(offset)).written
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit >= 0x80) return offset + encoder.encodeInto(text, target.subarray(offset)).written
    target[offset + i] = unit
  }
  return offset + text.length
}

/** @returns the text, or `undefined` when the bytes are not UTF-8; U+FEFF is kept, v5 [MQTT-1.5.4-3] */
export function decodeText(bytes: Uint8Array): string | undefined {
  if (bytes.length <= LOOP_BYTES_MAX) {
    let ascii = ''
    for (let i = 0; i < bytes.length; i++) {
      const byte = bytes[i] ?? 0
      if (byte >= 0x80) return decodeAny(bytes)
      ascii += String.fromCharCode(byte)
    }
    return ascii
  }
  return decodeAny(bytes)
}

function decodeAny(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
}
