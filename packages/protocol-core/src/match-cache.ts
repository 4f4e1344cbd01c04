import { assignSlots, type FilterChanges, type TopicSlots } from './filter-changes.ts'

/** Names longer than this are not cached: a bound by count alone would let a client fill memory with 64 KB names. */
export const CACHED_TOPIC_LENGTH_MAX = 512

class CacheEntry<T> implements TopicSlots {
  value: T
  stamp: number
  slot1: number
  slot2: number
  slot3: number

  constructor(value: T) {
    this.value = value
    this.stamp = 0
    this.slot1 = 0
    this.slot2 = 0
    this.slot3 = 0
  }
}

/**
 * Answers by topic name that stay valid until a filter that could match the topic changes.
 *
 * Holds at most `entriesMax` answers in two generations: new and asked-for ones go into the young, and when that has
 * half the bound, the old one is forgotten and the young becomes old. So the last `entriesMax / 2` different topics
 * are always there, and a hit allocates nothing (one look-up and four counters; a move from old to young is one insert).
 */
export class MatchCache<T> {
  readonly #changes: FilterChanges
  readonly #generationMax: number
  #young: Map<string, CacheEntry<T>>
  #old: Map<string, CacheEntry<T>>

  /** @param changes - of the index, or indexes, that the answers are made from */
  constructor(changes: FilterChanges, entriesMax: number) {
    this.#changes = changes
    this.#generationMax = Math.max(1, entriesMax >>> 1)
    this.#young = new Map()
    this.#old = new Map()
    changes.listen(this)
  }

  /** Answers held, valid or not. */
  get size(): number {
    return this.#young.size + this.#old.size
  }

  /** @returns the answer, or `undefined` when there is none or a filter that could concern the topic has changed */
  get(topicName: string): T | undefined {
    let entry = this.#young.get(topicName)
    if (entry === undefined) {
      entry = this.#old.get(topicName)
      if (entry === undefined) return undefined
      this.#old.delete(topicName)
      if (entry.stamp !== this.#changes.stamp(entry)) return undefined
      this.#insert(topicName, entry)
      return entry.value
    }
    if (entry.stamp === this.#changes.stamp(entry)) return entry.value
    this.#young.delete(topicName)
    return undefined
  }

  /** Keeps an answer that was made in this turn, after the last change of the indexes. */
  set(topicName: string, value: T): void {
    if (topicName.length > CACHED_TOPIC_LENGTH_MAX) return
    const entry = new CacheEntry(value)
    assignSlots(topicName, entry)
    entry.stamp = this.#changes.stamp(entry)
    this.#old.delete(topicName)
    this.#insert(topicName, entry)
  }

  /** Forgets the answer for one topic. */
  onExactChange(topicName: string): void {
    if (!this.#young.delete(topicName)) this.#old.delete(topicName)
  }

  /** Forgets all answers. */
  clear(): void {
    this.#young.clear()
    this.#old.clear()
  }

  #insert(topicName: string, entry: CacheEntry<T>): void {
    if (this.#young.size >= this.#generationMax && !this.#young.has(topicName)) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(topicName, entry)
  }
}
