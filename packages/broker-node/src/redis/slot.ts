const SLOT_COUNT = 16_384
const KNOWN_TAGS_MAX = 4_096

const CRC_TABLE: Uint16Array = makeTable()
const slots = new Map<string, number>()

function makeTable(): Uint16Array {
  const table = new Uint16Array(256)
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte << 8
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) !== 0 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff
    table[byte] = crc
  }
  return table
}

/** @returns the Redis Cluster slot of a hash tag of ASCII characters: CRC16 (XMODEM) */
export function slotOf(tag: string): number {
  let crc = 0
  for (let i = 0; i < tag.length; i++) {
    crc = ((crc << 8) ^ (CRC_TABLE[((crc >> 8) ^ tag.charCodeAt(i)) & 0xff] ?? 0)) & 0xffff
  }
  return crc % SLOT_COUNT
}

/** @returns the slot of a key, by its hash tag if it has one; the keys of a node share few tags, which are remembered */
export function slotOfKey(key: string): number {
  const open = key.indexOf('{')
  const end = open < 0 ? -1 : key.indexOf('}', open + 1)
  const tag = end > open + 1 ? key.slice(open + 1, end) : key
  const known = slots.get(tag)
  if (known !== undefined) return known
  if (slots.size >= KNOWN_TAGS_MAX) slots.clear()
  const slot = slotOf(tag)
  slots.set(tag, slot)
  return slot
}

/**
 * @returns `count` hash tags, one in each of as many stripes of slots. A suffix moves each tag into its stripe: bare
 * numbers would put several on one server of a cluster and none on another.
 */
export function spreadTags(count: number): string[] {
  const stripe = SLOT_COUNT / count
  return Array.from({ length: count }, (_, index) => {
    for (let attempt = 0; ; attempt++) {
      const tag = attempt === 0 ? `p${index}` : `p${index}.${attempt}`
      if (Math.floor(slotOf(tag) / stripe) === index) return tag
    }
  })
}
