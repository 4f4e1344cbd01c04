import { PACKET_ID_MAX } from './limits.ts'

const PAGE_IDS_LOG2 = 10
const PAGE_IDS = 1 << PAGE_IDS_LOG2
const PAGE_WORDS = PAGE_IDS / 32
const ALL_BITS = 0xffff_ffff

/** The identifiers of 1,024 in a row; bit set means in use. */
class Page {
  readonly words: Uint32Array
  used: number

  constructor() {
    this.words = new Uint32Array(PAGE_WORDS)
    this.used = 0
  }
}

/**
 * Packet Identifiers in use towards one client.
 *
 * Goes round through all identifiers, so that one that was freed is used again as late as possible. Keeps bits only
 * around the identifiers in use (plus one spare page of 128 bytes), so an idle connection has none.
 * Spec: v5 [MQTT-2.2.1-4], v3.1.1 [MQTT-2.3.1-4].
 */
export class PacketIdPool {
  /** Identifiers in use. */
  count: number
  #pages: (Page | undefined)[] | undefined
  #spare: Page | undefined
  #last: number

  constructor() {
    this.count = 0
    this.#pages = undefined
    this.#spare = undefined
    this.#last = 0
  }

  /** @returns the next free identifier after the last one given, which is now in use; 0 when there is none */
  take(): number {
    if (this.count >= PACKET_ID_MAX) return 0
    let packetId = this.#firstFree(this.#last + 1)
    if (packetId > PACKET_ID_MAX) packetId = this.#firstFree(1)
    this.#mark(packetId)
    this.#last = packetId
    return packetId
  }

  /** Marks one identifier as in use, for a session that is resumed. @returns false when it was or is out of range */
  takeSpecific(packetId: number): boolean {
    if (packetId < 1 || packetId > PACKET_ID_MAX || this.has(packetId)) return false
    this.#mark(packetId)
    return true
  }

  /** @returns false when the identifier was not in use */
  free(packetId: number): boolean {
    const pageNumber = packetId >>> PAGE_IDS_LOG2
    const page = this.#pages?.[pageNumber]
    if (page === undefined || !hasBit(page, packetId)) return false
    const word = wordOf(packetId)
    page.words[word] = (page.words[word] ?? 0) & ~(1 << (packetId & 31))
    page.used--
    this.count--
    if (page.used === 0 && this.#pages !== undefined) {
      this.#pages[pageNumber] = undefined
      this.#spare = page
    }
    return true
  }

  has(packetId: number): boolean {
    const page = packetId >= 1 && packetId <= PACKET_ID_MAX ? this.#pages?.[packetId >>> PAGE_IDS_LOG2] : undefined
    return page !== undefined && hasBit(page, packetId)
  }

  /** @returns the first free identifier from `from` on; above the maximum when there is none */
  #firstFree(from: number): number {
    let packetId = from
    while (packetId <= PACKET_ID_MAX) {
      const page = this.#pages?.[packetId >>> PAGE_IDS_LOG2]
      if (page === undefined) return packetId
      if (page.used === PAGE_IDS) {
        packetId = nextMultiple(packetId, PAGE_IDS)
        continue
      }
      // Bits before `packetId` count as taken.
      const taken = (page.words[wordOf(packetId)] ?? 0) | ((1 << (packetId & 31)) - 1)
      if (taken >>> 0 !== ALL_BITS) return (packetId & ~31) + lowestZero(taken)
      packetId = nextMultiple(packetId, 32)
    }
    return packetId
  }

  #mark(packetId: number): void {
    this.#pages ??= []
    const pageNumber = packetId >>> PAGE_IDS_LOG2
    let page = this.#pages[pageNumber]
    if (page === undefined) {
      page = this.#spare ?? new Page()
      this.#spare = undefined
      while (this.#pages.length < pageNumber) this.#pages.push(undefined)
      this.#pages[pageNumber] = page
    }
    const word = wordOf(packetId)
    page.words[word] = (page.words[word] ?? 0) | (1 << (packetId & 31))
    page.used++
    this.count++
  }
}

function wordOf(packetId: number): number {
  return (packetId & (PAGE_IDS - 1)) >>> 5
}

function hasBit(page: Page, packetId: number): boolean {
  return (((page.words[wordOf(packetId)] ?? 0) >>> (packetId & 31)) & 1) === 1
}

function lowestZero(word: number): number {
  const lowest = ~word & (word + 1)
  return 31 - Math.clz32(lowest)
}

function nextMultiple(value: number, of: number): number {
  return (value & ~(of - 1)) + of
}
