import { decodeMessage, hasWildcard, type InstanceName, type Message, type RetainedPage } from '@midge/protocol-core'
import { PARTITION_COUNT, partitionOf } from './hash-tag.ts'
import type { RedisLink } from './redis-link.ts'
import { toBuffer, toList, toNumber, toText } from './replies.ts'
import type { StoreKeys } from './store-keys.ts'

/** Seeks of one call: bounds how long a lookup keeps Redis from everything else, to about a millisecond. */
const SEEKS_MAX = 300
const PAGE_BYTES_MAX = 256 * 1024

/** Where a walk over retained messages stands. */
interface Position {
  partition: number
  /** Lower bound as ZRANGEBYLEX takes it. */
  bound: string
}

/** @returns the partition of a topic name, or of all names that a filter with a literal first level can match */
export function retainedPartition(instance: InstanceName, topic: string): number {
  const slash = topic.indexOf('/')
  return partitionOf(instance, slash < 0 ? topic : topic.slice(0, slash))
}

/** Lookup of retained messages. */
export class RetainedLookup {
  private readonly link: RedisLink
  private readonly keys: StoreKeys

  constructor(link: RedisLink, keys: StoreKeys) {
    this.link = link
    this.keys = keys
  }

  async match(
    instance: InstanceName,
    topicFilter: string,
    cursor: string | undefined,
    countMax: number,
  ): Promise<RetainedPage> {
    if (!hasWildcard(topicFilter)) return this.exact(instance, topicFilter)
    const levels = topicFilter.split('/')
    const isEverywhere = levels[0] === '+' || levels[0] === '#'
    const lastPartition = isEverywhere ? PARTITION_COUNT - 1 : retainedPartition(instance, topicFilter)
    let position: Position | undefined =
      cursor === undefined ? firstPosition(instance, levels, isEverywhere) : parseCursor(cursor)
    const messages: Message[] = []
    let bytes = 0
    while (position !== undefined && messages.length < countMax && bytes < PAGE_BYTES_MAX) {
      const before = messages.length
      position = await this.step({ instance, levels, position, lastPartition, countMax }, messages)
      for (const message of messages.slice(before)) bytes += message.payload.length
    }
    return { messages, cursor: position === undefined ? undefined : formatCursor(position) }
  }

  private async exact(instance: InstanceName, topicName: string): Promise<RetainedPage> {
    const { values } = this.keys.retained(retainedPartition(instance, topicName), instance)
    const reply = await this.link.one({ command: 'hget', args: [values, topicName] })
    const messages = reply === null ? [] : [decodeMessage(toBuffer(reply))]
    return { messages: messages.filter(isAlive), cursor: undefined }
  }

  /** One call; adds what it finds and tells where to go on. */
  private async step(
    walk: { instance: InstanceName; levels: string[]; position: Position; lastPartition: number; countMax: number },
    messages: Message[],
  ): Promise<Position | undefined> {
    const { instance, position } = walk
    const { values, index } = this.keys.retained(position.partition, instance)
    const reply = await this.link.one({
      script: 'match-retained-2',
      keys: [values, index],
      args: [
        Buffer.from(position.bound, 'utf8'),
        walk.countMax - messages.length,
        SEEKS_MAX,
        PAGE_BYTES_MAX,
        ...walk.levels,
      ],
    })
    const [bound, found] = toList(reply)
    for (const value of toList(found)) {
      const message = decodeMessage(toBuffer(value))
      if (isAlive(message)) messages.push(message)
    }
    if (toBuffer(bound).length > 0) return { partition: position.partition, bound: toText(bound) }
    return this.nextPartition(walk.instance, position.partition + 1, walk.lastPartition)
  }

  /** Most partitions of a small set-up are empty: one round trip finds the next that is not. */
  private async nextPartition(instance: string, from: number, last: number): Promise<Position | undefined> {
    const partitions: number[] = []
    for (let partition = from; partition <= last; partition++) partitions.push(partition)
    const counts = await this.link.all(
      partitions.map(partition => ({ command: 'zcard', args: [this.keys.retained(partition, instance).index] })),
    )
    const found = partitions.find((_, i) => toNumber(counts[i]) > 0)
    return found === undefined ? undefined : { partition: found, bound: '-' }
  }
}

function firstPosition(instance: InstanceName, levels: string[], isEverywhere: boolean): Position {
  if (isEverywhere) return { partition: 0, bound: '-' }
  const wildcard = levels.findIndex(level => level === '+' || level === '#')
  const prefix = levels.slice(0, wildcard).join('/')
  // 'a/#' matches 'a' itself: v5 section 4.7.1.2.
  const isMulti = levels[wildcard] === '#'
  return { partition: retainedPartition(instance, prefix), bound: `[${prefix}${isMulti ? '' : '/'}` }
}

function isAlive(message: Message): boolean {
  return message.expiresAtMs === 0 || message.expiresAtMs > Date.now()
}

function formatCursor(position: Position): string {
  return `${position.partition}:${position.bound}`
}

function parseCursor(cursor: string): Position {
  const colon = cursor.indexOf(':')
  return { partition: Number(cursor.slice(0, colon)), bound: cursor.slice(colon + 1) }
}
