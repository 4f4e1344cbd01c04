/** Something that happens at a time; `dueAtMs` is 0 while it is not scheduled and belongs to {@link Deadlines}. */
export interface Scheduled {
  dueAtMs: number
}

interface Slot<T> {
  atMs: number
  item: T
}

/** Below this many slots a rebuild is not worth its trouble. */
const REBUILD_SLOTS_MIN = 64

/**
 * What is due when, as a binary heap.
 *
 * Moving or cancelling leaves the old slot behind, which is recognised when it comes up; when half of the slots are
 * such leftovers the heap is rebuilt, so its size stays within twice what is scheduled.
 */
export class Deadlines<T extends Scheduled> {
  #heap: Slot<T>[] = []
  #stale = 0

  /** Sets or moves the deadline of `item`. */
  schedule(item: T, atMs: number): void {
    if (item.dueAtMs === atMs) return
    this.cancel(item)
    item.dueAtMs = atMs
    this.#heap.push({ atMs, item })
    this.#up(this.#heap.length - 1)
  }

  cancel(item: T): void {
    if (item.dueAtMs === 0) return
    item.dueAtMs = 0
    this.#stale++
    if (this.#stale > REBUILD_SLOTS_MIN && this.#stale * 2 > this.#heap.length) this.#rebuild()
  }

  /** @returns the item that has been due for longest, no longer scheduled; `undefined` when none is due by `nowMs` */
  takeDue(nowMs: number): T | undefined {
    for (;;) {
      const top = this.#heap[0]
      if (top === undefined || top.atMs > nowMs) return undefined
      this.#pop()
      if (top.item.dueAtMs === top.atMs) {
        top.item.dueAtMs = 0
        return top.item
      }
      this.#stale = Math.max(0, this.#stale - 1)
    }
  }

  /** Slots in use, leftovers included. */
  get size(): number {
    return this.#heap.length
  }

  #pop(): void {
    const last = this.#heap.pop()
    if (last === undefined || this.#heap.length === 0) return
    this.#heap[0] = last
    this.#down(0)
  }

  #up(start: number): void {
    let index = start
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (this.#at(parent) <= this.#at(index)) return
      this.#swap(index, parent)
      index = parent
    }
  }

  #down(start: number): void {
    let index = start
    for (;;) {
      let least = index
      for (let child = 2 * index + 1; child <= 2 * index + 2; child++) {
        if (child < this.#heap.length && this.#at(child) < this.#at(least)) least = child
      }
      if (least === index) return
      this.#swap(index, least)
      index = least
    }
  }

  #at(index: number): number {
    return this.#heap[index]?.atMs ?? Number.POSITIVE_INFINITY
  }

  #swap(a: number, b: number): void {
    const slotA = this.#heap[a]
    const slotB = this.#heap[b]
    if (slotA === undefined || slotB === undefined) return
    this.#heap[a] = slotB
    this.#heap[b] = slotA
  }

  #rebuild(): void {
    // One slot per item: an item that was moved away and back has two that look current.
    const kept = new Map<T, Slot<T>>()
    for (const slot of this.#heap) if (slot.item.dueAtMs === slot.atMs) kept.set(slot.item, slot)
    this.#heap = [...kept.values()]
    this.#stale = 0
    for (let i = (this.#heap.length >> 1) - 1; i >= 0; i--) this.#down(i)
  }
}
