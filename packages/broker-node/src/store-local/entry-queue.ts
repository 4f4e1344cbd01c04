import type { Message, Qos } from '@midge/protocol-core'

const CAPACITY_MIN = 8
/** Never written: there is no room in it. */
const NO_SLOTS: (StoredEntry | undefined)[] = []

/** One message in one session's queue; its sequence number is its place in the {@link EntryQueue}. */
export class StoredEntry {
  readonly message: Message
  readonly qos: Qos
  readonly retain: boolean
  readonly subscriptionIds: number[] | undefined
  /** Size of the encoded message: what the byte limit counts. */
  readonly size: number
  /** PUBREC has arrived. */
  released = false

  constructor(
    message: Message,
    delivery: { qos: Qos; retain: boolean; subscriptionIds: number[] | undefined },
    size: number,
  ) {
    this.message = message
    this.qos = delivery.qos
    this.retain = delivery.retain
    this.subscriptionIds = delivery.subscriptionIds
    this.size = size
  }
}

/**
 * The queue of one session: a ring in which place follows from sequence number.
 *
 * Sequence numbers from `headSeq` to `tailSeq` have a slot, of which those of removed entries are empty; the first
 * slot never is, unless the queue is empty and `headSeq` is `tailSeq + 1`.
 */
export class EntryQueue {
  headSeq = 1
  tailSeq = 0
  /** Entries that are there, empty slots not counted. */
  count = 0
  bytes = 0
  #slots = NO_SLOTS
  #start = 0

  append(entry: StoredEntry): number {
    const used = this.tailSeq - this.headSeq + 1
    if (used === this.#slots.length) this.#grow()
    this.#slots[(this.#start + used) & (this.#slots.length - 1)] = entry
    this.count++
    this.bytes += entry.size
    this.tailSeq++
    return this.tailSeq
  }

  at(seq: number): StoredEntry | undefined {
    if (seq < this.headSeq || seq > this.tailSeq) return undefined
    return this.#slots[(this.#start + seq - this.headSeq) & (this.#slots.length - 1)]
  }

  remove(seq: number): StoredEntry | undefined {
    const entry = this.at(seq)
    if (entry === undefined) return undefined
    this.#slots[(this.#start + seq - this.headSeq) & (this.#slots.length - 1)] = undefined
    this.count--
    this.bytes -= entry.size
    this.#trim()
    return entry
  }

  /** Puts an entry where it was before a restart; called in ascending order. */
  restore(seq: number, entry: StoredEntry): void {
    if (this.headSeq > this.tailSeq) this.skipTo(seq)
    while (this.tailSeq + 1 < seq) this.#appendGap()
    this.append(entry)
  }

  /** Makes `seq` the next sequence number of an empty queue. */
  skipTo(seq: number): void {
    if (this.count !== 0 || seq <= this.tailSeq) return
    this.headSeq = seq
    this.tailSeq = seq - 1
  }

  #appendGap(): void {
    const used = this.tailSeq - this.headSeq + 1
    if (used === this.#slots.length) this.#grow()
    this.#slots[(this.#start + used) & (this.#slots.length - 1)] = undefined
    this.tailSeq++
  }

  #trim(): void {
    const mask = this.#slots.length - 1
    while (this.headSeq <= this.tailSeq && this.#slots[this.#start] === undefined) {
      this.#start = (this.#start + 1) & mask
      this.headSeq++
    }
    if (this.headSeq <= this.tailSeq) return
    this.#start = 0
    // A queue that was long once does not hold on to its ring.
    if (this.#slots.length > CAPACITY_MIN) this.#slots = NO_SLOTS
  }

  #grow(): void {
    const old = this.#slots
    const larger = new Array<StoredEntry | undefined>(Math.max(CAPACITY_MIN, old.length * 2)).fill(undefined)
    for (let i = 0; i < old.length; i++) larger[i] = old[(this.#start + i) & (old.length - 1)]
    this.#slots = larger
    this.#start = 0
  }
}
