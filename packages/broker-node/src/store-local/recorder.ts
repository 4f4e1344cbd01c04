import {
  encodeQueueEntryHeader,
  encodeSubscriptionOptions,
  encodeWill,
  type InstanceName,
  type Subscription,
} from '@midge/protocol-core'
import { ByteWriter } from './bytes.ts'
import type { StoredEntry } from './entry-queue.ts'
import type { Journal } from './journal.ts'
import type { Group, GroupEntry, LocalSession, SessionOwner, WillRecord } from './state.ts'

/** Layout of keys and values; a store of another version is refused. */
export const STORE_FORMAT = 1

/**
 * First byte of a key, in the order in which records are read back: owners before what they own.
 *
 *   format                                            → version
 *   epochBound                                        → u48
 *   secret     name                                   → key
 *   record     key                                    → JSON
 *   session    u32 instance size, instance, client id → u32 id, u48 epoch, connected, u32 expiry, u48 due, u48 sent,
 *                                                       node id, u48 kind of owner, [owner], will of the connection
 *   head       u32 session id                         → u48 sequence number before the next one (empty queue)
 *   entry      u32 session id, u48 seq                → queue entry
 *   released   u32 session id, u48 seq                → nothing
 *   inbound    u32 session id, u16 packet id          → nothing
 *   subscribed u32 session id, topic filter           → options
 *   group      u32 instance size, instance, name      → u32 id, u48 sequence number that is next at least
 *   groupEntry u32 group id, u48 seq                  → queue entry
 *   held       u32 group id, u48 seq                  → u48 epoch, u16 packet id, released, client id
 *   retained   u32 instance size, instance, topic     → message
 *   will       u48 epoch                                → u48 due, instance, client id, will
 *   synced                                            → nothing
 */
export const Tag = {
  format: 0x01,
  epochBound: 0x02,
  will: 0x03,
  secret: 0x04,
  record: 0x05,
  session: 0x10,
  head: 0x11,
  entry: 0x12,
  released: 0x13,
  inbound: 0x14,
  subscribed: 0x15,
  group: 0x20,
  groupEntry: 0x21,
  held: 0x22,
  retained: 0x30,
  synced: 0xff,
} as const

/** Whose a session is; `user` is followed by the username. */
export const OwnerKind = { unknown: 0, anonymous: 1, user: 2 } as const

const NOTHING = new Uint8Array(0)

/** Writes every change of the {@link State} into the journal; does nothing when the journal keeps nothing. */
export class Recorder {
  readonly #journal: Journal
  readonly #keeps: boolean
  readonly #key = new ByteWriter()
  readonly #value = new ByteWriter()

  constructor(journal: Journal) {
    this.#journal = journal
    this.#keeps = journal.keeps
  }

  format(): void {
    this.#put(this.#tag(Tag.format), this.#value.start().u8(STORE_FORMAT))
  }

  epochBound(bound: number): void {
    this.#put(this.#tag(Tag.epochBound), this.#value.start().u48(bound))
  }

  secret(name: string, key: Uint8Array): void {
    this.#put(this.#tag(Tag.secret).text(name), this.#value.start().bytes(key))
  }

  record(key: string, value: string | undefined): void {
    if (value === undefined) this.#delete(this.#tag(Tag.record).text(key))
    else this.#put(this.#tag(Tag.record).text(key), this.#value.start().text(value))
  }

  session(session: LocalSession): void {
    if (!this.#keeps) return
    const value = this.#value
      .start()
      .u32(session.id)
      .u48(session.epoch)
      .u8(session.connected ? 1 : 0)
      .u32(session.expirySeconds)
      .u48(session.dueAtMs)
      .u48(session.sentSeq)
      .sizedText(session.nodeId)
    writeOwner(value, session.owner)
    if (session.will !== undefined) value.bytes(encodeWill(session.will))
    this.#put(this.#named(Tag.session, session.instance, session.clientId), value)
  }

  /** Forgets the session with everything that its id names. */
  sessionEnded(session: LocalSession): void {
    if (!this.#keeps) return
    const { queue } = session
    this.#delete(this.#named(Tag.session, session.instance, session.clientId))
    for (let seq = queue.headSeq; seq <= queue.tailSeq; seq++) {
      const entry = queue.at(seq)
      if (entry !== undefined) this.entryRemoved(session, seq, entry)
    }
    if (queue.tailSeq !== 0) this.#delete(this.#tag(Tag.head).u32(session.id))
    for (const packetId of session.inbound) this.inboundRemoved(session, packetId)
    for (const topicFilter of session.subscriptions.keys()) this.unsubscribed(session, topicFilter)
  }

  entry(session: LocalSession, seq: number, entry: StoredEntry, encodedMessage: Uint8Array): void {
    if (!this.#keeps) return
    const header = encodeQueueEntryHeader(entry.qos, entry.retain, entry.subscriptionIds)
    this.#put(this.#numbered(Tag.entry, session.id, seq), this.#value.start().bytes(header).bytes(encodedMessage))
  }

  entryRemoved(session: LocalSession, seq: number, entry: StoredEntry): void {
    this.#delete(this.#numbered(Tag.entry, session.id, seq))
    if (entry.released) this.#delete(this.#numbered(Tag.released, session.id, seq))
  }

  released(session: LocalSession, seq: number): void {
    this.#put(this.#numbered(Tag.released, session.id, seq), this.#value.start())
  }

  /** The queue is empty: without entries only this tells which sequence numbers were used. */
  queueEmptied(session: LocalSession): void {
    this.#put(this.#tag(Tag.head).u32(session.id), this.#value.start().u48(session.queue.tailSeq))
  }

  inbound(session: LocalSession, packetId: number): void {
    this.#put(this.#tag(Tag.inbound).u32(session.id).u16(packetId), this.#value.start())
  }

  inboundRemoved(session: LocalSession, packetId: number): void {
    this.#delete(this.#tag(Tag.inbound).u32(session.id).u16(packetId))
  }

  subscribed(session: LocalSession, subscription: Subscription): void {
    if (!this.#keeps) return
    const key = this.#tag(Tag.subscribed).u32(session.id).text(subscription.topicFilter)
    this.#put(key, this.#value.start().bytes(encodeSubscriptionOptions(subscription)))
  }

  unsubscribed(session: LocalSession, topicFilter: string): void {
    this.#delete(this.#tag(Tag.subscribed).u32(session.id).text(topicFilter))
  }

  /** Written again when the newest entry goes: without it only this tells which sequence numbers were used. */
  group(group: Group): void {
    if (!this.#keeps) return
    this.#put(this.#named(Tag.group, group.instance, group.name), this.#value.start().u32(group.id).u48(group.nextSeq))
  }

  groupDeleted(group: Group): void {
    if (!this.#keeps) return
    this.#delete(this.#named(Tag.group, group.instance, group.name))
    for (const entry of group.entries.values()) this.groupEntryRemoved(group, entry)
  }

  groupEntry(group: Group, entry: GroupEntry, encodedMessage: Uint8Array): void {
    if (!this.#keeps) return
    const header = encodeQueueEntryHeader(entry.qos, false, undefined)
    this.#put(
      this.#numbered(Tag.groupEntry, group.id, entry.seq),
      this.#value.start().bytes(header).bytes(encodedMessage),
    )
  }

  groupEntryRemoved(group: Group, entry: GroupEntry): void {
    this.#delete(this.#numbered(Tag.groupEntry, group.id, entry.seq))
    this.notHeld(group, entry)
  }

  /** Only for QoS 2: below it a message goes back to the group when the process dies, so nobody needs the mark. */
  held(group: Group, entry: GroupEntry): void {
    if (!this.#keeps || entry.qos !== 2 || entry.holder === undefined) return
    const value = this.#value
      .start()
      .u48(entry.epoch)
      .u16(entry.packetId)
      .u8(entry.released ? 1 : 0)
      .text(entry.holder)
    this.#put(this.#numbered(Tag.held, group.id, entry.seq), value)
  }

  notHeld(group: Group, entry: GroupEntry): void {
    if (entry.qos === 2) this.#delete(this.#numbered(Tag.held, group.id, entry.seq))
  }

  retained(instance: InstanceName, topicName: string, encodedMessage: Uint8Array): void {
    if (!this.#keeps) return
    this.#put(this.#named(Tag.retained, instance, topicName), this.#value.start().bytes(encodedMessage))
  }

  retainedRemoved(instance: InstanceName, topicName: string): void {
    this.#delete(this.#named(Tag.retained, instance, topicName))
  }

  /** `firesAtMs`, because a claim moves the deadline and is not written down. */
  will(record: WillRecord): void {
    if (!this.#keeps) return
    const value = this.#value
      .start()
      .u48(record.firesAtMs)
      .sizedText(record.instance)
      .sizedText(record.clientId)
      .bytes(encodeWill(record.will))
    this.#put(this.#tag(Tag.will).u48(record.id), value)
  }

  willRemoved(record: WillRecord): void {
    this.#delete(this.#tag(Tag.will).u48(record.id))
  }

  #tag(tag: number): ByteWriter {
    return this.#key.start().u8(tag)
  }

  #numbered(tag: number, id: number, seq: number): ByteWriter {
    return this.#tag(tag).u32(id).u48(seq)
  }

  #named(tag: number, instance: InstanceName, name: string): ByteWriter {
    return this.#tag(tag).sizedText(instance).text(name)
  }

  #put(key: ByteWriter, value: ByteWriter): void {
    if (this.#keeps) this.#journal.put(key.done(), value.done())
  }

  #delete(key: ByteWriter): void {
    if (this.#keeps) this.#journal.delete(key.done())
  }
}

function writeOwner(value: ByteWriter, owner: SessionOwner | undefined): void {
  if (owner === undefined) value.u48(OwnerKind.unknown)
  else if (owner.username === undefined) value.u48(OwnerKind.anonymous)
  else value.u48(OwnerKind.user).sizedText(owner.username)
}

/** A key with a value that says nothing: a synced write needs something to write. */
export const SYNCED_KEY: Uint8Array = Uint8Array.of(Tag.synced)
export const SYNCED_VALUE: Uint8Array = NOTHING
