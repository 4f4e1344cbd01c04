import { type CommitItem, encodeMessage, type InstanceName, type StoreLimits } from '@midge/protocol-core'
import { PARTITION_COUNT } from './hash-tag.ts'
import type { Argument, RedisLink } from './redis-link.ts'
import { toList, toNumber, toText } from './replies.ts'
import type { StoreKeys } from './store-keys.ts'

const PAGE_COUNT = 1_000
/** What is counted is counted anew after this: a node may have died between counting and storing. */
const VALID_MS = 3_600_000
/** A full instance is counted anew at most this often, by each node, for at most a twentieth of the time. */
const RECOUNT_EVERY_MS = 10_000
const RECOUNT_SHARE = 20

const PARTITIONS = Array.from({ length: PARTITION_COUNT }, (_, partition) => partition)

type RetainedLimits = NonNullable<StoreLimits['retained']>

/** Items of one instance that change what is retained. */
interface Wish {
  instance: InstanceName
  limits: RetainedLimits
  items: CommitItem[]
}

/**
 * How much instances may retain. Retained messages lie in all partitions, so their sizes are counted by topic in one
 * place, before they are stored: a repeated attempt counts nothing twice.
 */
export class RetainedRoom {
  private readonly link: RedisLink
  private readonly keys: StoreKeys
  private readonly recountAtMs = new Map<InstanceName, number>()

  constructor(link: RedisLink, keys: StoreKeys) {
    this.link = link
    this.keys = keys
  }

  /** @returns the items for which there is no room */
  async take(items: readonly CommitItem[]): Promise<Set<CommitItem>> {
    const full = new Set<CommitItem>()
    for (const wish of wishesOf(items)) {
      let answers = await this.ask(wish)
      if (answers.length === 0) {
        await this.recount(wish.instance)
        answers = await this.ask(wish)
      } else if (answers.includes(0) && this.mayRecount(wish.instance)) {
        // Something may have expired; nobody waits for that.
        this.recount(wish.instance).catch(() => undefined)
      }
      wish.items.forEach((item, i) => {
        if (answers[i] === 0) full.add(item)
      })
    }
    return full
  }

  private async ask({ instance, limits, items }: Wish): Promise<number[]> {
    const args: Argument[] = [limits.messages, limits.bytes]
    for (const { message } of items) {
      args.push(message.topicName, message.payload.length === 0 ? 0 : encodeMessage(message).length)
    }
    const keys = this.keys.retainedRoom(instance)
    return toList(await this.link.one({ script: 'take-retained-2', keys, args })).map(toNumber)
  }

  private mayRecount(instance: InstanceName): boolean {
    return performance.now() >= (this.recountAtMs.get(instance) ?? Number.NEGATIVE_INFINITY)
  }

  private async recount(instance: InstanceName): Promise<void> {
    const startMs = performance.now()
    // Nobody else here is to begin as well.
    this.recountAtMs.set(instance, Number.POSITIVE_INFINITY)
    try {
      await this.count(instance)
    } finally {
      const tookMs = performance.now() - startMs
      this.recountAtMs.set(instance, performance.now() + Math.max(RECOUNT_EVERY_MS, tookMs * RECOUNT_SHARE))
    }
  }

  private async count(instance: InstanceName): Promise<void> {
    const keys = this.keys.retainedRoom(instance)
    let open = PARTITIONS.map(partition => ({ partition, cursor: '0' }))
    await this.link.one({ script: 'add-retained-2', keys, args: [0, 1] })
    while (open.length > 0) {
      const replies = await this.link.all(
        open.map(({ partition, cursor }) => ({
          script: 'count-retained-1' as const,
          keys: [this.keys.retained(partition, instance).values],
          args: [cursor, PAGE_COUNT],
        })),
      )
      const found = replies.flatMap(reply => toList(reply).slice(1))
      const args = found.map((value, i) => (i % 2 === 0 ? toText(value) : toNumber(value)))
      for (let at = 0; at < args.length; at += 2 * PAGE_COUNT) {
        await this.link.one({ script: 'add-retained-2', keys, args: [0, 0, ...args.slice(at, at + 2 * PAGE_COUNT)] })
      }
      open = open.flatMap(({ partition }, i) => {
        const cursor = toText(toList(replies[i])[0])
        return cursor === '0' ? [] : [{ partition, cursor }]
      })
    }
    await this.link.one({ script: 'add-retained-2', keys, args: [VALID_MS, 0] })
  }
}

function wishesOf(items: readonly CommitItem[]): Wish[] {
  const wishes = new Map<InstanceName, Wish>()
  for (const item of items) {
    const limits = item.limits?.retained
    if (!item.retain || limits === undefined) continue
    const wish = wishes.get(item.instance)
    if (wish === undefined) wishes.set(item.instance, { instance: item.instance, limits, items: [item] })
    else wish.items.push(item)
  }
  return [...wishes.values()]
}
