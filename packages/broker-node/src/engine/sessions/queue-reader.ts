import { type Message, type Qos, type QueueEntry, remainingExpirySeconds } from '@midge/protocol-core'
import { DropReason } from '../../counters.ts'
import type { Session } from './session.ts'

/** Entries asked of the store at a time. */
const READ_ENTRIES_MAX = 256
const PACKET_IDS = 65_535

/** The part of `OpenedSession` that says where the queue stands. */
export interface QueueState {
  headSeq: number
  tailSeq: number
  sentSeq: number
}

/** The packet id of a queue entry: the same on every node and after every resume. */
export function packetIdOfSeq(seq: number): number {
  return (seq % PACKET_IDS) + 1
}

/**
 * Feeds a connection from the session's queue in the store.
 *
 * The queue is the truth: whatever announces growth only raises `tailSeq`, and everything between the last entry sent
 * and the tail is read from the store when the window has room. A message just committed by this node that is next in
 * line is sent without reading it back.
 */
export class QueueReader {
  /** Sequence number of the entry to send next. */
  nextSeq: number
  private readonly session: Session
  private headSeq: number
  private tailSeq: number
  /** Entries up to here may have been sent on an earlier connection and are marked DUP. v5 [MQTT-3.3.1-1]. */
  private readonly resentUpTo: number
  /** Acknowledged out of order: above `headSeq`. */
  private readonly ackedAhead = new Set<number>()
  private readonly releasing: { seq: number; packetId: number }[] = []
  private ackedUpTo: number
  /** Announced since the last look at the true tail, below the one believed in. */
  private lowerHint = 0
  private isReading = false
  private isFlushQueued = false
  private isReleasing = false

  constructor(session: Session, queue: QueueState) {
    this.session = session
    this.headSeq = queue.headSeq
    this.nextSeq = queue.headSeq
    this.ackedUpTo = queue.headSeq - 1
    this.tailSeq = queue.tailSeq
    this.resentUpTo = queue.sentSeq
  }

  /** Acknowledged entries that are not part of the acknowledged beginning of the queue; for the next connection. */
  get acknowledgedAhead(): number[] {
    return [...this.ackedAhead]
  }

  /** Newest entry that was ever sent; kept by the store for the next connection. */
  get sentSeq(): number {
    return Math.max(this.resentUpTo, this.nextSeq - 1)
  }

  /** Entries that the client has not acknowledged, sent or not. */
  get length(): number {
    return this.tailSeq - this.headSeq + 1
  }

  /** The queue has grown, by whoever's commit. */
  onGrew(tailSeq: number): void {
    if (tailSeq > this.tailSeq) this.tailSeq = tailSeq
    else if (tailSeq > this.lowerHint) this.lowerHint = tailSeq
    this.pump()
  }

  /** This node has just stored `message` as `seq`. */
  onCommitted(seq: number, message: Message, qos: Qos, retain: boolean, subscriptionIds: number[] | undefined): void {
    if (seq > this.tailSeq) this.tailSeq = seq
    else if (seq > this.lowerHint) this.lowerHint = seq
    if (
      seq === this.nextSeq &&
      !this.isReading &&
      this.send({ seq, qos, retain, subscriptionIds, released: false, message })
    )
      return
    this.pump()
  }

  pump(): void {
    if (this.isReading || this.nextSeq > this.tailSeq || this.session.windowRoom <= 0) return
    const { connection } = this.session
    if (connection.isClosed) return
    this.isReading = true
    this.read().catch((error: unknown) => connection.onStoreFailure(error))
  }

  onAcked(packetId: number): void {
    const head = this.headSeq
    const distance = (packetId - packetIdOfSeq(head) + PACKET_IDS) % PACKET_IDS
    const seq = head + distance
    if (seq >= this.nextSeq) return
    this.ackSeq(seq)
  }

  /** Records PUBREC in the store, then sends PUBREL. */
  release(seq: number, packetId: number): void {
    this.releasing.push({ seq, packetId })
    if (!this.isReleasing) {
      this.isReleasing = true
      this.flushReleases().catch((error: unknown) => this.session.connection.onStoreFailure(error))
    }
  }

  /** Tells the store how far the client has acknowledged; called once per tick. */
  async flushAcks(): Promise<void> {
    this.isFlushQueued = false
    const upTo = this.headSeq - 1
    if (upTo <= this.ackedUpTo) return
    const before = this.ackedUpTo
    this.ackedUpTo = upTo
    const { session } = this
    try {
      await session.connection.broker.store.ackQueue(session.instance, session.clientId, session.epoch, upTo)
    } catch (error) {
      // Unknown to the store as far as we know: told again with the next acknowledgement or with the end.
      this.ackedUpTo = Math.min(this.ackedUpTo, before)
      throw error
    }
  }

  private async flushReleases(): Promise<void> {
    const { session } = this
    const { store } = session.connection.broker
    while (this.releasing.length > 0) {
      const batch = this.releasing.splice(0)
      const seqs = batch.map(item => item.seq)
      await store.releaseQueue(session.instance, session.clientId, session.epoch, seqs)
      for (const item of batch) session.connection.sendPubrel(item.packetId)
    }
    this.isReleasing = false
  }

  private async read(): Promise<void> {
    const { session } = this
    const { store } = session.connection.broker
    try {
      while (this.nextSeq <= this.tailSeq && session.windowRoom > 0 && !session.connection.isClosed) {
        const upTo = this.tailSeq
        const count = Math.min(session.windowRoom, READ_ENTRIES_MAX)
        const entries = await store.readQueue(session.instance, session.clientId, session.epoch, this.nextSeq, count)
        if (entries.length === 0) await this.skipExpired(upTo)
        else if (!this.sendAll(entries)) break
      }
    } finally {
      this.isReading = false
    }
  }

  /** @returns false when the window or an id is not free: the next acknowledgement goes on */
  private sendAll(entries: QueueEntry[]): boolean {
    for (const entry of entries) {
      this.skipTo(entry.seq)
      if (!this.send(entry)) return false
    }
    return true
  }

  /**
   * Nothing was read up to a tail that was announced. Either those entries have expired, and waiting for them would
   * last for ever; or the announcement was about an earlier session of this client id, and skipping would lose messages.
   */
  private async skipExpired(announced: number): Promise<void> {
    const { session } = this
    this.lowerHint = 0
    const tailSeq = await session.connection.broker.store.tailSeq(session.instance, session.clientId)
    if (tailSeq >= announced) this.skipTo(announced + 1)
    else if (this.tailSeq === announced) this.tailSeq = Math.max(tailSeq, this.lowerHint, this.nextSeq - 1)
  }

  /** Passes over entries that no longer exist, as if acknowledged. */
  private skipTo(seq: number): void {
    while (this.nextSeq < seq) this.ackSeq(this.nextSeq++)
  }

  private send(entry: QueueEntry): boolean {
    const { session } = this
    const packetId = packetIdOfSeq(entry.seq)
    if (!session.beginQueued(packetId, entry.seq, entry.qos, entry.released)) return false
    this.nextSeq = entry.seq + 1
    if (entry.released) {
      session.connection.sendPubrel(packetId)
      return true
    }
    const { connection } = session
    const dup = entry.seq <= this.resentUpTo
    // A delivery that has begun is completed, expired or not. v5 [MQTT-4.3.3-7].
    if (!dup && remainingExpirySeconds(entry.message.expiresAtMs, connection.broker.nowMs()) === 0) {
      connection.broker.counters.drop(DropReason.expired)
    } else if (connection.sendPublish(entry.message, entry.qos, entry.retain, dup, packetId, entry.subscriptionIds)) {
      return true
    }
    session.abandon(packetId)
    this.ackSeq(entry.seq)
    return true
  }

  private ackSeq(seq: number): void {
    if (seq !== this.headSeq) {
      if (seq > this.headSeq) this.ackedAhead.add(seq)
      return
    }
    this.headSeq++
    while (this.ackedAhead.size > 0 && this.ackedAhead.delete(this.headSeq)) this.headSeq++
    if (!this.isFlushQueued) {
      this.isFlushQueued = true
      this.session.connection.broker.queueAckFlush(this)
    }
  }
}
