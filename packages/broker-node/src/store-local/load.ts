import {
  BrokerError,
  decodeMessage,
  decodeQueueEntry,
  decodeSubscriptionOptions,
  decodeWill,
  messageSize,
} from '@midge/protocol-core'
import { ByteReader } from './bytes.ts'
import { StoredEntry } from './entry-queue.ts'
import type { Journal } from './journal.ts'
import { heldBy } from './local-groups.ts'
import { OwnerKind, STORE_FORMAT, Tag } from './recorder.ts'
import { Group, GroupEntry, LocalSession, RetainedRecord, type State, WillRecord } from './state.ts'

/** How far reading back has come. */
export interface LoadProgress {
  recordCount: number
  elapsedMs: number
}

/** What the loader needs besides the journal. */
export interface LoadOptions {
  now: () => number
  /** Called every 2 s for as long as reading back takes. */
  onProgress: ((progress: LoadProgress) => void) | undefined
}

const PROGRESS_MS = 2_000

/**
 * Reads everything that the journal keeps back into `state`.
 *
 * @returns false when the journal was empty: the store is new
 * @throws BrokerError `MIDGE_STORE_CORRUPT` for records that this release cannot read
 */
export async function loadState(state: State, journal: Journal, options: LoadOptions): Promise<boolean> {
  const loader = new Loader(state)
  const startedAtMs = options.now()
  let toldAtMs = startedAtMs
  let recordCount = 0
  for await (const page of journal.records()) {
    for (const [key, value] of page) {
      // An empty store has its version first, so anything else in front was written by something else.
      if (recordCount === 0 && key[0] !== Tag.format) throw corrupt('the directory holds no Midge store')
      loader.load(key, value)
      recordCount++
    }
    const nowMs = options.now()
    if (nowMs - toldAtMs < PROGRESS_MS) continue
    toldAtMs = nowMs
    options.onProgress?.({ recordCount, elapsedMs: nowMs - startedAtMs })
  }
  loader.finish()
  return recordCount > 0
}

/** Takes records in the order of their keys, see `Tag`. A record whose owner is not there is passed over. */
class Loader {
  readonly #state: State
  readonly #sessions: Map<number, LocalSession> = new Map()
  readonly #groups: Map<number, Group> = new Map()

  constructor(state: State) {
    this.#state = state
  }

  load(key: Uint8Array, value: Uint8Array): void {
    try {
      this.#load(key, value)
    } catch (error) {
      if (error instanceof BrokerError && error.code === 'MIDGE_STORE_CORRUPT') throw error
      throw corrupt(`a stored record of kind 0x${(key[0] ?? 0).toString(16)} cannot be read`, error)
    }
  }

  finish(): void {
    this.#state.epoch = this.#state.epochBound
    for (const group of this.#groups.values()) {
      group.freshSeq = group.nextSeq
      for (const entry of group.entries.values()) if (entry.holder === undefined) group.returned.push(entry.seq)
    }
  }

  #load(key: Uint8Array, value: Uint8Array): void {
    const at = new ByteReader(key)
    const tag = at.u8()
    switch (tag) {
      case Tag.format:
        checkFormat(new ByteReader(value).u8())
        break
      case Tag.epochBound:
        this.#state.epochBound = new ByteReader(value).u48()
        break
      case Tag.will:
        this.#will(at.u48(), new ByteReader(value))
        break
      case Tag.secret:
        this.#state.secrets.set(at.text(), Uint8Array.from(value))
        break
      case Tag.record:
        this.#state.records.set(at.text(), new ByteReader(value).text())
        break
      case Tag.session:
        this.#session(at.sizedText(), at.text(), new ByteReader(value))
        break
      case Tag.group:
        this.#group(at.sizedText(), at.text(), new ByteReader(value))
        break
      case Tag.groupEntry:
      case Tag.held:
        this.#ofGroup(tag, at, value)
        break
      case Tag.retained:
        this.#retained(at.sizedText(), value)
        break
      case Tag.synced:
        break
      default:
        this.#ofSession(tag, at, value)
    }
  }

  #will(id: number, value: ByteReader): void {
    const firesAtMs = value.u48()
    const owner = { instance: value.sizedText(), clientId: value.sizedText() }
    const record = new WillRecord(owner, id, decodeWill(value.rest()))
    record.firesAtMs = firesAtMs
    this.#state.addWill(record)
    this.#state.willDeadlines.schedule(record, firesAtMs)
  }

  #session(instance: string, clientId: string, value: ByteReader): void {
    const session = new LocalSession(instance, clientId, value.u32())
    session.epoch = value.u48()
    const isConnected = value.u8() === 1
    session.expirySeconds = value.u32()
    const dueAtMs = value.u48()
    session.sentSeq = value.u48()
    session.nodeId = value.sizedText()
    const ownerKind = value.u48()
    if (ownerKind === OwnerKind.user) session.owner = { username: value.sizedText() }
    else if (ownerKind === OwnerKind.anonymous) session.owner = { username: undefined }
    const will = value.rest()
    if (will.length > 0) session.will = decodeWill(will)
    if (isConnected) this.#state.markConnected(session)
    if (dueAtMs !== 0) this.#state.sessionDeadlines.schedule(session, dueAtMs)
    this.#sessions.set(session.id, session)
    this.#state.tenant(instance).sessions.set(clientId, session)
    this.#state.lastSessionId = Math.max(this.#state.lastSessionId, session.id)
  }

  #ofSession(tag: number, key: ByteReader, value: Uint8Array): void {
    const session = this.#sessions.get(key.u32())
    if (session === undefined) return
    switch (tag) {
      case Tag.head:
        session.queue.skipTo(new ByteReader(value).u48() + 1)
        break
      case Tag.entry: {
        const entry = decodeQueueEntry(value)
        session.queue.restore(key.u48(), new StoredEntry(entry.message, entry, messageSize(entry.message)))
        break
      }
      case Tag.released: {
        const entry = session.queue.at(key.u48())
        if (entry !== undefined) entry.released = true
        break
      }
      case Tag.inbound:
        session.addInbound(key.u16())
        break
      case Tag.subscribed: {
        const topicFilter = key.text()
        session.subscribe(decodeSubscriptionOptions(topicFilter, value))
        break
      }
      default:
        throw corrupt(`the store holds records of an unknown kind (0x${tag.toString(16)})`)
    }
  }

  #group(instance: string, name: string, value: ByteReader): void {
    const group = new Group(instance, name, value.u32())
    group.nextSeq = value.u48()
    this.#groups.set(group.id, group)
    this.#state.tenant(instance).groups.set(name, group)
    this.#state.lastGroupId = Math.max(this.#state.lastGroupId, group.id)
  }

  #ofGroup(tag: number, key: ByteReader, bytes: Uint8Array): void {
    const group = this.#groups.get(key.u32())
    if (group === undefined) return
    const seq = key.u48()
    if (tag === Tag.groupEntry) {
      const { qos, message } = decodeQueueEntry(bytes)
      const entry = new GroupEntry(seq, qos, message, messageSize(message))
      group.entries.set(seq, entry)
      group.bytes += entry.size
      group.nextSeq = Math.max(group.nextSeq, seq + 1)
      return
    }
    const entry = group.entries.get(seq)
    const value = new ByteReader(bytes)
    const epoch = value.u48()
    const packetId = value.u16()
    const isReleased = value.u8() === 1
    const session = this.#state.session(group.instance, value.text())
    if (entry === undefined || session === undefined) return
    entry.holder = session.clientId
    entry.epoch = epoch
    entry.packetId = packetId
    entry.released = isReleased
    heldBy(group, session.clientId).add(seq)
    session.addHeldGroup(group)
  }

  #retained(instance: string, value: Uint8Array): void {
    const record = new RetainedRecord(instance, decodeMessage(value), value.length)
    const { topicName, expiresAtMs } = record.message
    const tenant = this.#state.tenant(instance)
    tenant.retained.set(topicName, record)
    tenant.retainedBytes += value.length
    if (expiresAtMs !== 0) this.#state.retainedDeadlines.schedule(record, expiresAtMs)
  }
}

function checkFormat(format: number): void {
  if (format === STORE_FORMAT) return
  throw corrupt(
    `the store has format ${format}, this release reads format ${STORE_FORMAT}: start the release that wrote it`,
  )
}

function corrupt(text: string, cause?: unknown): BrokerError {
  return new BrokerError('MIDGE_STORE_CORRUPT', text, cause === undefined ? {} : { cause })
}
