import type { Match } from '../routing/match.ts'

/** Topics a connection remembers with their permission; a power of two. */
const TOPIC_SLOTS = 256
const TOPIC_BYTES_LOOP_MAX = 256
/** No version: the next message is asked for. */
export const UNDECIDED = -1

/** A topic that this connection publishes to, with everything that would otherwise be found out per message. */
export class TopicEntry {
  readonly name: string
  readonly bytes: Uint8Array
  /** 0, or the reason code of the refusal. */
  permission: number
  /** Version of the client's rights at which `permission` was decided for every message; else {@link UNDECIDED}. */
  rightsVersion: number
  match: Match
  routerVersion: number

  constructor(name: string, bytes: Uint8Array, match: Match, routerVersion: number) {
    this.name = name
    this.bytes = bytes
    this.permission = 0
    this.rightsVersion = UNDECIDED
    this.match = match
    this.routerVersion = routerVersion
  }
}

/** True when `chunk[start, end)` are these bytes. */
export function sameBytes(chunk: Uint8Array, start: number, end: number, bytes: Uint8Array): boolean {
  const length = bytes.length
  if (end - start !== length) return false
  // From the end: topics of one publisher differ there.
  for (let i = length - 1; i >= 0; i--) if (chunk[start + i] !== bytes[i]) return false
  return true
}

function slotOf(chunk: Uint8Array, start: number, end: number): number {
  let hash = end - start
  const from = Math.max(start, end - TOPIC_BYTES_LOOP_MAX)
  for (let i = from; i < end; i++) hash = (Math.imul(hash, 31) + (chunk[i] as number)) | 0
  return (hash ^ (hash >>> 15)) & (TOPIC_SLOTS - 1)
}

/** The topics that one client publishes to; the least used give way. */
export class TopicEntries {
  /** Of the PUBLISH before. */
  last: TopicEntry | undefined = undefined
  private slots: (TopicEntry | undefined)[] | undefined = undefined

  /** The entry of the topic `chunk[start, end)`, which is the last one from here on; `undefined` when it is not known. */
  find(chunk: Uint8Array, start: number, end: number): TopicEntry | undefined {
    const { last } = this
    if (last !== undefined && sameBytes(chunk, start, end, last.bytes)) return last
    const known = this.slots?.[slotOf(chunk, start, end)]
    if (known === undefined || !sameBytes(chunk, start, end, known.bytes)) return undefined
    this.last = known
    return known
  }

  /** Remembers a topic, which is the last one from here on. */
  add(entry: TopicEntry): void {
    if (this.last !== undefined) {
      this.slots ??= new Array<TopicEntry | undefined>(TOPIC_SLOTS).fill(undefined)
      this.slots[slotOf(this.last.bytes, 0, this.last.bytes.length)] = this.last
      this.slots[slotOf(entry.bytes, 0, entry.bytes.length)] = entry
    }
    this.last = entry
  }

  clear(): void {
    this.last = undefined
    this.slots = undefined
  }
}
