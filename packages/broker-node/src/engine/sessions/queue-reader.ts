import {
  type InstanceName,
  type Message,
  type Qos,
  type QueueEntry,
  remainingExpirySeconds,
  type Store,
} from '@midge/protocol-core'
import { DropReason } from '../../counters.ts'
import { reportBackgroundFailure } from '../ground/background-failure.ts'
import type { DeliveryForm } from '../ground/delivery-form.ts'
import type { Outlet } from '../ground/outlet.ts'
import type { EngineServices } from '../ground/services.ts'
import type { Flushable } from '../ground/tick.ts'

/** Entries asked of the store at a time. */
const READ_ENTRIES_MAX = 256
const PACKET_IDS = 65_535

/** The part of `OpenedSession` that says where the queue stands. */
export interface QueueState {
  headSeq: number
  tailSeq: number
  sentSeq: number
}

/** The session that a reader feeds. */
export interface QueueOwner {
  readonly instance: InstanceName
  readonly clientId: string
  readonly epoch: number
  readonly outlet: Outlet
  readonly windowRoom: number
  /** Takes the packet id of one entry. @returns false while another exchange uses it or the window is full */
  beginQueued(packetId: number, entry: { seq: number; qos: Qos; released: boolean }): boolean
  /** Forgets an exchange that never reached the wire. */
  abandon(packetId: number): void
}

/** What readers of queues work with. */
export interface QueueReaderParts {
  readonly services: Pick<EngineServices, 'counters' | 'logger' | 'nowMs'> & {
    readonly store: Pick<Store, 'ackQueue' | 'readQueue' | 'releaseQueue' | 'tailSeq'>
  }
  /** Readers with acknowledgements for the store, flushed at the end of the tick. */
  readonly ackFlushes: { add(reader: Flushable): void }
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
export class QueueReader implements Flushable {
  /** Sequence number of the entry to send next. */
  nextSeq: number
  private readonly parts: QueueReaderParts
  private readonly session: QueueOwner
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

  constructor(parts: QueueReaderParts, session: QueueOwner, queue: QueueState) {
    this.parts = parts
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
  onCommitted(seq: number, message: Message, form: DeliveryForm): void {
    if (seq > this.tailSeq) this.tailSeq = seq
    else if (seq > this.lowerHint) this.lowerHint = seq
    if (seq === this.nextSeq && !this.isReading && this.sendCommitted(seq, message, form)) return
    this.pump()
  }

  pump(): void {
    if (this.isReading || this.nextSeq > this.tailSeq || this.session.windowRoom <= 0) return
    const { outlet } = this.session
    if (outlet.isClosed) return
    this.isReading = true
    this.read().catch((error: unknown) => outlet.onStoreFailure(error))
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
      this.flushReleases().catch((error: unknown) => this.session.outlet.onStoreFailure(error))
    }
  }

  flush(): void {
    this.flushAcks().catch((error: unknown) => reportBackgroundFailure(this.parts.services, 'acknowledgement', error))
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
      await this.parts.services.store.ackQueue(session.instance, session.clientId, session.epoch, upTo)
    } catch (error) {
      // Unknown to the store as far as we know: told again with the next acknowledgement or with the end.
      this.ackedUpTo = Math.min(this.ackedUpTo, before)
      throw error
    }
  }

  private async flushReleases(): Promise<void> {
    const { session } = this
    const { store } = this.parts.services
    while (this.releasing.length > 0) {
      const batch = this.releasing.splice(0)
      const seqs = batch.map(item => item.seq)
      await store.releaseQueue(session.instance, session.clientId, session.epoch, seqs)
      for (const item of batch) session.outlet.sendPubrel(item.packetId)
    }
    this.isReleasing = false
  }

  private async read(): Promise<void> {
    const { session } = this
    const { store } = this.parts.services
    try {
      while (this.nextSeq <= this.tailSeq && session.windowRoom > 0 && !session.outlet.isClosed) {
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
    const tailSeq = await this.parts.services.store.tailSeq(session.instance, session.clientId)
    if (tailSeq >= announced) this.skipTo(announced + 1)
    else if (this.tailSeq === announced) this.tailSeq = Math.max(tailSeq, this.lowerHint, this.nextSeq - 1)
  }

  /** Passes over entries that no longer exist, as if acknowledged. */
  private skipTo(seq: number): void {
    while (this.nextSeq < seq) this.ackSeq(this.nextSeq++)
  }

  /** @returns false when the window or the id is not free */
  private send(entry: QueueEntry): boolean {
    const { session } = this
    const packetId = packetIdOfSeq(entry.seq)
    if (!session.beginQueued(packetId, entry)) return false
    this.nextSeq = entry.seq + 1
    if (entry.released) session.outlet.sendPubrel(packetId)
    else this.sendMessage(entry.seq, entry.message, entry)
    return true
  }

  private sendCommitted(seq: number, message: Message, form: DeliveryForm): boolean {
    if (!this.session.beginQueued(packetIdOfSeq(seq), { seq, qos: form.qos, released: false })) return false
    this.nextSeq = seq + 1
    this.sendMessage(seq, message, form)
    return true
  }

  private sendMessage(seq: number, message: Message, form: DeliveryForm): void {
    const { outlet } = this.session
    const { counters, nowMs } = this.parts.services
    const packetId = packetIdOfSeq(seq)
    // A delivery that has begun is completed, expired or not. v5 [MQTT-4.3.3-7].
    if (seq <= this.resentUpTo) {
      if (outlet.resendPublish(message, form, packetId)) return
    } else if (remainingExpirySeconds(message.expiresAtMs, nowMs()) === 0) {
      counters.drop(DropReason.expired)
    } else if (outlet.sendPublish(message, form, packetId)) {
      return
    }
    this.session.abandon(packetId)
    this.ackSeq(seq)
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
      this.parts.ackFlushes.add(this)
    }
  }
}
