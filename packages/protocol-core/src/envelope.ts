import { BrokerError } from './errors.ts'
import { EMPTY_BYTES, Message } from './message.ts'
import type { Qos } from './packet.ts'
import type { Subscription } from './ports/subscription.ts'
import type { StoredWill, WillOwner } from './ports/wills.ts'
import { decodeText, writeText } from './text-bytes.ts'
import { utf8Length } from './utf8.ts'

/*
 * The bytes in which messages lie in a store and travel between nodes. Integers are big-endian.
 *
 *   message       version, flags, u16 topic size, topic, [u48 expiry], [u16 publisher size, publisher],
 *                 [u32 properties size, properties], payload up to the end
 *   queue entry   version, flags, [varint count, count × varint subscription identifier], message
 *   will          version, flags, u32 delay, [u32 message expiry], [u16 username size, username], message
 *   subscription  version, options, varint subscription identifier, topic filter up to the end
 *
 * A format changes only with its version byte: nodes of two releases share one store during an upgrade.
 */

/** First byte of everything that this file encodes. */
export const ENVELOPE_VERSION = 1

const QOS_MASK = 0x03
const FLAG_RETAIN = 0x04
const FLAG_EXPIRY = 0x08
const FLAG_PUBLISHER = 0x10
const FLAG_PROPERTIES = 0x20
const MESSAGE_FLAGS = 0x3f

const FLAG_SUBSCRIPTION_IDS = 0x08
const QUEUE_ENTRY_FLAGS = 0x0f

const FLAG_WILL_EXPIRY = 0x01
/** Its owner is known, and is: anonymous, or a user with this name; and that user is kept by the broker. */
const FLAG_WILL_ANONYMOUS = 0x02
const FLAG_WILL_USER = 0x04
const FLAG_WILL_KNOWN = 0x08
const WILL_FLAGS = 0x0f

const FLAG_NO_LOCAL = 0x04
const FLAG_RETAIN_AS_PUBLISHED = 0x08
const RETAIN_HANDLING_SHIFT = 4

const STRING_BYTES_MAX = 0xffff
const U48_UPPER = 0x1_0000_0000
/** Four bytes of seven bits, as on the wire: v5 section 1.5.5. */
const VARINT_BYTES_MAX = 4

/** How one session is to receive a message; {@link SessionTarget} and `QueueEntry` both satisfy it. */
export interface DeliveryOptions {
  qos: Qos
  retain: boolean
  subscriptionIds: number[] | undefined
}

/** What {@link decodeQueueEntry} finds. */
export interface DecodedQueueEntry extends DeliveryOptions {
  message: Message
}

function invalid(text: string): BrokerError {
  return new BrokerError('MIDGE_ENVELOPE_INVALID', text)
}

/** @returns how many bytes {@link writeMessage} takes for this message */
export function messageSize(message: Message): number {
  let size = 4 + message.topicBytes.length + message.payload.length
  if (message.expiresAtMs !== 0) size += 6
  if (message.publisherId !== '') size += 2 + utf8Length(message.publisherId)
  if (message.properties.length !== 0) size += 4 + message.properties.length
  return size
}

/**
 * Writes a message into `target`, which has room for `messageSize(message)` bytes from `offset` on.
 *
 * @returns the offset behind the message
 * @throws {@link BrokerError} `MIDGE_ENVELOPE_INVALID` for a topic or publisher over 65,535 bytes
 */
export function writeMessage(message: Message, target: Uint8Array, offset: number): number {
  const { topicBytes, properties, publisherId, expiresAtMs } = message
  if (topicBytes.length > STRING_BYTES_MAX) throw invalid('topic name is too long to be stored')
  let flags = message.qos | (message.retain ? FLAG_RETAIN : 0)
  if (expiresAtMs !== 0) flags |= FLAG_EXPIRY
  if (publisherId !== '') flags |= FLAG_PUBLISHER
  if (properties.length !== 0) flags |= FLAG_PROPERTIES
  target[offset] = ENVELOPE_VERSION
  target[offset + 1] = flags
  let at = writeU16(target, offset + 2, topicBytes.length)
  target.set(topicBytes, at)
  at += topicBytes.length
  if (expiresAtMs !== 0) {
    at = writeU16(target, at, Math.floor(expiresAtMs / U48_UPPER))
    at = writeU32(target, at, expiresAtMs % U48_UPPER)
  }
  if (publisherId !== '') {
    const end = writeText(publisherId, target, at + 2)
    if (end - at - 2 > STRING_BYTES_MAX) throw invalid('publisher id is too long to be stored')
    writeU16(target, at, end - at - 2)
    at = end
  }
  if (properties.length !== 0) {
    at = writeU32(target, at, properties.length)
    target.set(properties, at)
    at += properties.length
  }
  target.set(message.payload, at)
  return at + message.payload.length
}

/** @returns the message in bytes of its own: nothing of the receive buffer it came in is kept alive */
export function encodeMessage(message: Message): Uint8Array {
  const bytes = new Uint8Array(messageSize(message))
  writeMessage(message, bytes, 0)
  return bytes
}

/** A message that owns its bytes, with its encoding; see {@link detachMessage}. */
export interface DetachedMessage {
  message: Message
  /** What {@link encodeMessage} returns; the bytes of `message` are views into it. */
  bytes: Uint8Array
}

/** Copies a message out of its receive buffer, for whoever keeps both the message and its encoding: one allocation. */
export function detachMessage(message: Message): DetachedMessage {
  const bytes = encodeMessage(message)
  const topicEnd = 4 + message.topicBytes.length
  const payloadAt = bytes.length - message.payload.length
  const propertiesAt = payloadAt - message.properties.length
  const copy = new Message({
    topicName: message.topicName,
    topicBytes: bytes.subarray(4, topicEnd),
    payload: message.payload.length === 0 ? EMPTY_BYTES : bytes.subarray(payloadAt),
    qos: message.qos,
    retain: message.retain,
    properties: message.properties.length === 0 ? EMPTY_BYTES : bytes.subarray(propertiesAt, payloadAt),
    expiresAtMs: message.expiresAtMs,
    publisherId: message.publisherId,
  })
  return { message: copy, bytes }
}

/**
 * Reads the message that fills `buf` from `offset` to `end`. Its bytes are views into `buf`.
 *
 * @throws {@link BrokerError} `MIDGE_ENVELOPE_INVALID` for anything that {@link writeMessage} does not write
 */
export function decodeMessage(buf: Uint8Array, offset = 0, end: number = buf.length): Message {
  checkRange(buf, offset, end)
  const flags = readFlags(buf, offset, end, MESSAGE_FLAGS)
  let at = offset + 2
  const topicSize = readU16(buf, at, end)
  const topicBytes = slice(buf, at + 2, topicSize, end)
  at += 2 + topicSize
  let expiresAtMs = 0
  if ((flags & FLAG_EXPIRY) !== 0) {
    expiresAtMs = readU16(buf, at, end) * U48_UPPER + readU32(buf, at + 2, end)
    at += 6
  }
  let publisherId = ''
  if ((flags & FLAG_PUBLISHER) !== 0) {
    const size = readU16(buf, at, end)
    publisherId = text(slice(buf, at + 2, size, end))
    at += 2 + size
  }
  let properties = EMPTY_BYTES
  if ((flags & FLAG_PROPERTIES) !== 0) {
    const size = readU32(buf, at, end)
    properties = slice(buf, at + 4, size, end)
    at += 4 + size
  }
  return new Message({
    topicName: text(topicBytes),
    topicBytes,
    payload: at === end ? EMPTY_BYTES : buf.subarray(at, end),
    qos: qosOf(flags),
    retain: (flags & FLAG_RETAIN) !== 0,
    properties,
    expiresAtMs,
    publisherId,
  })
}

/** The part of a queue entry that is the session's own; in a store the encoded message follows it unchanged. */
export function encodeQueueEntryHeader(qos: Qos, retain: boolean, subscriptionIds: number[] | undefined): Uint8Array {
  const ids = subscriptionIds === undefined || subscriptionIds.length === 0 ? undefined : subscriptionIds
  const header = new Uint8Array(ids === undefined ? 2 : 2 + (1 + ids.length) * VARINT_BYTES_MAX)
  header[0] = ENVELOPE_VERSION
  header[1] = qos | (retain ? FLAG_RETAIN : 0) | (ids === undefined ? 0 : FLAG_SUBSCRIPTION_IDS)
  if (ids === undefined) return header
  let at = writeVarint(header, 2, ids.length)
  for (const id of ids) at = writeVarint(header, at, id)
  return header.subarray(0, at)
}

/**
 * Reads a queue entry; the message's bytes are views into `buf`.
 *
 * @throws {@link BrokerError} `MIDGE_ENVELOPE_INVALID`
 */
export function decodeQueueEntry(buf: Uint8Array, offset = 0, end: number = buf.length): DecodedQueueEntry {
  checkRange(buf, offset, end)
  const flags = readFlags(buf, offset, end, QUEUE_ENTRY_FLAGS)
  let at = offset + 2
  let subscriptionIds: number[] | undefined
  if ((flags & FLAG_SUBSCRIPTION_IDS) !== 0) {
    const count = readVarint(buf, at, end)
    at += varintSize(count)
    subscriptionIds = []
    for (let i = 0; i < count; i++) {
      const id = readVarint(buf, at, end)
      at += varintSize(id)
      subscriptionIds.push(id)
    }
  }
  const message = decodeMessage(buf, at, end)
  return { qos: qosOf(flags), retain: (flags & FLAG_RETAIN) !== 0, subscriptionIds, message }
}

/** @returns the will in bytes of its own */
export function encodeWill(will: StoredWill): Uint8Array {
  const { owner } = will
  const hasExpiry = will.messageExpirySeconds >= 0
  const nameAt = hasExpiry ? 10 : 6
  const start = owner?.username === undefined ? nameAt : nameAt + 2 + utf8Length(owner.username)
  const bytes = new Uint8Array(start + messageSize(will.message))
  bytes[0] = ENVELOPE_VERSION
  bytes[1] = (hasExpiry ? FLAG_WILL_EXPIRY : 0) | ownerFlags(owner)
  writeU32(bytes, 2, will.willDelaySeconds)
  if (hasExpiry) writeU32(bytes, 6, will.messageExpirySeconds)
  if (owner?.username !== undefined) {
    if (start - nameAt - 2 > STRING_BYTES_MAX) throw invalid('username is too long to be stored')
    writeU16(bytes, nameAt, start - nameAt - 2)
    writeText(owner.username, bytes, nameAt + 2)
  }
  writeMessage(will.message, bytes, start)
  return bytes
}

function ownerFlags(owner: WillOwner | undefined): number {
  if (owner === undefined) return 0
  return (owner.username === undefined ? FLAG_WILL_ANONYMOUS : FLAG_WILL_USER) | (owner.isKnown ? FLAG_WILL_KNOWN : 0)
}

/** @throws {@link BrokerError} `MIDGE_ENVELOPE_INVALID` */
export function decodeWill(buf: Uint8Array, offset = 0, end: number = buf.length): StoredWill {
  checkRange(buf, offset, end)
  const flags = readFlags(buf, offset, end, WILL_FLAGS, false)
  const hasExpiry = (flags & FLAG_WILL_EXPIRY) !== 0
  let at = offset + (hasExpiry ? 10 : 6)
  let owner: WillOwner | undefined
  const isKnown = (flags & FLAG_WILL_KNOWN) !== 0
  if ((flags & FLAG_WILL_USER) !== 0) {
    const size = readU16(buf, at, end)
    owner = { username: text(slice(buf, at + 2, size, end)), isKnown }
    at += 2 + size
  } else if ((flags & FLAG_WILL_ANONYMOUS) !== 0) {
    owner = { username: undefined, isKnown }
  }
  return {
    willDelaySeconds: readU32(buf, offset + 2, end),
    messageExpirySeconds: hasExpiry ? readU32(buf, offset + 6, end) : -1,
    owner,
    message: decodeMessage(buf, at, end),
  }
}

/** Options of a subscription without its filter, for a store whose key already holds the filter. */
export function encodeSubscriptionOptions(subscription: Subscription): Uint8Array {
  const bytes = new Uint8Array(2 + varintSize(subscription.subscriptionId))
  writeSubscriptionOptions(subscription, bytes)
  return bytes
}

/** @throws {@link BrokerError} `MIDGE_ENVELOPE_INVALID` */
export function decodeSubscriptionOptions(topicFilter: string, buf: Uint8Array): Subscription {
  const options = readSubscriptionOptions(buf, topicFilter)
  if (options.end !== buf.length) throw invalid('bytes behind the options of a subscription')
  return options.subscription
}

/** A subscription with its filter. */
export function encodeSubscription(subscription: Subscription): Uint8Array {
  const start = 2 + varintSize(subscription.subscriptionId)
  const bytes = new Uint8Array(start + utf8Length(subscription.topicFilter))
  writeSubscriptionOptions(subscription, bytes)
  writeText(subscription.topicFilter, bytes, start)
  return bytes
}

/** @throws {@link BrokerError} `MIDGE_ENVELOPE_INVALID` */
export function decodeSubscription(buf: Uint8Array): Subscription {
  const options = readSubscriptionOptions(buf, '')
  options.subscription.topicFilter = text(buf.subarray(options.end))
  return options.subscription
}

function writeSubscriptionOptions(subscription: Subscription, bytes: Uint8Array): void {
  bytes[0] = ENVELOPE_VERSION
  bytes[1] =
    subscription.qos |
    (subscription.noLocal ? FLAG_NO_LOCAL : 0) |
    (subscription.retainAsPublished ? FLAG_RETAIN_AS_PUBLISHED : 0) |
    (subscription.retainHandling << RETAIN_HANDLING_SHIFT)
  writeVarint(bytes, 2, subscription.subscriptionId)
}

function readSubscriptionOptions(buf: Uint8Array, topicFilter: string): { subscription: Subscription; end: number } {
  const flags = readFlags(buf, 0, buf.length, 0x3f)
  const retainHandling = flags >> RETAIN_HANDLING_SHIFT
  if (retainHandling !== 0 && retainHandling !== 1 && retainHandling !== 2) throw invalid('unknown retain handling')
  const subscriptionId = readVarint(buf, 2, buf.length)
  const subscription = {
    topicFilter,
    qos: qosOf(flags),
    noLocal: (flags & FLAG_NO_LOCAL) !== 0,
    retainAsPublished: (flags & FLAG_RETAIN_AS_PUBLISHED) !== 0,
    retainHandling,
    subscriptionId,
  } as const
  return { subscription: { ...subscription }, end: 2 + varintSize(subscriptionId) }
}

function checkRange(buf: Uint8Array, offset: number, end: number): void {
  if (offset < 0 || end > buf.length || offset > end) throw invalid('envelope lies outside its buffer')
}

/** Checks the version and that no unknown flag is set; `hasQos` says that the lowest two bits are a QoS. */
function readFlags(buf: Uint8Array, offset: number, end: number, known: number, hasQos = true): number {
  if (end - offset < 2) throw invalid('envelope is cut off')
  if (buf[offset] !== ENVELOPE_VERSION) throw invalid(`envelope version ${buf[offset]} is not known to this release`)
  const flags = buf[offset + 1] ?? 0
  if ((flags & ~known) !== 0) throw invalid('envelope has unknown flags')
  if (hasQos && (flags & QOS_MASK) === QOS_MASK) throw invalid('envelope has QoS 3')
  return flags
}

function qosOf(flags: number): Qos {
  const qos = flags & QOS_MASK
  return qos === 0 || qos === 1 ? qos : 2
}

function slice(buf: Uint8Array, at: number, size: number, end: number): Uint8Array {
  if (at + size > end) throw invalid('envelope is cut off')
  return size === 0 ? EMPTY_BYTES : buf.subarray(at, at + size)
}

function text(bytes: Uint8Array): string {
  const decoded = decodeText(bytes)
  if (decoded === undefined) throw invalid('envelope has text that is not UTF-8')
  return decoded
}

function writeU16(target: Uint8Array, at: number, value: number): number {
  target[at] = value >>> 8
  target[at + 1] = value
  return at + 2
}

function writeU32(target: Uint8Array, at: number, value: number): number {
  target[at] = value >>> 24
  target[at + 1] = value >>> 16
  target[at + 2] = value >>> 8
  target[at + 3] = value
  return at + 4
}

function readU16(buf: Uint8Array, at: number, end: number): number {
  if (at + 2 > end) throw invalid('envelope is cut off')
  return ((buf[at] ?? 0) << 8) | (buf[at + 1] ?? 0)
}

function readU32(buf: Uint8Array, at: number, end: number): number {
  return readU16(buf, at, end) * 0x1_0000 + readU16(buf, at + 2, end)
}

function varintSize(value: number): number {
  if (value < 0x80) return 1
  if (value < 0x4000) return 2
  return value < 0x20_0000 ? 3 : 4
}

function writeVarint(target: Uint8Array, offset: number, value: number): number {
  let rest = value
  let at = offset
  while (rest >= 0x80) {
    target[at++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  target[at++] = rest
  return at
}

function readVarint(buf: Uint8Array, offset: number, end: number): number {
  let value = 0
  for (let i = 0; i < VARINT_BYTES_MAX; i++) {
    if (offset + i >= end) throw invalid('envelope is cut off')
    const byte = buf[offset + i] ?? 0
    value |= (byte & 0x7f) << (7 * i)
    if (byte < 0x80) {
      // The shortest form only, so that the size of a value tells how many bytes it took.
      if (varintSize(value) !== i + 1) throw invalid('envelope has a padded integer')
      return value
    }
  }
  throw invalid('envelope has an integer that is too long')
}
