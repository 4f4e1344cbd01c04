import { hasWildcard } from './topic-filter.ts'

const SLASH = 0x2f
const PLUS = 0x2b
const HASH = 0x23

/** Counters that wildcard changes are spread over; slot 0 concerns every topic. */
const SLOTS = 1024
/** Levels of the literal start of a filter that decide its slot. */
const PREFIX_LEVELS_MAX = 3
const FNV_OFFSET = 0x811c9dc5
const FNV_PRIME = 0x01000193

/** Told of every change of a filter without wildcards, which concerns the one topic of that name. */
export interface ExactChangeListener {
  onExactChange(topicName: string): void
}

/** Which counters a cached answer for one topic depends on; see {@link FilterChanges}. */
export interface TopicSlots {
  slot1: number
  slot2: number
  slot3: number
}

/**
 * What has changed in one or several filter indexes, kept so that a cache can tell in four array reads whether an
 * answer for a topic still holds.
 *
 * A wildcard filter can only match topics that begin with the literal levels before its first wildcard. A change of it
 * raises one counter, chosen by a hash of up to three of those levels; a topic watches the counters of its own first
 * one, two and three levels and the one of filters that begin with a wildcard. Counters only grow, so their sum is the
 * same only if none of them moved. A collision of hashes invalidates too much, never too little.
 * A change of an exact filter is told to the listeners and touches no counter.
 */
export class FilterChanges {
  /** Grows with every change of any filter that has a wildcard. */
  wildcardVersion: number
  // Wraps after 2^32 changes of one slot: an answer would have to stay unasked for exactly that many.
  readonly #slots: Uint32Array
  readonly #listeners: ExactChangeListener[]

  constructor() {
    this.wildcardVersion = 0
    this.#slots = new Uint32Array(SLOTS)
    this.#listeners = []
  }

  /** The listener stays for the life of this object. */
  listen(listener: ExactChangeListener): void {
    this.#listeners.push(listener)
  }

  /** Reports that the entries of `topicFilter` (without share prefix) have changed. */
  note(topicFilter: string): void {
    if (hasWildcard(topicFilter)) {
      this.wildcardVersion++
      this.#raise(slotOfFilter(topicFilter))
    } else {
      for (const listener of this.#listeners) listener.onExactChange(topicFilter)
    }
  }

  /** Makes every cached answer invalid, for changes that no single filter stands for. */
  noteAll(): void {
    this.wildcardVersion++
    this.#raise(0)
  }

  /** @returns the sum to compare later; equal sums mean that no wildcard filter that could match has changed. */
  stamp(slots: TopicSlots): number {
    return this.#at(0) + this.#at(slots.slot1) + this.#at(slots.slot2) + this.#at(slots.slot3)
  }

  #at(slot: number): number {
    return this.#slots[slot] ?? 0
  }

  #raise(slot: number): void {
    this.#slots[slot] = this.#at(slot) + 1
  }
}

/** Fills in the counters that answers for `topicName` depend on. */
export function assignSlots(topicName: string, target: TopicSlots): void {
  let hash = FNV_OFFSET
  let levels = 0
  target.slot1 = 0
  target.slot2 = 0
  target.slot3 = 0
  for (let i = 0; i <= topicName.length && levels < PREFIX_LEVELS_MAX; i++) {
    const unit = topicName.charCodeAt(i)
    if (i === topicName.length || unit === SLASH) {
      levels++
      if (levels === 1) target.slot1 = slotOf(hash)
      else if (levels === 2) target.slot2 = slotOf(hash)
      else target.slot3 = slotOf(hash)
    }
    hash = Math.imul(hash ^ unit, FNV_PRIME)
  }
}

/** The slot of the literal levels before the first wildcard, as {@link assignSlots} finds it for matching topics. */
function slotOfFilter(topicFilter: string): number {
  let hash = FNV_OFFSET
  let levels = 0
  let slot = 0
  for (let i = 0; i < topicFilter.length && levels < PREFIX_LEVELS_MAX; i++) {
    const unit = topicFilter.charCodeAt(i)
    if (unit === PLUS || unit === HASH) return slot
    if (unit === SLASH) {
      levels++
      slot = slotOf(hash)
    }
    hash = Math.imul(hash ^ unit, FNV_PRIME)
  }
  return slot
}

function slotOf(hash: number): number {
  return 1 + ((hash >>> 0) % (SLOTS - 1))
}
