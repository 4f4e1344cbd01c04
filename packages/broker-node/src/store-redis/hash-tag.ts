/** Fixed for the life of a data set: another number would look for every session in the wrong place. */
export const PARTITION_COUNT = 64

const SLOT_COUNT = 16_384

/** CRC16 (XMODEM) as Redis Cluster uses it to place keys. */
function crc16(text: string): number {
  let crc = 0
  for (let i = 0; i < text.length; i++) {
    crc ^= text.charCodeAt(i) << 8
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) !== 0 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff
  }
  return crc
}

/** @returns the Redis Cluster slot of a hash tag of ASCII characters */
export function slotOf(tag: string): number {
  return crc16(tag) % SLOT_COUNT
}

/**
 * A suffix moves each tag into the stripe of slots that belongs to its number: bare numbers would put several
 * partitions on one cluster node and none on another.
 */
function tagOf(partition: number): string {
  const stripe = SLOT_COUNT / PARTITION_COUNT
  for (let attempt = 0; ; attempt++) {
    const tag = attempt === 0 ? `p${partition}` : `p${partition}.${attempt}`
    if (Math.floor(slotOf(tag) / stripe) === partition) return tag
  }
}

/** The hash tag of each partition, without braces; evenly spread over the slots. */
export const PARTITION_TAGS: readonly string[] = Array.from({ length: PARTITION_COUNT }, (_, partition) =>
  tagOf(partition),
)

/** FNV-1a over the UTF-16 code units of two names; part of the data format. */
export function partitionOf(first: string, second: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < first.length; i++) hash = Math.imul(hash ^ first.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ 0, 0x01000193)
  for (let i = 0; i < second.length; i++) hash = Math.imul(hash ^ second.charCodeAt(i), 0x01000193)
  // The low bits of FNV are its weak ones.
  return ((hash >>> 16) ^ hash) & (PARTITION_COUNT - 1)
}
