import { BrokerError } from './errors.ts'
import { EMPTY_BYTES, Message } from './message.ts'
import { decodeNodeCommand, encodeNodeCommand, type NodeCommand } from './node-command.ts'
import type { InstanceName } from './ports/instance-name.ts'
import { PublishRun } from './publish-run.ts'

/*
 * The frame: what one node puts into another node's inbox, many entries at a time.
 *
 *   u8  magic (upper 4 bits) and version (lower 4 bits)
 *   u8  length of the sender's node id, then the id
 *   u48 epoch of the sender's process, u48 sequence of this frame towards this receiver (from 1), u16 entry count
 *   entries, each: u8 kind and flags; unless "same origin": u16 + instance, u16 + publisher id;
 *     message: unless "same topic": u16 + topic; with extras: u8 which, then u32 + properties, u48 expiry,
 *              u16 count of groups and u16 + group each; then u32 + payload
 *     poke:    u16 + group
 *     command: always "same origin"; u32 + command, see `node-command.ts`; a reader skips one it does not know
 *     run:     unless "same topic": u16 + topic; u8 1 for v5 frames, u32 message count, u32 + PUBLISH frames
 *
 * Integers are big-endian. "Same" refers to the values written last in the same frame, at first empty: a burst of one publisher writes its
 * topic and client id once. The version changes when an old reader could not read the frame; readers count and skip
 * versions they do not know, so that nodes of two releases can share a cluster while it is upgraded.
 */

const MAGIC = 0xa0
/** Version of the layout above. */
export const FRAME_VERSION = 1
/** Entries in one frame before it has to leave. */
export const FRAME_MESSAGES_MAX = 200
/** Bytes of one frame before it has to leave; a single larger message travels alone. */
export const FRAME_BYTES_MAX = 65_536
/** Node ids are written with a one-byte length. */
export const NODE_ID_BYTES_MAX = 255

const KIND_MASK = 0x03
const KIND_MESSAGE = 0
const KIND_POKE = 1
const KIND_RUN = 2
const KIND_COMMAND = 3
const QOS_SHIFT = 2
const FLAG_RETAIN = 0x10
const FLAG_SAME_TOPIC = 0x20
const FLAG_SAME_ORIGIN = 0x40
const FLAG_EXTRAS = 0x80

const EXTRA_PROPERTIES = 0x01
const EXTRA_EXPIRY = 0x02
const EXTRA_GROUPS = 0x04
const EXTRA_ALL = 0x07

/** Epoch, sequence and count, behind the node id. */
const HEADER_TAIL_BYTES = 14
/** Every fixed-size field an entry can have, rounded up; variable parts are added to it before writing. */
const ENTRY_FIXED_BYTES = 32
const TWO_POW_32 = 0x1_0000_0000

const NO_GROUPS: string[] = []
const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Builds frames for one destination. Hot: an entry allocates nothing; a frame allocates its copy.
 *
 * The buffer belongs to the writer and is reused; only a message larger than a whole frame makes a bigger one, for
 * that frame alone.
 */
export class FrameWriter {
  private readonly base: Uint8Array
  private buffer: Uint8Array
  private offset: number
  private readonly headerBytes: number
  private entries: number
  private messages: number
  private sequence: number
  private lastTopic: string
  private lastInstance: string
  private lastPublisher: string

  /**
   * @param nodeId - of the sender, at most {@link NODE_ID_BYTES_MAX} bytes
   * @param epoch - of the sender's process; a restarted node begins its sequences anew under another epoch
   */
  constructor(nodeId: string, epoch: number) {
    const id = encoder.encode(nodeId)
    if (id.length > NODE_ID_BYTES_MAX) throw new RangeError(`node id of ${id.length} bytes`)
    this.base = new Uint8Array(FRAME_BYTES_MAX)
    this.base[0] = MAGIC | FRAME_VERSION
    this.base[1] = id.length
    this.base.set(id, 2)
    this.headerBytes = 2 + id.length + HEADER_TAIL_BYTES
    this.buffer = this.base
    this.offset = this.headerBytes
    this.entries = 0
    this.messages = 0
    this.sequence = 0
    this.lastTopic = ''
    this.lastInstance = ''
    this.lastPublisher = ''
    this.writeU48(2 + id.length, epoch)
  }

  /** Entries in the frame being built. */
  get count(): number {
    return this.entries
  }

  /** Messages in the frame being built; a run counts each of its own. */
  get messageCount(): number {
    return this.messages
  }

  /** Sequence number that the last taken frame has; 0 before the first. */
  get lastSequence(): number {
    return this.sequence
  }

  /** @returns false when the message does not fit: `take()` the frame and append again, which then succeeds. */
  append(instance: InstanceName, message: Message, groups: string[]): boolean {
    let bound =
      ENTRY_FIXED_BYTES +
      message.topicBytes.length +
      message.payload.length +
      message.properties.length +
      3 * (message.publisherId.length + instance.length)
    for (let i = 0; i < groups.length; i++) bound += 2 + 3 * (groups[i] as string).length
    if (!this.reserve(bound)) return false
    const sameOrigin = instance === this.lastInstance && message.publisherId === this.lastPublisher
    const sameTopic = message.topicName === this.lastTopic
    let extras = message.properties.length > 0 ? EXTRA_PROPERTIES : 0
    if (message.expiresAtMs !== 0) extras |= EXTRA_EXPIRY
    if (groups.length > 0) extras |= EXTRA_GROUPS
    let head = KIND_MESSAGE | (message.qos << QOS_SHIFT)
    if (message.retain) head |= FLAG_RETAIN
    if (sameTopic) head |= FLAG_SAME_TOPIC
    if (sameOrigin) head |= FLAG_SAME_ORIGIN
    if (extras !== 0) head |= FLAG_EXTRAS
    this.buffer[this.offset++] = head
    if (!sameOrigin) this.writeOrigin(instance, message.publisherId)
    if (!sameTopic) this.writeTopic(message)
    if (extras !== 0) this.writeExtras(extras, message, groups)
    this.writeU32(this.offset, message.payload.length)
    this.buffer.set(message.payload, this.offset + 4)
    this.offset += 4 + message.payload.length
    this.entries++
    this.messages++
    return true
  }

  /** Appends neighbouring messages as the frames they came in; as {@link append} otherwise. */
  appendRun(instance: InstanceName, run: PublishRun): boolean {
    const length = run.end - run.start
    const bound = ENTRY_FIXED_BYTES + run.topicBytes.length + length + 3 * (run.publisherId.length + instance.length)
    if (!this.reserve(bound)) return false
    const sameOrigin = instance === this.lastInstance && run.publisherId === this.lastPublisher
    const sameTopic = run.topicName === this.lastTopic
    this.buffer[this.offset++] = KIND_RUN | (sameTopic ? FLAG_SAME_TOPIC : 0) | (sameOrigin ? FLAG_SAME_ORIGIN : 0)
    if (!sameOrigin) this.writeOrigin(instance, run.publisherId)
    if (!sameTopic) this.writeTopic(run)
    this.buffer[this.offset++] = run.isV5 ? 1 : 0
    this.writeU32(this.offset, run.count)
    this.writeU32(this.offset + 4, length)
    this.buffer.set(run.bytes.subarray(run.start, run.end), this.offset + 8)
    this.offset += 8 + length
    this.entries++
    this.messages += run.count
    return true
  }

  /** Tells the receiver that a share group of its members has grown; as {@link append} otherwise. */
  appendPoke(instance: InstanceName, group: string): boolean {
    if (!this.reserve(ENTRY_FIXED_BYTES + 3 * (instance.length + group.length))) return false
    const sameOrigin = instance === this.lastInstance && this.lastPublisher === ''
    this.buffer[this.offset++] = KIND_POKE | (sameOrigin ? FLAG_SAME_ORIGIN : 0)
    if (!sameOrigin) this.writeOrigin(instance, '')
    this.writeString16(group)
    this.entries++
    return true
  }

  /** Tells the receiver to do something; as {@link append} otherwise. */
  appendCommand(command: NodeCommand): boolean {
    const bytes = encodeNodeCommand(command)
    if (!this.reserve(ENTRY_FIXED_BYTES + bytes.length)) return false
    this.buffer[this.offset++] = KIND_COMMAND | FLAG_SAME_ORIGIN
    this.writeU32(this.offset, bytes.length)
    this.buffer.set(bytes, this.offset + 4)
    this.offset += 4 + bytes.length
    this.entries++
    return true
  }

  /** @returns the finished frame, owned by the caller; the writer starts the next one. Not for an empty frame. */
  take(): Uint8Array {
    const tail = this.headerBytes - HEADER_TAIL_BYTES
    this.writeU48(tail + 6, ++this.sequence)
    this.buffer[tail + 12] = this.entries >>> 8
    this.buffer[tail + 13] = this.entries
    const frame = this.buffer.slice(0, this.offset)
    this.buffer = this.base
    this.offset = this.headerBytes
    this.entries = 0
    this.messages = 0
    this.lastTopic = ''
    this.lastInstance = ''
    this.lastPublisher = ''
    return frame
  }

  private reserve(bound: number): boolean {
    if (this.offset + bound <= this.buffer.length) return this.entries < FRAME_MESSAGES_MAX
    if (this.entries > 0) return false
    const larger = new Uint8Array(this.headerBytes + bound)
    larger.set(this.base.subarray(0, this.headerBytes))
    this.buffer = larger
    return true
  }

  private writeTopic(message: { topicName: string; topicBytes: Uint8Array }): void {
    const length = message.topicBytes.length
    this.buffer[this.offset] = length >>> 8
    this.buffer[this.offset + 1] = length
    this.buffer.set(message.topicBytes, this.offset + 2)
    this.offset += 2 + length
    this.lastTopic = message.topicName
  }

  private writeOrigin(instance: InstanceName, publisherId: string): void {
    this.writeString16(instance)
    this.writeString16(publisherId)
    this.lastInstance = instance
    this.lastPublisher = publisherId
  }

  private writeExtras(extras: number, message: Message, groups: string[]): void {
    this.buffer[this.offset++] = extras
    if ((extras & EXTRA_PROPERTIES) !== 0) {
      this.writeU32(this.offset, message.properties.length)
      this.buffer.set(message.properties, this.offset + 4)
      this.offset += 4 + message.properties.length
    }
    if ((extras & EXTRA_EXPIRY) !== 0) {
      this.writeU48(this.offset, message.expiresAtMs)
      this.offset += 6
    }
    if ((extras & EXTRA_GROUPS) === 0) return
    this.buffer[this.offset] = groups.length >>> 8
    this.buffer[this.offset + 1] = groups.length
    this.offset += 2
    for (let i = 0; i < groups.length; i++) this.writeString16(groups[i] as string)
  }

  private writeString16(text: string): void {
    const at = this.offset
    this.offset = at + 2
    this.writeText(text)
    const length = this.offset - at - 2
    this.buffer[at] = length >>> 8
    this.buffer[at + 1] = length
  }

  private writeText(text: string): void {
    const start = this.offset
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i)
      if (code > 0x7f) {
        this.offset = start + encoder.encodeInto(text, this.buffer.subarray(start)).written
        return
      }
      this.buffer[start + i] = code
    }
    this.offset = start + text.length
  }

  private writeU32(at: number, value: number): void {
    this.buffer[at] = value >>> 24
    this.buffer[at + 1] = value >>> 16
    this.buffer[at + 2] = value >>> 8
    this.buffer[at + 3] = value
  }

  private writeU48(at: number, value: number): void {
    const high = Math.floor(value / TWO_POW_32)
    this.buffer[at] = high >>> 8
    this.buffer[at + 1] = high
    this.writeU32(at + 2, value >>> 0)
  }
}

/** Slots of the text cache of a reader; a power of two. */
const CACHE_SLOTS = 4096
/** Longer texts are decoded every time: with it the cache holds at most 1 MiB of bytes. */
const CACHED_BYTES_MAX = 256

/** A text with its bytes, as the cache of a reader keeps it. */
class CachedText {
  readonly bytes: Uint8Array
  readonly text: string

  constructor(bytes: Uint8Array, text: string) {
    this.bytes = bytes
    this.text = text
  }
}

const NO_TEXT = new CachedText(EMPTY_BYTES, '')

/**
 * Reads frames; one reader serves all frames of a node's inbox, one after the other.
 *
 * Usage: `open(frame)`, then `next()` until it returns false, reading the fields in between. Topics and client ids
 * that come again are taken from a small cache, so the usual entry decodes no text. The payload and the properties of
 * a message are views into the frame.
 *
 * @throws {@link BrokerError} `MIDGE_ENVELOPE_INVALID` from `open` and `next`, and nothing else, whatever the bytes
 */
export class FrameReader {
  /** From the header of the open frame. */
  nodeId = ''
  epoch = 0
  sequence = 0
  count = 0
  /** Commands of the open frame that were skipped because this reader does not know their kind. */
  unknownCommands = 0

  /** Of the current entry. */
  instance: InstanceName = ''
  /** The message of the current entry; `undefined` when it is another kind. */
  message: Message | undefined = undefined
  /** The run of the current entry; `undefined` when it is another kind. */
  run: PublishRun | undefined = undefined
  /** The command of the current entry; `undefined` when it is another kind. */
  command: NodeCommand | undefined = undefined
  /** Shared subscriptions that the message is for. */
  groups: string[] = NO_GROUPS
  /** The group of a poke; '' when the entry is another kind. */
  group = ''

  private bytes: Uint8Array = EMPTY_BYTES
  private offset = 0
  private left = 0
  private topic: CachedText = NO_TEXT
  private publisherId = ''
  private readonly cache: (CachedText | undefined)[] = new Array<CachedText | undefined>(CACHE_SLOTS).fill(undefined)

  /** @returns false when the frame is of a version that this reader does not know; it has to be skipped. */
  open(frame: Uint8Array): boolean {
    this.bytes = new Uint8Array(frame.buffer, frame.byteOffset, frame.length)
    this.offset = 0
    this.left = 0
    const first = this.readU8()
    if ((first & 0xf0) !== MAGIC) throw invalid('magic')
    if ((first & 0x0f) !== FRAME_VERSION) return false
    this.nodeId = this.readText(this.readU8()).text
    this.epoch = this.readU48()
    this.sequence = this.readU48()
    this.count = this.readU16()
    this.left = this.count
    this.unknownCommands = 0
    this.instance = ''
    this.publisherId = ''
    this.topic = NO_TEXT
    return true
  }

  /** Moves to the next entry. @returns false behind the last one */
  next(): boolean {
    while (this.left > 0) {
      this.left--
      if (this.readEntry()) return true
      this.unknownCommands++
    }
    if (this.offset !== this.bytes.length) throw invalid('bytes behind the last entry')
    return false
  }

  /** @returns false for a command of an unknown kind */
  private readEntry(): boolean {
    const head = this.readU8()
    if ((head & FLAG_SAME_ORIGIN) === 0) {
      this.instance = this.readText(this.readU16()).text
      this.publisherId = this.readText(this.readU16()).text
    }
    const kind = head & KIND_MASK
    this.run = undefined
    this.command = undefined
    if (kind === KIND_MESSAGE) this.readMessage(head)
    else if (kind === KIND_RUN) this.readRun(head)
    else if (kind === KIND_POKE) {
      this.message = undefined
      this.groups = NO_GROUPS
      this.group = this.readText(this.readU16()).text
    } else {
      this.message = undefined
      this.groups = NO_GROUPS
      this.group = ''
      this.command = decodeNodeCommand(this.readBytes(this.readU32()))
      return this.command !== undefined
    }
    return true
  }

  private readMessage(head: number): void {
    const qos = (head >> QOS_SHIFT) & 3
    if (qos === 3) throw invalid('QoS')
    if ((head & FLAG_SAME_TOPIC) === 0) this.topic = this.readText(this.readU16())
    let properties = EMPTY_BYTES
    let expiresAtMs = 0
    this.group = ''
    this.groups = NO_GROUPS
    if ((head & FLAG_EXTRAS) !== 0) {
      const extras = this.readU8()
      if (extras > EXTRA_ALL) throw invalid('extras')
      if ((extras & EXTRA_PROPERTIES) !== 0) properties = this.readBytes(this.readU32())
      if ((extras & EXTRA_EXPIRY) !== 0) expiresAtMs = this.readU48()
      if ((extras & EXTRA_GROUPS) !== 0) this.groups = this.readGroups()
    }
    const payload = this.readBytes(this.readU32())
    this.message = new Message({
      topicName: this.topic.text,
      topicBytes: this.topic.bytes,
      payload,
      qos: qos as 0 | 1 | 2,
      retain: (head & FLAG_RETAIN) !== 0,
      properties,
      expiresAtMs,
      publisherId: this.publisherId,
    })
  }

  private readRun(head: number): void {
    if ((head & FLAG_SAME_TOPIC) === 0) this.topic = this.readText(this.readU16())
    this.message = undefined
    this.group = ''
    this.groups = NO_GROUPS
    const isV5 = this.readU8() === 1
    const count = this.readU32()
    const bytes = this.readBytes(this.readU32())
    const run = new PublishRun({
      topicName: this.topic.text,
      topicBytes: this.topic.bytes,
      publisherId: this.publisherId,
      isV5,
      bytes,
      start: 0,
      end: bytes.length,
      count,
    })
    // Whoever delivers it walks the frames without looking.
    if (!run.isSound()) throw invalid('run')
    this.run = run
  }

  private readGroups(): string[] {
    const groups: string[] = []
    for (let n = this.readU16(); n > 0; n--) groups.push(this.readText(this.readU16()).text)
    return groups
  }

  private readText(length: number): CachedText {
    const start = this.skip(length)
    if (length > CACHED_BYTES_MAX) return decodeText(this.bytes.slice(start, start + length))
    let hash = length
    for (let i = start; i < start + length; i++) hash = (Math.imul(hash, 31) + (this.bytes[i] as number)) | 0
    const slot = (hash ^ (hash >>> 15)) & (CACHE_SLOTS - 1)
    const cached = this.cache[slot]
    if (cached !== undefined && this.equalsAt(start, length, cached.bytes)) return cached
    const fresh = decodeText(this.bytes.slice(start, start + length))
    this.cache[slot] = fresh
    return fresh
  }

  private equalsAt(start: number, length: number, other: Uint8Array): boolean {
    if (other.length !== length) return false
    for (let i = 0; i < length; i++) if (this.bytes[start + i] !== other[i]) return false
    return true
  }

  private readBytes(length: number): Uint8Array {
    if (length === 0) return EMPTY_BYTES
    const start = this.skip(length)
    return this.bytes.subarray(start, start + length)
  }

  private readU8(): number {
    return this.bytes[this.skip(1)] as number
  }

  private readU16(): number {
    const at = this.skip(2)
    return ((this.bytes[at] as number) << 8) | (this.bytes[at + 1] as number)
  }

  private readU32(): number {
    const high = this.readU16()
    return high * 0x1_0000 + this.readU16()
  }

  private readU48(): number {
    const high = this.readU16()
    return high * TWO_POW_32 + this.readU32()
  }

  /** Bounds every read: nothing above looks at a byte that this has not accounted for. */
  private skip(length: number): number {
    const start = this.offset
    if (length > this.bytes.length - start) throw invalid('truncated')
    this.offset = start + length
    return start
  }
}

function decodeText(bytes: Uint8Array): CachedText {
  try {
    return new CachedText(bytes, decoder.decode(bytes))
  } catch (cause) {
    throw invalid('UTF-8', cause)
  }
}

function invalid(what: string, cause?: unknown): BrokerError {
  return new BrokerError('MIDGE_ENVELOPE_INVALID', `frame between nodes is not valid: ${what}`, { cause })
}
